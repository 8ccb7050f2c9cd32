"""Erases values from the tables of a ledger, or decisions as a whole, and puts that on record.

What a row's value was is gone from the tables then, and not from the file: ``rewriting`` takes care of that.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic_core import to_json

from routewright.engine.canonical import canonical_text
from routewright.engine.policy import read_policy
from routewright.engine.record import FEATURES, IGNORED, METADATA, RequestRecord, read_json, seal, take_out
from routewright.engine.report import PolicyError, suggest

from .columns import sql_type
from .conditions import choose_where
from .errors import InputError
from .finding import matching_id
from .inserting import rows_of, select_ids
from .proof.entering import enter
from .proof.logged import ERASURES

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_CHOSEN: Final = "erase_chosen"
_AT_ONCE: Final = 2_000
_FROM_METADATA: Final = "request.metadata."


@dataclass(frozen=True, slots=True)
class ToErase:
    """What is erased: the values of ``features``, or without any the decisions themselves and all that came of them.

    Of decisions by their ids (or the beginnings of them), of users, and of those for which ``where`` holds, a condition
    in SQL on the columns of ``all_decisions_flat``; of all decisions if none of these is given, which goes for features
    alone. A user is who the tag, the feature or the metadata ``user`` names. Shadows of a decision are erased with it.
    ``reason`` is put on record.
    """

    features: Sequence[str] = ()
    decisions: Sequence[str] = ()
    users: Sequence[str] = ()
    where: str | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if not (self.features or self.decisions or self.users or self.where):
            raise InputError("neither a feature nor decisions are named; nothing was erased")


class Erased(NamedTuple):
    """What was erased, or would be: ``values`` of so many ``decisions``, which are gone as a whole if it is None.

    Of ``unsealed`` decisions a value had no salt: the digest of the record still covers it, and nobody can compare the
    rest of the record with that any more. ``under_way`` decisions have not ended, and nothing of them was erased.
    """

    decisions: int
    values: int | None
    unsealed: int
    under_way: int


class _Row(NamedTuple):
    """A decision of which something is erased: the places, and how many of them had no salt."""

    decision_id: str
    record: str
    places: Sequence[str] | None
    unsealed: int
    outcomes: Sequence[str] | None = None


def erase(connection: DuckDBPyConnection, what: ToErase) -> Erased:
    """Erase in the transaction that is open.

    Raises InputError for a condition or an id that is none, and for a feature or a user that the ledger does not know:
    a name that is misspelt must not look like one whose values are gone.
    """
    _refuse_unknown(connection, what)
    _choose(connection, what)
    found = list(_erase_values(connection, what.features) if what.features else _erase_whole(connection))
    _put_on_record(connection, found, what.reason)
    # Nobody knows of which decision they are, or of which features they have values.
    connection.execute("UPDATE rejected SET beside = '', record = NULL, error = 'its text was erased'")
    [(under_way,)] = connection.execute("SELECT count(*) FROM in_flight").fetchall()
    values = sum(len(one.places) for one in found if one.places is not None) if what.features else None
    return Erased(len(found), values, sum(bool(one.unsealed) for one in found), under_way)


def _refuse_unknown(connection: DuckDBPyConnection, what: ToErase) -> None:
    asked = (
        ("the ledger knows no feature `{}`", what.features, _FEATURE_NAMES),
        (
            "no decision has the user `{}`, as a tag, feature or metadata `user`",
            what.users,
            f'SELECT "user" FROM ({_USERS})',
        ),
    )
    for message, names, sql in asked:
        known = {str(name) for (name,) in connection.execute(sql).fetchall()} if names else set()
        for name in names:
            if name not in known:
                raise InputError(
                    f"{message.format(name)}; nothing was erased",
                    help=suggest(name, sorted(known), label="it knows"),
                )


_FEATURE_NAMES: Final = """
SELECT unnest(value->>'$.features[*].name') FROM main.parts WHERE kind = 'policy'
UNION SELECT unnest(ignored) FROM main.decision_rows
UNION SELECT unnest(map_keys(feature_sources)) FROM main.decisions_1
"""
"""Features that a policy of the ledger declares, or that were given all the same."""

_USERS: Final = """
SELECT decision_id, "user" FROM (
    SELECT decision_id, unnest(["user", tags['user'], features::JSON->>'$.user', request.metadata['user']]) AS "user"
    FROM main.decision_rows
    UNION ALL
    SELECT decision_id, unnest([tags['user'], features::JSON->>'$.user', record::JSON->>'$.request.metadata.user'])
    FROM main.decisions_1
) WHERE "user" IS NOT NULL
"""
"""Whose a decision is, wherever it says so: a caller may give two."""


def _choose(connection: DuckDBPyConnection, what: ToErase) -> None:
    """Note the ids of the decisions of which something is erased."""
    own = "SELECT decision_id FROM main.decision_rows UNION ALL SELECT decision_id FROM main.decisions_1"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {_CHOSEN} (decision_id UUID)")
    ids = [matching_id(connection, one) for one in what.decisions]
    connection.execute(f"INSERT INTO {_CHOSEN} SELECT unnest(?::VARCHAR[])::UUID", [ids])
    flat = 'SELECT decision_id::UUID AS decision_id FROM main.all_decisions_flat WHERE ("import" IS NULL)'
    if what.users:
        of_users = f'SELECT decision_id FROM ({_USERS}) WHERE list_contains(?::VARCHAR[], "user")'
        connection.execute(f"INSERT INTO {_CHOSEN} {of_users}", [list(what.users)])
    if what.where is not None:
        choose_where(connection, f"INSERT INTO {_CHOSEN}", f"{flat} AND", what.where)
    if not (what.decisions or what.users or what.where):
        connection.execute(f"INSERT INTO {_CHOSEN} {own}")
    # A shadow holds what the decision that was executed does.
    beside = "SELECT decision_id, shadow_of FROM main.{} WHERE shadow_of IS NOT NULL"
    shadows = " UNION ALL ".join(map(beside.format, ("decision_rows", "decisions_1")))
    connection.execute(
        f"""
        INSERT INTO {_CHOSEN}
        SELECT decision_id FROM ({shadows}) WHERE shadow_of IN (SELECT decision_id FROM {_CHOSEN})
        UNION ALL
        SELECT shadow_of FROM ({shadows}) WHERE decision_id IN (SELECT decision_id FROM {_CHOSEN})
        """
    )


def _pages(connection: DuckDBPyConnection, columns: str, table: str) -> Iterator[list[dict[str, Any]]]:
    """The chosen rows of a table, some at a time: the connection is used meanwhile."""
    sql = f"SELECT DISTINCT decision_id::VARCHAR FROM {table} SEMI JOIN {_CHOSEN} USING (decision_id) ORDER BY 1"
    ids = [id for (id,) in connection.execute(sql).fetchall()]
    names = [one.rpartition(" ")[2] for one in columns.split(", ")]
    for at in range(0, len(ids), _AT_ONCE):
        page = select_ids(connection, columns, table, ids[at : at + _AT_ONCE])
        yield [dict(zip(names, row, strict=True)) for row in page]


_COLUMNS: Final = (
    "decision_id::VARCHAR AS id, lower(hex(digest)) AS digest, features::JSON::VARCHAR AS features, sources, ignored, "
    "request, salts, erased, policy_part, tags, team, user"
)

_CHANGED: Final = {
    "decision_id": "UUID",
    "features": "JSON",
    "request": sql_type(RequestRecord),
    "salts": "MAP(VARCHAR, VARCHAR)",
    "erased": "MAP(VARCHAR, VARCHAR)",
    "team": "VARCHAR",
    "user": "VARCHAR",
}

_UPDATE: Final = f"""
UPDATE decision_rows AS d
SET features = n.features::VARIANT, request = n.request, salts = n.salts, erased = n.erased, team = n.team,
    "user" = n."user"
