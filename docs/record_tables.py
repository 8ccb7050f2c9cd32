"""Writes the tables of docs/decisions.md from the gates and from the fields of records. Reads no files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from marks import filled

from routewright.engine.decision import GATES, MARKS


def with_record_tables(page: str) -> str:
    """``page`` with the tables between its marks made anew. Raises ValueError where a table has no place."""
    for name, rows in _TABLES.items():
        page = filled(page, name, rows())
    return page


def _gates() -> Iterator[str]:
    yield "| gate | refuses |"
    yield "| --- | --- |"
    yield from (f"| `{gate.gate}` | {gate.refuses} |" for gate in GATES if gate.refuses)


def _marks() -> Iterator[str]:
    yield "| mark | what was not known |"
    yield "| --- | --- |"
    yield from (f"| `{mark.name}` | {mark.unknown} |" for mark in MARKS)


_TABLES: Mapping[str, Callable[[], Iterator[str]]] = {"gates": _gates, "marks": _marks}
