"""Writes a ledger's log, and what each of its leaves is made of, so that another program can verify them.

``docs/verifying.md`` defines the lines: JSON (RFC 8785), first the leaves, then the values of rows, then records.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from routewright.engine.canonical import canonical_text

from .checkpoints import encoded_leaves
from .comparing_records import ERASED_1
from .proof.leaf import Kind, parse_leaf, told
from .proof.logged import LOGGED
from .restoring import all_digests

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_AT_ONCE: Final = 1_000


def write_log(connection: DuckDBPyConnection, file: Path) -> int:
    """Write ``file``; return how many leaves the log has. Raises ProofError for a log with a gap."""
    with file.open("w", encoding="utf-8", newline="\n") as opened:
        leaves = 0
        for line in _leaves(connection):
            opened.write(line)
            leaves += 1
        opened.writelines(_values(connection))
        opened.writelines(_records(connection))
    return leaves


def _leaves(connection: DuckDBPyConnection) -> Iterator[str]:
    places = count()
    for leaves in encoded_leaves(connection):
        for leaf in map(parse_leaf, leaves):
            named = {"leaf": next(places), "kind": int(leaf.kind), "id": str(UUID(bytes=leaf.id))}
            yield _line({**named, "number": leaf.number, "digest": leaf.digest.hex()})


def _values(connection: DuckDBPyConnection) -> Iterator[str]:
    for logged in LOGGED:
        names, columns = [*logged.values], logged.selected
        if logged.kind is Kind.PART:  # whose digest is that of this text
            names, columns = [*names, "value"], f"{columns}, value"
        for row in _rows(connection, f"SELECT {columns} FROM {logged.table}"):
            yield _line({"kind": int(logged.kind), "values": told(dict(zip(names, row, strict=True)))})


def _records(connection: DuckDBPyConnection) -> Iterator[str]:
    sql = f"SELECT decision_id::VARCHAR, record, {ERASED_1} FROM decisions_1"
    for id, text, is_erased in _rows(connection, sql):
        yield _line({"id": id, "unsealed": True} if is_erased else {"id": id, "text": text})
    for one in all_digests(connection):
        if one.erased:
            yield _line({"id": one.id, "unsealed": True})
        elif one.problem is None:
            yield f'{{"id":"{one.id}","record":{one.text}}}\n'
        else:
            yield _line({"id": one.id, "problem": one.problem})


def _rows(connection: DuckDBPyConnection, sql: str) -> Iterator[tuple[Any, ...]]:
    result = connection.execute(sql)
    while rows := result.fetchmany(_AT_ONCE):
        yield from rows


def _line(values: dict[str, Any]) -> str:
    return f"{canonical_text(values)}\n"
