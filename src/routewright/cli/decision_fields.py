"""The parts of a decision that ``--fields`` and ``--short`` ask for: paths such as ``policy.name``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, get_origin

from routewright.engine.record import DecisionRecord, Shape, fields_of
from routewright.engine.report import TaskError, escape_csv, suggest

Path = tuple[str, ...]

_TASK: Final = ("task.line", "task.name")
_ERROR: Final = ("error.message", "error.help")

SHORT: Final = ",".join((*_TASK, "outcome", "target", "rule", "reason", "plan.fallbacks", _ERROR[0]))
"""The short form of a decision."""


def parse_fields(text: str) -> tuple[Path, ...]:
    """The paths in a list with commas. Raises TaskError for one that no decision has, and for a repeated one."""
    paths: dict[Path, None] = {}
    for name in (part.strip() for part in text.split(",")):
        path = tuple(name.split("."))
        if path in paths:
            raise TaskError(f"--fields names `{name}` twice")
        _check(name, path)
        paths[path] = None
    return tuple(paths)


def picked(values: Mapping[str, Any], paths: Sequence[Path]) -> dict[str, Any]:
    """``values`` with these parts alone, in the order of ``paths``; a part that it does not have is left out."""
    found: dict[str, Any] = {}
    for path in paths:
        _put(found, path, values)
    return found


def csv_line(cells: Sequence[object]) -> str:
    """A line of CSV (RFC 4180) as a spreadsheet may open it: null is empty, and what is no plain value is JSON."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\r\n").writerow(map(_cell, cells))
    return buffer.getvalue().removesuffix("\r\n") + "\n"


def text_of(value: object) -> str:
    """A value as a cell: text and lists of text as they are, null as nothing, everything else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def value_at(values: Any, path: Path) -> Any:
    """The value at the end of a path; None where it ends before."""
    for step in path:
        values = values.get(step) if isinstance(values, Mapping) else None
    return values


def _cell(value: object) -> str:
    return text_of(value) if isinstance(value, int | float) else escape_csv(text_of(value))


def _put(found: dict[str, Any], path: Path, values: Any) -> None:
    step, *rest = path
    if not isinstance(values, Mapping) or step not in values:
        return
    inner = values[step]
    if rest and inner is not None:
        if isinstance(below := found.setdefault(step, {}), dict):
            _put(below, tuple(rest), inner)
    else:
        found[step] = inner


def _check(name: str, path: Path) -> None:
    """Raise TaskError unless a decision may have something at this path."""
    if name in (*_TASK, *_ERROR) or path in (("task",), ("error",)):
        return
    shape: type[Shape] | None = DecisionRecord
    steps = list(path)
    while shape is not None and steps:
        step = steps.pop(0)
        known = {field.name: field for field in fields_of(shape)}
        if step not in known:
            raise _unknown(name, step, known if shape is not DecisionRecord else {**known, "task": None})
        shape = known[step].shape
        kind = get_origin(known[step].kind)
        if kind is dict and steps:
            steps.pop(0)  # the key is a name of the policy's
        elif kind is list and steps:
            raise TaskError(
                f"--fields: `{name}` leads into a list", help=f"ask for `{name.rpartition('.')[0]}`"
            )
    if steps:
        raise TaskError(f"--fields: nothing is below `{name.rpartition('.')[0]}`")


def _unknown(name: str, step: str, known: Mapping[str, object]) -> TaskError:
    return TaskError(f"--fields: a decision has no `{name}`", help=suggest(step, known, label="there are"))
