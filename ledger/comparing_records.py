"""Compares records and parts with their digests, and columns with what they are made of.

Nothing here opens a file or writes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from .errors import LedgerError
from .proof.leaf import Kind, named_id
from .restoring import all_digests
from .scope import Fault, Scope, each_row
from .version_1 import UNLIKE_RECORD

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def compare_records(connection: DuckDBPyConnection, scope: Scope) -> Iterator[Fault]:
    """What is in the tables of parts and decisions beside what leaves cover, and differs from it."""
    yield from _parts(connection, scope)
    yield from _records(connection, scope)
    yield from _whose(connection, scope)
    yield from _erased_without_record(connection, scope)


def _parts(connection: DuckDBPyConnection, scope: Scope) -> Iterator[Fault]:
    """Parts whose values do not have their digests, and those with another's number: they count in the log's order.

    Of two that were exchanged each says so.
    """
    last = "SELECT id, max(leaf) AS leaf FROM log_leaves WHERE kind = ? GROUP BY id"
    leaves = f"SELECT *, {scope.leaves} FROM ({last})"
    places = {id.bytes: place for id, *place in each_row(connection, leaves, [int(Kind.PART)])}
    rows = [
        (*places.get(named_id(kind, digest), (None, True)), part, kind, digest)
        for part, kind, digest in each_row(connection, "SELECT part, kind, digest FROM parts ORDER BY part")
    ]
    by_digest = {digest: (kind, digest) for *_, kind, digest in rows}
    wanted = [part for _, within, part, *_ in rows if within]
    values = "SELECT kind, digest, value FROM parts WHERE part IN (SELECT unnest(?::INTEGER[])) ORDER BY part"
    for kind, digest, value in each_row(connection, values, [wanted]):
        made = "sha256:" + hashlib.sha256(value.encode()).hexdigest()
        if made == digest:
            continue
        other = f": it has the value of the {' `'.join(by_digest[made])}`" if made in by_digest else ""
        yield Fault(None, f"the {kind} `{digest}`, a part of records, does not have its digest{other}")
    known = [(place, *about) for place, _, *about in rows if place is not None]
    for (place, part, kind, digest), (_, other, *_) in zip(known, sorted(known), strict=True):
        if part != other:
            yield Fault(
                place, f"the {kind} `{digest}`, a part of records, has the number of another part, {part}"
            )


_WHOSE: Final = """
SELECT decision_id::VARCHAR, '{0}' FROM decision_rows
WHERE {1} AND ("{0}" IS DISTINCT FROM coalesce(tags['{0}'], features::JSON ->> '$.{0}'))
    AND ("{0}" IS DISTINCT FROM coalesce(tags['{0}'], TRY_CAST(features['{0}'] AS VARCHAR)))
"""
"""Decisions that are said to be somebody else's; an earlier version has written values that are no text its own way."""


def _whose(connection: DuckDBPyConnection, scope: Scope) -> Iterator[Fault]:
    for name in ("team", "user"):
        for id, column in each_row(connection, _WHOSE.format(name, scope.decisions())):
            yield Fault(
                None, f"the column `{column}` of decision `{id}` is not what its tags and features say"
            )


def _records(connection: DuckDBPyConnection, scope: Scope) -> Iterator[Fault]:
    """Records that cannot be made again of their rows and parts, or are others than those that were recorded."""
    for id, record, digest, is_erased in each_row(connection, f"{_RECORDS_1} WHERE {scope.decisions()}"):
        if "sha256:" + hashlib.sha256(record.encode()).hexdigest() != digest and not is_erased:
            yield Fault(None, f"the record of decision `{id}` does not have its digest")
    unlike = f"SELECT decision_id::VARCHAR FROM ({UNLIKE_RECORD}) WHERE {scope.decisions()}"
    for (id,) in each_row(connection, unlike):
        yield Fault(None, f"the columns of decision `{id}` are not what its record says")
    try:
        for one in all_digests(connection, scope.decisions()):
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
    SELECT decision_id, map_keys(erased) AS places FROM decision_rows
    WHERE (erased IS NOT NULL) AND {{decisions}}
    UNION ALL
    SELECT decision_id, json_keys(record, '$.erased') FROM decisions_1
    WHERE {ERASED_1} AND {{decisions}}
) AS d
LEFT JOIN (SELECT decision_id, flatten(list(places)) AS known FROM erasures GROUP BY decision_id) AS e
    USING (decision_id)
WHERE NOT list_has_all(coalesce(known, []), places)
"""

_UNPROVEN: Final = f"""
SELECT count(*) FROM (
    SELECT decision_id FROM decision_rows
    WHERE (len(list_filter(map_values(erased), lambda one: one IS NULL)) > 0) AND {{decisions}}
    UNION ALL
    SELECT decision_id FROM decisions_1 WHERE {ERASED_1} AND {{decisions}}
)
"""


def count_unproven(connection: DuckDBPyConnection, scope: Scope) -> int:
    """How many decisions have lost a value without a salt, so that their records' digests cannot be made again."""
    [(count,)] = connection.execute(_UNPROVEN.format(decisions=scope.decisions())).fetchall()
    return int(count)


def _erased_without_record(connection: DuckDBPyConnection, scope: Scope) -> Iterator[Fault]:
    for (id,) in each_row(connection, _UNRECORDED.format(decisions=scope.decisions())):
        yield Fault(
            None, f"values of decision `{id}` are gone, and the log does not say that they were erased"
        )
