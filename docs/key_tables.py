"""Writes the tables of keys in docs/policies.md from the shapes of policies, catalogs and test files.

Each table tells of every key what it takes, what it is when left out, and what it means. Reads no files.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from marks import filled
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from routewright.engine.policy import quantities
from routewright.engine.policy.compile.model_facts import model_scope
from routewright.engine.policy.shapes import base, catalog, kinds, steps, testfile
from routewright.engine.policy.shapes import policy as shape

# Each shape with the heading that stands above its keys.
_HEADINGS: Mapping[type[BaseModel], str] = {
    shape.Policy: "policy file",
    shape.Feature: "feature",
    shape.Constraint: "constraint",
    shape.Rule: "rule",
    shape.Split: "split",
    shape.Ensemble: "ensemble",
    steps.Step: "step",
    **{of: role for role, of in steps.STEPS.items()},
    shape.ChainEntry: "chain entry",
    shape.Control: "control",
    shape.Assertion: "assertion",
    shape.Rollout: "rollout",
    shape.CanaryCondition: "canary condition",
    catalog.Catalog: "catalog",
    kinds.Backend: "backend",
    **{of: f"{kind} backend" for kind, of in kinds.KINDS.items()},
    kinds.Timeouts: "timeouts",
    catalog.Model: "model",
    catalog.Price: "price",
    testfile.TestFile: "test file",
    testfile.Case: "case",
    testfile.CaseTask: "task",
    testfile.CaseState: "state",
    testfile.CaseModelState: "state of a model",
    testfile.CaseMemory: "memory",
    testfile.Expectation: "expectation",
}

# What the kinds of values are called, first match first.
_WORDS: tuple[tuple[Any, str], ...] = (
    (base.Condition, "condition"),
    (base.Name, "name"),
    (base.FeatureName, "feature name"),
    (base.ModelRef, "model"),
    (base.FileName, "file"),
    (base.Positive, "whole number from 1"),
    (base.NotNegative, "whole number from 0"),
    (quantities.DurationMs, "duration"),
    (quantities.Money, "amount"),
    (quantities.Percent, "percentage"),
    (quantities.Count, "count"),
    (kinds.Kind, ", ".join(f"`{kind}`" for kind in kinds.KINDS)),
    (kinds.AnyBackend, "[backend](#backend)"),
    (kinds.Address, "address"),
    (kinds.Url, "address"),
    (base.FilePath, "path"),
    (base.EnvRef, "`${NAME}`"),
    (base.Version, "version"),
    (catalog.CurrencyCode, "currency"),
    (catalog.Day, "day"),
    (catalog.Tag, "text"),
    (bool, "`true` or `false`"),
    (str, "text"),
    (int, "whole number"),
    (float, "number"),
)


def with_tables(page: str) -> str:
    """``page`` with the tables between its marks made anew: of keys, of ``model.*`` facts, of operations.

    The table of a rule's keys stands between ``<!-- keys: rule -->`` and ``<!-- end of keys -->``, below the
    heading "Rule". Raises ValueError for a mark that names no shape or is not closed.
    """
    known = {heading: of for of, heading in _HEADINGS.items()}
    before, *parts = page.split("<!-- keys: ")
    made = [before]
    for part in parts:
        name, closed, rest = part.partition(" -->")
        _, ended, after = rest.partition("<!-- end of keys -->")
        if not (closed and ended and name in known):
            raise ValueError(f"the mark of the keys of `{name[:40]}` is unknown or not closed")
        table = "\n".join(_table(known[name]))
        made.append(f"{name} -->\n\n{table}\n\n<!-- end of keys -->{after}")
    page = "<!-- keys: ".join(made)
    tables = {"facts": _facts(), "operations": _operations(), "steps": _steps()}
    return filled(page, {mark: rows for mark, rows in tables.items() if f"<!-- {mark} -->" in page})


def _facts() -> Iterator[str]:
    yield "| fact | type |"
    yield "| --- | --- |"
    for name, declaration in model_scope(()).items():
        yield f"| `{name}` | {declaration.type} |"


def _steps() -> Iterator[str]:
    """A section for each step, with what it does and its keys."""
    for number, (role, of) in enumerate(steps.STEPS.items()):
        yield from ([""] if number else [])
        yield from (f"#### {role.capitalize()}", "", (of.__doc__ or "").strip(), "")
        yield from _table(of)


def _operations() -> Iterator[str]:
    yield "| kind | operations |"
    yield "| --- | --- |"
    for kind, of in kinds.KINDS.items():
        yield f"| `{kind}` | {', '.join(f'`{operation}`' for operation in sorted(of.offers))} |"


def _table(of: type[BaseModel]) -> Iterator[str]:
    # Annotations as they are written: pydantic's own say less.
    hints = get_type_hints(of, include_extras=True)
    yield "| key | takes | left out | meaning |"
    yield "| --- | --- | --- | --- |"
    common = kinds.Backend.model_fields.keys() if of in kinds.KINDS.values() else ()
    for name, field in of.model_fields.items():
        if name in common:
            continue
        takes = _words(hints[name]).replace("|", "\\|")
        yield f"| `{field.alias or name}` | {takes} | {_left_out(field)} | {field.description or ''} |"


def _words(annotation: Any) -> str:
    for known, words in _WORDS:
        if annotation == known:
            return words
    origin, inside = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        members = [_words(member) for member in inside if member is not type(None)]
        if "number" in members and "whole number" in members:
            members.remove("whole number")
        return " or ".join(dict.fromkeys(members))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inside)
    if origin is list:
        return f"list of: {_words(inside[0])}"
    if origin is dict:
        return f"mapping from {_words(inside[0])} to {_words(inside[1])}"
    if hasattr(annotation, "__metadata__"):
        return _words(inside[0])
    assert isinstance(annotation, type) and issubclass(annotation, BaseModel), annotation
    heading = _HEADINGS[annotation]
    return f"[{heading}](#{heading.replace(' ', '-')})"


def _left_out(field: FieldInfo) -> str:
    if field.is_required():
        return "*needed*"
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, BaseModel) or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`[{', '.join(value)}]`" if isinstance(value, list) else f"`{value}`"
