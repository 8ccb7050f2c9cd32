"""Makes the records of decisions again, from their rows and parts, byte for byte. No policy is compiled for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from routewright.engine.canonical import canonical_text
from routewright.engine.record import (
    NOTHING_KNOWN_TEXT,
    REQUEST_FIELDS,
    RecordRow,
    RecordTexts,
    by_key,
    plan_texts,
    read_json,
)

from .entries import Changes, Entry
from .errors import LedgerError
from .inserting import state_values
from .policy_parts import PolicyPart
from .state_as_of import StateAsOf

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_COLUMNS: Final = """
writer, entry, decision_id::VARCHAR AS id, at_us, operation, pin, draw, request, prompt_tokens, sources,
features::JSON::VARCHAR AS features, ignored, verdicts, details, arm_point, load, quota_used, session_model,
salts, erased, policy_part, plan_part, arm_part, lower(hex(digest)) AS digest
"""

_STATES: Final = {"model": ("model_states", "model"), "memory": ("memory_states", "backend")}

_NOTHING: Final = json.loads(NOTHING_KNOWN_TEXT)

_MANY: Final = 5_000

_State = dict[str, dict[str, str]]
"""What is known, by kind (``model``, ``memory``) and id: the members of the state that say it."""


def record_text(connection: DuckDBPyConnection, decision_id: str) -> str | None:
    """The canonical JSON of a decision's record; None where the ledger does not have it.

    Raises LedgerError where a part of it is missing.
    """
    older = connection.execute("SELECT record FROM decisions_1 WHERE decision_id = ?::UUID", [decision_id])
    if (found := older.fetchone()) is not None:
        return str(found[0])
    [*rows] = _rows(connection, "WHERE decision_id = ?::UUID", [decision_id])
    if not rows:
        return None
    return _text(_Parts(connection), rows[0], _state_as_of(connection, rows[0]["writer"], rows[0]["entry"]))


def all_records(connection: DuckDBPyConnection, condition: str = "TRUE") -> Iterator[tuple[str, str, str]]:
    """Id, digest in hexadecimal and canonical JSON of every record by parts, writer by writer, in their order.

    ``condition`` is SQL of ours on the columns of ``decision_rows``. Raises LedgerError where a part is missing.
    """
    parts = _Parts(connection)
    state: _State = {}
    for row, changes in _all_rows(connection, condition):
        if changes is None:
            state = {"model": {}, "memory": {}}
            continue
        for kind, id, values in changes:
            state[kind][id] = _member(id, values)
        yield row["id"], row["digest"], _text(parts, row, state)


class MadeAgain(NamedTuple):
    """A record that was made again: its id, the digest that was recorded, in hexadecimal, and the text that has it.

    In that text each part is a digest. It is empty where ``problem`` says why it could not be made again. ``fits`` is
    whether the row's features are those of the record: it has defaults and what was ignored too. ``erased`` says that
    the text is empty because a value without a salt was erased.
    """

    id: str
    recorded: str
    text: str
    fits: bool
    problem: str | None = None
    erased: bool = False

    @property
    def is_as_recorded(self) -> bool:
        """Whether the text has the digest."""
        return hashlib.sha256(self.text.encode()).hexdigest() == self.recorded


_UNFIT: Final = (LedgerError, LookupError, ValueError, TypeError, AttributeError, StopIteration)
"""What rows and parts raise that somebody has changed so that no record can be made of them."""


def all_digests(connection: DuckDBPyConnection, condition: str = "TRUE") -> Iterator[MadeAgain]:
    """Every record by parts with its digest made again, without making the records; in the order of ``all_records``.

    ``condition`` is SQL of ours on the columns of ``decision_rows``.
    Raises errors of many kinds where what was known of models and backends cannot be read any more.
    """
    parts, state = _PartsOfDigests(connection), StateAsOf()
    for row, changes in _all_rows(connection, condition):
        if changes is None:
            state = StateAsOf()
            continue
        if changes:
            state.see(_entry_of(changes, state.number + 1))
        if row["erased"] and None in row["erased"].values():
            yield MadeAgain(row["id"], row["digest"], "", True, erased=True)
            continue
        try:
            yield _made_again(parts, state, row)
        except _UNFIT as error:
            yield MadeAgain(row["id"], row["digest"], "", True, _why(error))


def _made_again(parts: _PartsOfDigests, state: StateAsOf, row: Mapping[str, Any]) -> MadeAgain:
    (policy, values), plan = parts.policy(row["policy_part"]), parts.plan(row["plan_part"])
    arm = None if row["arm_part"] is None else parts.digest(row["arm_part"])
    features = json.loads(row["features"], parse_int=_number)
    record_row = _record_row(row, values, features)
    text = policy.digests.digested(record_row, plan, arm, *state.digests(policy, state.number))
    others = features.keys() - (record_row.ignored or {}).keys() - policy.own_names(row["sources"])
    fits = _same({name: features[name] for name in others}, policy.defaults(row["sources"]))
    return MadeAgain(row["id"], row["digest"], text, fits)


def _same(values: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    """Whether values of features are equal; true is not 1."""
    return values == others and all(
        (value is True or value is False) is isinstance(values[name], bool) for name, value in others.items()
    )


def _why(error: Exception) -> str:
    if isinstance(error, LedgerError):
        return str(error)
    return f"{type(error).__name__} {error}".strip()


Change = tuple[str, str, dict[str, Any]]
"""That from now on this was known of a model or backend: kind, id, values."""


def _all_rows(
    connection: DuckDBPyConnection, condition: str = "TRUE"
) -> Iterator[tuple[dict[str, Any], list[Change] | None]]:
    """Every row with the changes of the state since the one before; before those of a writer, None in their place."""
    sql = f"SELECT DISTINCT writer FROM decision_rows WHERE ({condition}) ORDER BY 1"
    for (writer,) in connection.execute(sql).fetchall():
        yield {}, None
        changes = _changes(connection.cursor(), writer)
        upcoming = next(changes, None)
        for row in _rows(
            connection.cursor(), f"WHERE (writer = ?) AND ({condition}) ORDER BY entry", [writer]
        ):
            found: list[Change] = []
            while upcoming is not None and upcoming[0] <= row["entry"]:
                found.append(upcoming[1:])
                upcoming = next(changes, None)
            yield row, found


def _entry_of(changes: list[Change], number: int) -> Entry:
    """The changes as an entry of a spool says them."""
    texts: dict[str, dict[str, str | None]] = {"model": {}, "memory": {}}
    for kind, id, values in changes:
        texts[kind][id] = canonical_text(values) if values else None
    return Entry({}, Changes(number, False, texts["model"], texts["memory"]), None, [], [], None, [])


class _PartsOfDigests:
    """What digests need of a ledger's parts, each read once."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self.policy = lru_cache(maxsize=256)(self._policy)
        self.plan = lru_cache(maxsize=8192)(self._plan)
        self.digest = lru_cache(maxsize=8192)(self._digest)

    def _policy(self, part: int) -> tuple[PolicyPart, Mapping[str, Any]]:
        digest, text = _part(self._connection, part)
        return PolicyPart(digest, text), read_json(text)

    def _plan(self, part: int) -> dict[str, str]:
        return plan_texts(read_json(_part(self._connection, part)[1]))

    def _digest(self, part: int) -> str:
        return _part(self._connection, part)[0]