FROM ({rows_of(_CHANGED)}) AS n
WHERE d.decision_id = n.decision_id
"""

_COLUMNS_1: Final = "decision_id::VARCHAR AS id, record_digest AS digest, record"

_UPDATE_1: Final = f"""
UPDATE decisions_1 AS d
SET record = n.record, features = n.features::VARIANT, feature_sources = n.sources
FROM ({
    rows_of(
        {
            "decision_id": "UUID",
            "record": "VARCHAR",
            "features": "JSON",
            "sources": "MAP(VARCHAR, VARCHAR)",
        }
    )
}) AS n
WHERE d.decision_id = n.decision_id
"""


def _erase_values(connection: DuckDBPyConnection, names: Sequence[str]) -> Iterator[_Row]:
    parts = lru_cache(maxsize=256)(lambda part: _policy(connection, part))
    for page in _pages(connection, _COLUMNS, "decision_rows"):
        changed = []
        for row in page:
            declared, sources = parts(row["policy_part"])
            found = _without(row, names, declared, sources)
            if found is not None:
                changed.append(to_json(found[0]).decode())
                yield found[1]
        connection.execute(_UPDATE, [changed])
    for page in _pages(connection, _COLUMNS_1, "decisions_1"):
        changed = []
        for row in page:
            found = _without_1(row, names, _sources(connection, read_json(row["record"])["policy"]["digest"]))
            if found is not None:
                changed.append(to_json(found[0]).decode())
                yield found[1]
        connection.execute(_UPDATE_1, [changed])


def _without(
    row: Mapping[str, Any], names: Sequence[str], declared: Sequence[str], sources: Mapping[str, str] | None
) -> tuple[dict[str, Any], _Row] | None:
    """A row without the values of these features, as ``_CHANGED`` has it; None where it has none of them."""
    features, request = json.loads(row["features"] or "{}"), row["request"]
    metadata = {} if request is None else dict(request["metadata"] or {})
    given = {name for name, letter in zip(declared, row["sources"], strict=True) if letter in "gr"}
    salts, erased = dict(row["salts"] or {}), dict(row["erased"] or {})
    places = list[str]()

    def take(place: str, value: object) -> None:
        salt = salts.pop(place, None)
        erased[place] = None if salt is None else seal(salt, value)
        places.append(place)

    for name in names:
        value = features.get(name)
        for place in [FEATURES + name] * (name in given) + [IGNORED + name] * (
            name in (row["ignored"] or ())
        ):
            if place not in erased:
                take(place, features.pop(name, None))
        for key in _metadata_of(name, value, metadata, sources, salts):
            take(METADATA + key, metadata.pop(key))
    if not places:
        return None
    whose = {name: (row["tags"] or {}).get(name, row[name]) for name in ("team", "user")}
    for name in whose.keys() & set(names) - (row["tags"] or {}).keys():
        whose[name] = None
    changed = {"decision_id": row["id"], "features": features, "salts": salts or None, "erased": erased}
    changed["request"] = None if request is None else {**request, "metadata": metadata}
    unsealed = sum(erased[place] is None for place in places)
    return changed | whose, _Row(row["id"], f"sha256:{row['digest']}", places, unsealed)


def _metadata_of(
    name: str,
    value: object,
    metadata: Mapping[str, str],
    sources: Mapping[str, str] | None,
    salts: Mapping[str, str],
) -> list[str]:
    """The names of metadata that hold the value of a feature: what it is derived from, and any that say the same."""
    found = [key for key, text in metadata.items() if isinstance(value, str) and text == value]
    if sources is None:  # what is sealed is the source of a sensitive feature, and nobody knows of which
        found += [key for key in metadata if METADATA + key in salts]
    elif sources.get(name) in metadata:
        found.append(sources[name])
    return list(dict.fromkeys(found))


def _without_1(
    row: Mapping[str, Any], names: Sequence[str], sources: Mapping[str, str] | None
) -> tuple[dict[str, Any], _Row] | None:
    record = read_json(row["record"])
    erased = dict[str, str | None](record.get("erased") or {})
    places = list[str]()
    for name in names:
        feature = record["features"].get(name)
        value = None if feature is None else feature["value"]
        if feature is not None and feature["source"] in ("given", "derived"):
            places.append(FEATURES + name)
        if name in record["ignored"]:
            value = record["ignored"][name]
            places.append(IGNORED + name)
        places += [
            METADATA + key for key in _metadata_of(name, value, record["request"]["metadata"], sources, {})
        ]
    places = [place for place in dict.fromkeys(places) if place not in erased]
    if not places:
        return None
    for place in places:
        take_out(record, place)
        erased[place] = None
    record["erased"] = erased
    features = {name: one["value"] for name, one in record["features"].items() if one["source"] != "unknown"}
    told = {name: one["source"] for name, one in record["features"].items()} | dict.fromkeys(
        record["ignored"], "ignored"
    )
    gone = [place.partition(".")[2] for place in erased if not place.startswith(METADATA)]
    values = {name: value for name, value in {**features, **record["ignored"]}.items() if name not in gone}
    changed = {
        "decision_id": row["id"],
        "record": canonical_text(record),
        "features": values,
        "sources": told | dict.fromkeys(gone, "erased"),
    }
    return changed, _Row(row["id"], row["digest"], places, len(places))


def _policy(connection: DuckDBPyConnection, part: int) -> tuple[list[str], Mapping[str, str] | None]:
    """The features of a recorded policy in order, and from which metadata they are derived."""
    [(text,)] = connection.execute("SELECT value FROM parts WHERE part = ?", [part]).fetchall()
    values = read_json(text)
    return [one["name"] for one in values["features"]], _sources(connection, values["policy"]["digest"])


def _sources(connection: DuckDBPyConnection, digest: str) -> dict[str, str] | None:
    """By feature, the name of the metadata that it is derived from; None where the policy cannot be read any more."""
    found = connection.execute(
        "SELECT any_value(text) FROM policies WHERE kind = 'policy' AND digest = ?", [digest]
    ).fetchone()
    try:
        shape = read_policy("" if found is None or found[0] is None else found[0], digest).shape
    except PolicyError:
        return None
    named = {name: one.from_ or "" for name, one in shape.features.items()}
    return {
        name: source.removeprefix(_FROM_METADATA).lower()
        for name, source in named.items()
        if source.startswith(_FROM_METADATA)
    }


def _erase_whole(connection: DuckDBPyConnection) -> Iterator[_Row]:
    of = f"decision_id IN (SELECT decision_id FROM {_CHOSEN})"
    ids = "list(outcome_id::VARCHAR ORDER BY outcome_id)"
    sql = f"SELECT decision_id::VARCHAR, {ids} FROM outcomes WHERE {of} GROUP BY decision_id"
    outcomes = dict(connection.execute(sql).fetchall())
    for table, digest in (
        ("decision_rows", "'sha256:' || lower(hex(digest))"),
        ("decisions_1", "record_digest"),
    ):
        sql = f"SELECT decision_id::VARCHAR, {digest} FROM {table} WHERE {of} ORDER BY 1"
        for id, record in connection.execute(sql).fetchall():
            yield _Row(id, record, None, 0, outcomes.get(id))
    for table in ("decision_rows", "decisions_1", "attempt_rows", "outcomes"):
        connection.execute(f"DELETE FROM {table} WHERE {of}")


_ERASURE: Final = {
    "decision_id": "UUID",
    "number": "INTEGER",
    "places": "VARCHAR[]",
    "outcomes": "VARCHAR[]",
    "record": "VARCHAR",
    "at_us": "BIGINT",
    "reason": "VARCHAR",
}

_INSERT: Final = f"INSERT INTO erasures BY NAME {rows_of(_ERASURE)} RETURNING {ERASURES.selected}"


def _put_on_record(connection: DuckDBPyConnection, rows: Sequence[_Row], reason: str | None) -> None:
    [(number,)] = connection.execute("SELECT coalesce(max(number), 0) + 1 FROM erasures").fetchall()
    same = {"number": number, "at_us": time.time_ns() // 1_000, "reason": reason}
    texts = [
        to_json(
            {
                "decision_id": one.decision_id,
                "places": one.places,
                "outcomes": one.outcomes,
                "record": one.record,
                **same,
            }
        ).decode()
        for one in rows
    ]
    for at in range(0, len(texts), _AT_ONCE):
        entered = connection.execute(_INSERT, [texts[at : at + _AT_ONCE]]).fetchall()
        enter(connection, ERASURES, entered)
