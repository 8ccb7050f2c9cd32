"""What the importer must know of a kind of file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .calls import Plan
from .rows import BadRow, Entry, FileRow, Format

Unfold = Callable[[FileRow], Iterator[Entry]]


@dataclass(frozen=True)
class Source:
    """A kind of file: what its rows mean, and how they are found in it.

    ``unfold`` makes rows of a row that holds several (an object with a list of them), changes one, or passes it over.
    ``table`` is the one of a SQLite database. Where ``exact`` is set, a column that the plan does not know is
    refused: it is likely a misspelled one. ``mapping`` is the text of the mapping.
    """

    name: str
    plan: Plan
    formats: frozenset[Format]
    unfold: Unfold | None = None
    table: str | None = None
    required: frozenset[str] = frozenset()
    exact: bool = False
    mapping: str | None = None


def listed(row: FileRow) -> Iterator[FileRow | BadRow]:
    """The rows of an answer of an API, an object whose `data` is the list of them; any other row as it is."""
    inside = row.values.get("data")
    if not isinstance(inside, list):
        yield row
        return
    for values in inside:
        if isinstance(values, dict):
            yield FileRow(row.place, values)
        else:
            yield BadRow(row.place, "`data` was expected to hold objects")
