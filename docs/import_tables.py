"""The fields of imported calls as Markdown, for docs/importing.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from routewright.ledger.importing.shape import (
    CALL_FIELDS,
    DECISION_FIELDS,
    OBJECTS,
    CallField,
    ImportedAttempt,
    ImportedDecision,
    columns,
)


def import_tables() -> dict[str, Iterable[str]]:
    """The lines of the page's generated part."""
    return {"fields": _fields()}


def _fields() -> Iterator[str]:
    yield "| field | of | meaning |"
    yield "| --- | --- | --- |"
    for of, row, fields in (
        ("request", ImportedDecision, DECISION_FIELDS),
        ("call", ImportedAttempt, CALL_FIELDS),
    ):
        meanings = {name: meaning for name, (_, meaning) in columns(row).items()}
        yield from (f"| `{field.name}` | {of} | {_meaning(field, meanings)} |" for field in fields)
    for name, meaning in OBJECTS.items():
        yield f"| `{name}` | {'call' if name == 'outcomes' else 'request'} | {meaning} |"


def _meaning(field: CallField, meanings: dict[str, str]) -> str:
    meaning = field.meaning or meanings[field.column]
    return f"{meaning}: {field.written}" if field.written else meaning
