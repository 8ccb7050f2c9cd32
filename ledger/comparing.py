"""Compares the rows of a ledger with its log: which have changed, are missing, or were never recorded.

Nothing here opens a file or writes. A row is compared by the last leaf that it has.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .errors import LedgerError
from .proof.earlier import earlier_digests
from .proof.leaf import Kind, named_id
from .proof.logged import (
    ATTEMPTS,
    DECISIONS,
    DECISIONS_1,
    ERASURES,
    LOGGED,
    OUTCOMES,
    PARTS,
    POLICIES,
    Logged,
)
from .restoring import all_digests
from .version_1 import UNLIKE_RECORD

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_MANY: Final = 5_000


class Fault(NamedTuple):
    """Something that is not as it was recorded, and the leaf that says so, if one does."""

    leaf: int | None
    what: str


_LAST: Final = """
SELECT id::VARCHAR AS leaf_id, number AS leaf_number, max(leaf) AS leaf, max_by(digest, leaf) AS leaf_digest
FROM log_leaves WHERE kind = ? GROUP BY id, number
"""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    DECISIONS.table: ("decision_id",),
    DECISIONS_1.table: ("decision_id",),
    ATTEMPTS.table: ("decision_id", "number"),
    OUTCOMES.table: ("outcome_id",),
    ERASURES.table: ("decision_id", "number"),
}

_GONE: Final[Mapping[Kind, str]] = {
    Kind.DECISION: "SELECT decision_id FROM erasures WHERE places IS NULL",
    Kind.ATTEMPT: "SELECT decision_id FROM erasures WHERE places IS NULL",
    Kind.OUTCOME: "SELECT unnest(outcomes)::UUID FROM erasures WHERE places IS NULL",
}
"""The ids of leaves whose rows were erased as a whole, which is on record."""


def compare(connection: DuckDBPyConnection) -> Iterator[Fault]:
    """Everything in the tables that the log does not say, table by table."""
    for logged in LOGGED:
        if logged in (POLICIES, PARTS):
            yield from _compare_named(connection, logged)
        else:
            yield from _compare_rows(connection, logged)
    for kind, tables in {
        Kind.DECISION: (DECISIONS, DECISIONS_1),
        Kind.ATTEMPT: (ATTEMPTS,),
        Kind.OUTCOME: (OUTCOMES,),
        Kind.ERASURE: (ERASURES,),
    }.items():
        yield from _missing(connection, kind, tables)
    yield from _entered_again(connection)
    yield from _parts(connection)
    yield from _records(connection)
    yield from _whose(connection)
    yield from _erased_without_record(connection)


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
        case _:
            return f"a record of kind {kind} (id `{id}`)"


def _compare_rows(connection: DuckDBPyConnection, logged: Logged) -> Iterator[Fault]:
    key, *number = _KEYS[logged.table]
    of_number = f"AND (leaf_number = r.{number[0]})" if number else ""
    sql = f"""
    SELECT r.*, leaf, leaf_digest
    FROM (SELECT {logged.selected} FROM {logged.table}) AS r
    LEFT JOIN ({_LAST}) AS last ON (leaf_id = r.{key}) {of_number}
    """
    for *row, leaf, digest in _each(connection, sql, [int(logged.kind)]):
        made = logged.leaf(row)
        name = name_of(logged.kind, str(uuid.UUID(bytes=made.id)), made.number)
        if digest is None:
            yield Fault(None, f"{name} is not in the log: something else has written it into the ledger")
        elif made.digest != bytes(digest):
            yield Fault(leaf, f"{name} has changed since it was recorded")
    keys = ", ".join(_KEYS[logged.table])
    doubled = f"SELECT {keys}, count(*) FROM {logged.table} GROUP BY {keys} HAVING count(*) > 1"
    for id, *rest, count in _each(connection, doubled, []):
        yield Fault(None, f"{name_of(logged.kind, str(id), *rest)} is there {count} times")


def _compare_named(connection: DuckDBPyConnection, logged: Logged) -> Iterator[Fault]:
    last = {id: (leaf, bytes(digest)) for id, _, leaf, digest in _each(connection, _LAST, [int(logged.kind)])}
    seen = set()
    for row in _each(connection, f"SELECT {logged.selected} FROM {logged.table}", []):
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
        leaf, digest = last.get(id, (None, b""))
        if leaf is None:
            yield Fault(None, f"{name} is not in the log: something else has written it into the ledger")
        elif digest != made.digest:
            yield Fault(leaf, f"{name} has changed since it was recorded")
    for id, (leaf, _) in last.items():
        if id not in seen:
            yield Fault(leaf, f"{name_of(logged.kind, id)} is missing")


def _missing(connection: DuckDBPyConnection, kind: Kind, tables: tuple[Logged, ...]) -> Iterator[Fault]:
    there = " UNION ALL ".join(
        f"SELECT {_KEYS[one.table][0]}::VARCHAR AS id, "
        f"{_KEYS[one.table][1] if len(_KEYS[one.table]) > 1 else '0'} AS number FROM {one.table}"
        for one in tables
    )
    sql = f"""
    SELECT leaf, leaf_id, leaf_number FROM ({_LAST}) AS last
    ANTI JOIN ({there}) AS there ON (leaf_id = there.id) AND (leaf_number = there.number)
    {_unless_gone(kind, "leaf_id::UUID")}
    """
    for leaf, id, number in _each(connection, sql, [int(kind)]):
        yield Fault(leaf, f"{name_of(kind, id, number)} is missing")


def _entered_again(connection: DuckDBPyConnection) -> Iterator[Fault]:
    """Leaves that another has followed, but for what an end that was recorded late explains."""
    sql = """
    SELECT kind, id::VARCHAR, number, leaf, digest FROM log_leaves
    SEMI JOIN (SELECT kind, id, number FROM log_leaves GROUP BY ALL HAVING count(*) > 1) AS again
        USING (kind, id, number)
    WHERE NOT ((kind IN (1, 2)) AND (id IN (SELECT decision_id FROM erasures WHERE places IS NULL)))
    ORDER BY leaf
    """
    leaves: dict[tuple[int, str, int], list[tuple[int, bytes]]] = {}
    for kind, id, number, leaf, digest in _each(connection, sql, []):
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


def _parts(connection: DuckDBPyConnection) -> Iterator[Fault]:
    """Parts whose values do not have their digests, and those with another's number: they count in the log's order.

    Of two that were exchanged each says so.
    """
    sql = "SELECT part, kind, digest, value FROM parts ORDER BY part"
    rows = [
        (part, kind, digest, "sha256:" + hashlib.sha256(value.encode()).hexdigest())
        for part, kind, digest, value in _each(connection, sql, [])
    ]
    by_digest = {digest: (kind, digest) for _, kind, digest, _ in rows}
    for _, kind, digest, made in rows:
        if made == digest:
            continue
        other = f": it has the value of the {' `'.join(by_digest[made])}`" if made in by_digest else ""
        yield Fault(None, f"the {kind} `{digest}`, a part of records, does not have its digest{other}")
    places = {id: leaf for id, _, leaf, _ in _each(connection, _LAST, [int(Kind.PART)])}
    known = [
        (place, part, kind, digest)
        for part, kind, digest, _ in rows
        if (place := places.get(str(uuid.UUID(bytes=named_id(kind, digest))))) is not None
    ]
    for (_, part, kind, digest), (_, other, *_) in zip(known, sorted(known), strict=True):
        if part != other:
            place = places[str(uuid.UUID(bytes=named_id(kind, digest)))]
            yield Fault(
                place, f"the {kind} `{digest}`, a part of records, has the number of another part, {part}"
            )


_WHOSE: Final = """
SELECT decision_id::VARCHAR, '{0}' FROM decision_rows
WHERE ("{0}" IS DISTINCT FROM coalesce(tags['{0}'], features::JSON ->> '$.{0}'))
    AND ("{0}" IS DISTINCT FROM coalesce(tags['{0}'], TRY_CAST(features['{0}'] AS VARCHAR)))
