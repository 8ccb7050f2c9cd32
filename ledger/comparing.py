"""Compares the rows of a ledger with its log: which have changed, are missing, or were never recorded.

Nothing here opens a file or writes. A row is compared by the last leaf that it has.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from .comparing_records import compare_records
from .proof.earlier import earlier_digests
from .proof.leaf import Kind
from .proof.logged import (
    ATTEMPTS,
    DECISIONS,
    DECISIONS_1,
    ERASURES,
    LOGGED,
    OUTCOMES,
    PARTS,
    POLICIES,
    PRUNINGS,
    Logged,
)
from .pruned import PRUNED_LEAVES
from .scope import Fault, Scope, each_row

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    DECISIONS.table: ("decision_id",),
    DECISIONS_1.table: ("decision_id",),
    ATTEMPTS.table: ("decision_id", "number"),
    OUTCOMES.table: ("outcome_id",),
    ERASURES.table: ("decision_id", "number"),
    PRUNINGS.table: ("pruning_id",),
}

_GONE: Final[Mapping[Kind, str]] = {
    Kind.DECISION: "SELECT decision_id FROM erasures WHERE places IS NULL",
    Kind.ATTEMPT: "SELECT decision_id FROM erasures WHERE places IS NULL",
    Kind.OUTCOME: "SELECT unnest(outcomes)::UUID FROM erasures WHERE places IS NULL",
}
"""The ids of leaves whose rows were erased as a whole, which is on record."""


def compare(connection: DuckDBPyConnection, scope: Scope | None = None) -> Iterator[Fault]:
    """Everything in the tables that the log does not say, table by table; by default of all rows."""
    scope = scope or Scope(connection)
    for logged in LOGGED:
        if logged in (POLICIES, PARTS):
            yield from _compare_named(connection, logged, scope)
        else:
            yield from _compare_rows(connection, logged, scope)
    for kind, tables in {
        Kind.DECISION: (DECISIONS, DECISIONS_1),
        Kind.ATTEMPT: (ATTEMPTS,),
        Kind.OUTCOME: (OUTCOMES,),
        Kind.ERASURE: (ERASURES,),
        Kind.PRUNING: (PRUNINGS,),
    }.items():
        yield from _missing(connection, kind, tables, scope)
    yield from _entered_again(connection, scope)
    yield from compare_records(connection, scope)


def name_of(kind: Kind, id: str, number: int = 0) -> str:
    """What a leaf is of, in words."""
    match kind:
        case Kind.DECISION:
            return f"decision `{id}`"
        case Kind.ATTEMPT:
            return f"attempt {number} of decision `{id}`"
        case Kind.OUTCOME:
            return f"outcome `{id}`"
        case Kind.POLICY:
            return f"the text of a policy or catalog (id `{id}`)"
        case Kind.ERASURE:
            return f"erasure {number}, of decision `{id}`,"
        case Kind.PART:
            return f"a part of records (id `{id}`)"
        case Kind.PRUNING:
            return f"what says what was pruned (id `{id}`)"


def _last(kind: Kind, scope: Scope) -> str:
    """The last leaf of each row of a kind; of some that are not in scope too."""
    return f"""
    SELECT id::VARCHAR AS leaf_id, number AS leaf_number, max(leaf) AS leaf, max_by(digest, leaf) AS leaf_digest
    FROM log_leaves WHERE (kind = {int(kind)}) AND {scope.ids(kind, "id")} GROUP BY id, number
    """


def _compare_rows(connection: DuckDBPyConnection, logged: Logged, scope: Scope) -> Iterator[Fault]:
    key, *number = _KEYS[logged.table]
    of_number = f"AND (leaf_number = r.{number[0]})" if number else ""
    near = scope.ids(logged.kind, f"{logged.table}.{key}")
    sql = f"""
    SELECT r.*, leaf, leaf_digest
    FROM (SELECT {logged.selected} FROM {logged.table} WHERE {near}) AS r
    LEFT JOIN ({_last(logged.kind, scope)}) AS last ON (leaf_id = r.{key}) {of_number}
    WHERE (leaf IS NULL) OR {scope.leaves}
    """
    for *row, leaf, digest in each_row(connection, sql):
        made = logged.leaf(row)
        name = name_of(logged.kind, str(uuid.UUID(bytes=made.id)), made.number)
        if digest is None:
            yield Fault(None, f"{name} is not in the log: something else has written it into the ledger")
        elif made.digest != bytes(digest):
            yield Fault(leaf, f"{name} has changed since it was recorded")
    keys = ", ".join(_KEYS[logged.table])
    doubled = f"SELECT {keys}, count(*) FROM {logged.table} WHERE {near} GROUP BY {keys} HAVING count(*) > 1"
    for id, *rest, count in each_row(connection, doubled):
        yield Fault(None, f"{name_of(logged.kind, str(id), *rest)} is there {count} times")


def _compare_named(connection: DuckDBPyConnection, logged: Logged, scope: Scope) -> Iterator[Fault]:
    last = f"SELECT *, {scope.leaves}, {_IS_PRUNED} FROM ({_last(logged.kind, Scope(connection))})"
    leaves = {
        id: (leaf, bytes(digest), within, pruned)
        for id, _, leaf, digest, within, pruned in each_row(connection, last)
    }
    seen = set()
    for row in each_row(connection, f"SELECT {logged.selected} FROM {logged.table}"):
        values = dict(zip(logged.values, row, strict=True))
        name = f"the {values['kind']} `{values.get('name') or values['digest']}`"
        try:
            made = logged.leaf(row)
        except ValueError:
            yield Fault(None, f"{name} has a digest that is none")
            continue
        id = str(uuid.UUID(bytes=made.id))
        if id in seen:
            yield Fault(None, f"{name} is there twice")
        seen.add(id)
        leaf, digest, within, pruned = leaves.get(id, (None, b"", True, False))
        if leaf is None:
            yield Fault(None, f"{name} is not in the log: something else has written it into the ledger")
        elif within and digest != made.digest:
            yield Fault(leaf, f"{name} has changed since it was recorded")
        elif within and pruned:
            yield Fault(leaf, f"{name} {_PUT_BACK}")
    for id, (leaf, _, within, pruned) in leaves.items():
        if within and id not in seen and not pruned:
            yield Fault(leaf, f"{name_of(logged.kind, id)} is missing")


_IS_PRUNED: Final = f"(leaf IN (SELECT leaf FROM ({PRUNED_LEAVES})))"
_PUT_BACK: Final = "was pruned, and somebody has put it back"


def _missing(
    connection: DuckDBPyConnection, kind: Kind, tables: tuple[Logged, ...], scope: Scope
) -> Iterator[Fault]:
    there = " UNION ALL ".join(
        f"SELECT {_KEYS[one.table][0]}::VARCHAR AS id, "
        f"{_KEYS[one.table][1] if len(_KEYS[one.table]) > 1 else '0'} AS number FROM {one.table} "
        f"WHERE {scope.ids(kind, _KEYS[one.table][0])}"
        for one in tables
    )
    gone = f"(leaf_id::UUID IN ({_GONE[kind]}))" if kind in _GONE else "(FALSE)"
    sql = f"""
    SELECT leaf, leaf_id, leaf_number, is_there
    FROM (
        SELECT last.*, {_IS_PRUNED} AS is_pruned, there.id IS NOT NULL AS is_there FROM ({_last(kind, scope)}) AS last
        LEFT JOIN (SELECT DISTINCT id, number FROM ({there})) AS there
            ON (leaf_id = there.id) AND (leaf_number = there.number)
        WHERE {scope.leaves}
    )
    WHERE (is_there = is_pruned) AND (is_there OR NOT {gone})
    """
    for leaf, id, number, is_there in each_row(connection, sql):
        yield Fault(leaf, f"{name_of(kind, id, number)} {_PUT_BACK if is_there else 'is missing'}")


def _entered_again(connection: DuckDBPyConnection, scope: Scope) -> Iterator[Fault]:
    """Leaves that another has followed, but for what an end that was recorded late explains."""
    sql = f"""
    SELECT kind, id::VARCHAR, number, leaf, digest FROM log_leaves
    SEMI JOIN (
        SELECT kind, id, number FROM log_leaves
        GROUP BY ALL HAVING (count(*) > 1) AND bool_or({scope.leaves})
    ) AS again USING (kind, id, number)
    WHERE NOT ((kind IN (1, 2)) AND (id IN (SELECT decision_id FROM erasures WHERE places IS NULL)))
        AND NOT {_IS_PRUNED}
    ORDER BY leaf
    """
    leaves: dict[tuple[int, str, int], list[tuple[int, bytes]]] = {}
    for kind, id, number, leaf, digest in each_row(connection, sql):
        leaves.setdefault((kind, id, number), []).append((leaf, bytes(digest)))
    for (kind, id, number), (*earlier, _) in leaves.items():
        allowed = set(_earlier(connection, Kind(kind), id, number))
        for leaf, digest in earlier:
            if digest not in allowed:
                yield Fault(
                    leaf, f"{name_of(Kind(kind), id, number)} was entered into the log again, as another"
                )


def _earlier(connection: DuckDBPyConnection, kind: Kind, id: str, number: int) -> Iterator[bytes]:
    for logged in LOGGED:
        if logged.kind is not kind or logged.table not in _KEYS:
            continue
        key, *more = _KEYS[logged.table]
        condition = f"({key} = ?::UUID)" + (" AND (number = ?)" if more else "")
        sql = f"SELECT {logged.selected} FROM {logged.table} WHERE {condition}"
        for row in connection.execute(sql, [id, number] if more else [id]).fetchall():
            values = dict(zip(logged.values, row, strict=True))
            yield from earlier_digests(kind, values, _prices(connection, values.get("model_id")))


def _prices(connection: DuckDBPyConnection, model: str | None) -> list[tuple[str | None, str | None]]:
    sql = "SELECT DISTINCT currency, price_since FROM attempt_rows WHERE model_id = ?"
    return [(currency, since) for currency, since in connection.execute(sql, [model]).fetchall()]
