"""The tables of `docs/backends.md` that say what failures of servers mean."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from routewright.backends import ErrorClass
from routewright.backends.wire.complaints.classes import STATUS_CLASSES
from routewright.backends.wire.complaints.rows import ROWS, STREAM, Row
from routewright.backends.wire.complaints.times import FIELDS


def complaint_tables() -> dict[str, Iterable[str]]:
    """The lines of each table, by the name of its marks."""
    return {"wordings": _wordings(), "statuses": _statuses(), "waits": _waits()}


def _wordings() -> Iterator[str]:
    yield "| | said by | under | for example | class |"
    yield "| --- | --- | --- | --- | --- |"
    for row in ROWS:
        until = f"; without a stated time until midnight ({row.midnight})" if row.midnight else ""
        cells = (row.name, row.said_by, _under(row), _example(row), f"`{row.error_class}`{until}")
        yield f"| {' | '.join(cells)} |"


def _under(row: Row) -> str:
    statuses = [str(status) for status in sorted(row.statuses - {STREAM})]
    return ", ".join([*statuses, *(["a stream"] if STREAM in row.statuses else [])])


def _example(row: Row) -> str:
    code = row.example.removeprefix("code ")
    return f"the code `{code}`" if code != row.example else f"“{row.example}”"


def _statuses() -> Iterator[str]:
    yield "| status | class |"
    yield "| --- | --- |"
    by_class: dict[ErrorClass, list[str]] = {}
    for status, error_class in STATUS_CLASSES.items():
        by_class.setdefault(error_class, []).append(str(status))
    by_class.setdefault("overloaded", []).append("other 5xx")
    by_class.setdefault("invalid_request", []).append("other 4xx, 3xx")
    by_class.setdefault("broken_stream", []).append("an error in mid-stream without a status")
    for error_class, statuses in by_class.items():
        yield f"| {', '.join(statuses)} | `{error_class}` |"


def _waits() -> Iterator[str]:
    kinds = {"ms": "milliseconds", "s": "seconds, or a duration such as `9m38.016s`", "stamp": "a moment"}
    for unit, meant in kinds.items():
        names = ", ".join(f"`{name}`" for name, of in FIELDS.items() if of == unit)
        yield f"- {names}: {meant}"