"""
"""Decisions that are said to be somebody else's; an earlier version has written values that are no text its own way."""


def _whose(connection: DuckDBPyConnection) -> Iterator[Fault]:
    for name in ("team", "user"):
        for id, column in _each(connection, _WHOSE.format(name), []):
            yield Fault(
                None, f"the column `{column}` of decision `{id}` is not what its tags and features say"
            )


def _records(connection: DuckDBPyConnection) -> Iterator[Fault]:
    """Records that cannot be made again of their rows and parts, or are others than those that were recorded."""
    for id, record, digest, is_erased in _each(connection, _RECORDS_1, []):
        if "sha256:" + hashlib.sha256(record.encode()).hexdigest() != digest and not is_erased:
            yield Fault(None, f"the record of decision `{id}` does not have its digest")
    for (id,) in _each(connection, UNLIKE_RECORD, []):
        yield Fault(None, f"the columns of decision `{id}` are not what its record says")
    try:
        for one in all_digests(connection):
            if one.erased:
                continue
            if one.problem is not None:
                yield Fault(
                    None,
                    f"the record of decision `{one.id}` cannot be made again, since its row or one of its parts has "
                    f"changed: {one.problem}",
                )
            elif not one.is_as_recorded:
                yield Fault(
                    None,
                    f"the record of decision `{one.id}` does not have its digest: its row, one of its parts, or what "
                    "was known of a model or backend has changed",
                )
            elif not one.fits:
                yield Fault(None, f"the features of decision `{one.id}` are not those of its record")
    except (LedgerError, LookupError, ValueError, TypeError, AttributeError) as error:
        yield Fault(None, f"what was known of models and backends has changed, and cannot be read: {error}")