def _part(connection: DuckDBPyConnection, part: int) -> tuple[str, str]:
    """Digest and text of a part."""
    found = connection.execute("SELECT digest, value FROM parts WHERE part = ?", [part]).fetchone()
    if found is None:
        raise LedgerError(f"part {part} of a record is missing from the ledger")
    return found[0], found[1]


class _Policy(NamedTuple):
    """A policy's part as plain values, what makes its records, and the members of models of which nothing is known."""

    values: Mapping[str, Any]
    records: RecordTexts
    nothing_known: Mapping[str, str]


class _Parts:
    """What records need of a ledger's parts, each read once."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self._connection = connection
        self.policy = lru_cache(maxsize=256)(self._policy)
        self.plan = lru_cache(maxsize=8192)(self._plan)
        self.text = lru_cache(maxsize=8192)(self._text)

    def _policy(self, part: int) -> _Policy:
        values = read_json(self._text(part))
        nothing = {id: _member(id, _NOTHING) for id in sorted(values["models"], key=by_key)}
        return _Policy(values, RecordTexts(values, written_out=True), nothing)

    def _plan(self, part: int) -> dict[str, str]:
        return plan_texts(read_json(self._text(part)), written_out=True)

    def _text(self, part: int) -> str:
        return _part(self._connection, part)[1]


def _rows(
    connection: DuckDBPyConnection, condition: str, parameters: list[object]
) -> Iterator[dict[str, Any]]:
    result = connection.execute(f"SELECT {_COLUMNS} FROM decision_rows {condition}", parameters)
    names = [column[0] for column in result.description or ()]
    while rows := result.fetchmany(_MANY):
        yield from (dict(zip(names, row, strict=True)) for row in rows)


def _text(parts: _Parts, row: Mapping[str, Any], state: _State) -> str:
    policy, plan = parts.policy(row["policy_part"]), parts.plan(row["plan_part"])
    arm = "null" if row["arm_part"] is None else parts.text(row["arm_part"])
    known = state["model"]
    models = ",".join([known.get(id) or nothing for id, nothing in policy.nothing_known.items()])
    memory = ",".join(
        one for _, one in sorted(state["memory"].items(), key=lambda item: by_key(item[0])) if one
    )
    record_row = _record_row(row, policy.values, json.loads(row["features"], parse_int=_number))
    return policy.records.text(record_row, plan, arm, f"{{{models}}}", f"{{{memory}}}" if memory else None)


def _member(id: str, values: Mapping[str, Any]) -> str:
    """The member of the state's models or backends that says what is known; empty where nothing is."""
    return f"{canonical_text(id)}:{canonical_text(values)}" if values else ""


