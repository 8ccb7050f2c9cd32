"""The tables of `docs/conditions.md` that follow from the library of conditions."""

from __future__ import annotations

from collections.abc import Iterable

from routewright.engine.condition import FUNCTIONS, MACROS, Function


def condition_tables() -> dict[str, Iterable[str]]:
    """The lines of each table, by the name of its marks."""
    return {"functions": _functions(), "macros": _macros()}


def _functions() -> Iterable[str]:
    methods = [f"`{function.name}`" for function in FUNCTIONS.values() if function.method]
    yield f"`x.f(y)` and `f(x, y)` are the same for {', '.join(methods[:-1])} and {methods[-1]};"
    yield "the others are only called as `f(x)`."
    yield ""
    yield "| function | takes | gives | what | example |"
    yield "| -------- | ----- | ----- | ---- | ------- |"
    for function in FUNCTIONS.values():
        cells = (f"`{function.name}`", *_signature(function), function.says, f"`{function.example}`")
        yield f"| {' | '.join(cells)} |"


def _signature(function: Function) -> tuple[str, str]:
    """What the function takes and gives, in words."""
    by_position = zip(*(operation.parameters for operation in function.operations), strict=True)
    takes = [" or ".join(dict.fromkeys(map(str, types))) for types in by_position]
    results = [operation.result or operation.parameters[0] for operation in function.operations]
    gives = " or ".join(dict.fromkeys(map(str, results)))
    return function.takes or ", ".join(takes), function.gives or gives


def _macros() -> Iterable[str]:
    yield "| macro | what | example |"
    yield "| ----- | ---- | ------- |"
    for macro in MACROS.values():
        yield f"| `xs.{macro.name}(x, …)` | {macro.says} | `{macro.example}` |"