ERASED_1: Final = "(decision_id IN (SELECT decision_id FROM erasures))"
"""Whether of a decision of version 1 something was erased: nothing of these was sealed."""

_RECORDS_1: Final = f"SELECT decision_id::VARCHAR, record, record_digest, {ERASED_1} FROM decisions_1"

_UNRECORDED: Final = f"""
SELECT decision_id::VARCHAR
FROM (
    SELECT decision_id, map_keys(erased) AS places FROM decision_rows WHERE erased IS NOT NULL
    UNION ALL
    SELECT decision_id, json_keys(record, '$.erased') FROM decisions_1 WHERE {ERASED_1}
) AS d
LEFT JOIN (SELECT decision_id, flatten(list(places)) AS known FROM erasures GROUP BY decision_id) AS e
    USING (decision_id)
WHERE NOT list_has_all(coalesce(known, []), places)
"""

UNPROVEN: Final = f"""
SELECT count(*) FROM (
    SELECT decision_id FROM decision_rows WHERE len(list_filter(map_values(erased), lambda one: one IS NULL)) > 0
    UNION ALL
    SELECT decision_id FROM decisions_1 WHERE {ERASED_1}
)
"""
"""How many decisions have lost a value without a salt, so that their records' digests cannot be made again."""


def _erased_without_record(connection: DuckDBPyConnection) -> Iterator[Fault]:
    for (id,) in _each(connection, _UNRECORDED, []):
        yield Fault(
            None, f"values of decision `{id}` are gone, and the log does not say that they were erased"
        )


def _unless_gone(kind: Kind, id: str) -> str:
    return f"WHERE {id} NOT IN ({_GONE[kind]})" if kind in _GONE else ""


def _each(connection: DuckDBPyConnection, sql: str, parameters: list[object]) -> Iterator[tuple[Any, ...]]:
    result = connection.execute(sql, parameters)
    while rows := result.fetchmany(_MANY):
        yield from rows
