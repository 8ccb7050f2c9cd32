"""CEL's own conformance cases: each passes, is refused for a reason that the docs give, or is outside the subset.

``cel_cases.jsonl`` has a line for each case of fourteen files of cel-spec (https://github.com/google/cel-spec,
tests/simple/testdata, Apache-2.0): its name, the expression, the value or "error" (null where conditions have no such
value), and the values of names ({} for a map).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from support.sql_rows import values_in_sql

from routewright.engine.condition import (
    UNKNOWN,
    NotInSql,
    SqlColumn,
    check_expr,
    compile_function,
    evaluate,
    infer_declarations,
    parse_expr,
    sql_of,
    sql_value,
)
from routewright.engine.condition.bind import bind
from routewright.engine.report.errors import ConditionError, FeatureError

_PAGE = (Path(__file__).resolve().parents[3] / "docs" / "conditions.md").read_text(encoding="utf-8")


class _Case(NamedTuple):
    name: str
    expr: str
    expected: Any
    bindings: dict[str, object] = {}  # noqa: RUF012


_CASES = [
    _Case(*json.loads(line))
    for line in (Path(__file__).parent / "cel_cases.jsonl").read_text(encoding="utf-8").splitlines()
]

_STRING = re.compile(r"""'''.*?'''|\"\"\".*?\"\"\"|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.S)

_OUTSIDE = {
    "messages": r"\w\s*\{|google\.protobuf|TestAllTypes|\b(msg|optional)\.|\b(tuple|fn)\(|\bcel\s*\.\s*expr",
    "maps": r"\{",
    "unsigned": r"\b(0x[0-9a-fA-F]+|\d+)[uU]\b|\buint\b",
    "bytes": r"\b[bB][rR]?''|\bbytes\b",
    "null": r"\bnull(_type)?\b",
    "time": r"\b(timestamp|duration)\(",
    "types": r"\btype\(|^\s*(bool|int|double|string|list|map|type)\s*$",
    "macros": r"\.(map|filter|exists_one|existsOne|transformList)\(",
}
"""What there is none of, told by the expression without its strings."""


def _outcome(case: _Case) -> object:
    """The value, UNKNOWN, or the code of our error after a colon."""
    try:
        return evaluate(case.expr, case.bindings)
    except ConditionError as error:
        return f":{error.problems[0].code}"
    except FeatureError:
        return ":feature"


def _passes(case: _Case, got: object) -> bool:
    refused = isinstance(got, str) and got.startswith(":")
    if case.expected == "error":
        return got is UNKNOWN or refused
    if case.expected is None or refused:
        return False
    wanted = _with_tuples(case.expected["value"])
    # The type counts: 1, 1.0 and True are equal in Python.
    return got is not UNKNOWN and repr(got) == repr(wanted)


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _refused(case: _Case, got: object) -> str | None:
    """The class of a case that is refused on purpose, by what became of it."""
    if repr(got) == "0.0" and case.expected == {"value": 0.0}:
        return "one-zero"
    return {
        UNKNOWN: "not-finite",
        ":type-mismatch": "mixed-types",
        ":not-boolean": "operand-types",
        ":unknown-name": "undeclared",
        ":unknown-function": "undeclared",
    }.get(got)


def _class(case: _Case) -> str:
    text = _STRING.sub("''", case.expr)
    for name, sign in _OUTSIDE.items():
        if re.search(sign, text):
            return name
    if {} in case.bindings.values():
        return "maps"
    got = _outcome(case)
    if case.expected is None and isinstance(got, tuple):
        return "types"  # its type alone is asked for
    return "passes" if _passes(case, got) else _refused(case, got) or f"? {case} came out as {got!r}"


def test_every_case_passes_or_differs_for_a_reason_that_the_page_gives() -> None:
    files: dict[str, Counter[str]] = {}
    classes: Counter[str] = Counter()
    for case in _CASES:
        found = _class(case)
        assert not found.startswith("?"), found
        classes[found] += 1
        kind = "passes" if found == "passes" else "outside" if found in _OUTSIDE else "refused"
        files.setdefault(case.name.partition("/")[0], Counter())[kind] += 1
    by_file = re.findall(r"^\| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", _PAGE, re.M)
    assert by_file == [
        (file, *map(str, (counts.total(), counts["passes"], counts["refused"], counts["outside"])))
        for file, counts in files.items()
    ]
    by_class = {name: int(count) for name, count in re.findall(r"^\| ([a-z-]+) \| (\d+) \|", _PAGE, re.M)}
    refused = sum(count for name, count in by_class.items() if name not in _OUTSIDE)
    assert by_class | {"passes": classes["passes"]} == dict(classes)
    total, passed, others = re.findall(
        r"Of (\d+) cases in\s+fourteen of its files (\d+) pass.*?except (\d+)", _PAGE
    )[0]
    assert (int(total), int(passed), int(others)) == (len(_CASES), classes["passes"], refused)


def test_cases_are_many() -> None:
    assert len(_CASES) == 998
    assert len({case.name for case in _CASES}) == len(_CASES)


def test_compiled_functions_and_sql_give_the_same_values() -> None:
    asked, cases = [], []
    for case in _CASES:
        if _class(case) != "passes" or case.expected == "error":
            continue
        scope = infer_declarations(case.bindings)
        values = bind(case.bindings, scope)
        checked = check_expr(parse_expr(case.expr), scope, expected=None)
        assert _passes(case, *compile_function([checked], list(values))(list(values.values()))), case
        columns = {
            name: SqlColumn(sql_value(value, scope[name].type), scope[name].type)
            for name, value in values.items()
        }
        try:
            asked.append(sql_of(checked, columns))
            cases.append(case)
        except NotInSql as refused:
            assert r"\\p" in str(refused)
    (found,) = values_in_sql(asked, {}, [{}])
    for case, value in zip(cases, found, strict=True):
        assert _passes(case, value), case
    assert len(cases) > 390