def _record_row(row: Mapping[str, Any], policy: Mapping[str, Any], features: Mapping[str, Any]) -> RecordRow:
    named = zip(policy["features"], row["sources"], strict=True)
    request = row["request"]
    own: dict[str, Any] = {
        "values": [features.get(feature["name"]) for feature, letter in named if letter in "gr"],
        "ignored": None if row["ignored"] is None else {name: features.get(name) for name in row["ignored"]},
        "request": None if request is None else [request[name] for name in REQUEST_FIELDS],
    }
    return RecordRow(*[own[name] if name in own else row[name] for name in RecordRow._fields])


def _number(text: str) -> int | float:
    """No record has an integer that is not exact as a number; a number may have come without its fraction."""
    whole = int(text)
    return whole if abs(whole) < 2**53 else float(text)


def _state_as_of(connection: DuckDBPyConnection, writer: str, entry: int) -> _State:
    """What was known by model and by backend, as of a writer's entry."""
    state: _State = {}
    for kind, (table, id) in _STATES.items():
        sql = f"SELECT {id}, max_by({table}, entry) FROM {table} WHERE (writer = ?) AND (entry <= ?) GROUP BY {id}"
        rows = connection.execute(sql, [writer, entry]).fetchall()
        state[kind] = {id: _member(id, state_values(kind, row)) for id, row in rows}
    return state


def _changes(connection: DuckDBPyConnection, writer: str) -> Iterator[tuple[int, str, str, dict[str, Any]]]:
    """Changes of the state in order: entry, kind, model or backend, values."""
    sql = """
    SELECT entry, 'model' AS kind, model AS id, model_states AS one, NULL AS other FROM model_states WHERE writer = $w
    UNION ALL
    SELECT entry, 'memory', backend, NULL, memory_states FROM memory_states WHERE writer = $w
    ORDER BY entry
    """
    result = connection.execute(sql, {"w": writer})
    while rows := result.fetchmany(_MANY):
        for entry, kind, id, one, other in rows:
            yield entry, kind, id, state_values(kind, one if kind == "model" else other)
