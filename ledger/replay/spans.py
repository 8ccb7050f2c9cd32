"""Finds in SQL when what a policy reads of the state changed, and numbers the states that differ in it.

Only what gates and choices go by counts: with live latencies nearly every call changes something, and next to nothing
of it opens or closes a gate. What is compared under ``choose: fastest`` counts by the order that it leads to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final

from routewright.engine.condition import sql_text
from routewright.engine.decision import (
    NOTHING_KNOWN,
    MemoryState,
    ModelState,
    Resident,
    compared_models,
    models_in_plans,
    own_models,
    precedes,
)
from routewright.engine.policy import CompiledModel, CompiledPolicy

from .assumed import NOTHING_ASSUMED, AssumedState

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

SPANS: Final = "replay_spans"
"""The temporary table: ``writer``, ``entry`` and ``until`` (from which entry on, and to below which, a state held),
``span``, its number, ``bucket``, and what constraints read of models, as ``state_column`` names it."""

COMPARED: Final = ("latency_ms", "loaded", "load_ms")
"""What a constraint may read of a model's state."""

_END: Final = 2**62
_MOST_BUCKETS: Final = 200_000

# What gates go by. Words about health go into the plan; of an open breaker it tells which model is tried all the same.
_GATED: Final[Mapping[str, str]] = {
    "health": "health",
    "health_detail": "CASE WHEN health = 'unhealthy' THEN health_detail END",
    "breaker": "breaker",
    "breaker_until_us": "CASE WHEN breaker = 'open' THEN breaker_until_us END",
    "breaker_after": "CASE WHEN breaker = 'open' THEN breaker_after END",
    "loaded": "loaded",
    "memory_bytes": "memory_bytes",
}
_HEALTH: Final = ("health", "health_detail", "breaker", "breaker_until_us", "breaker_after")
_TIMED: Final = ("latency_ms", "load_ms")
_TYPES: Final = (
    "STRUCT(health VARCHAR, health_detail VARCHAR, breaker VARCHAR, breaker_until_us BIGINT, breaker_after VARCHAR, "
    "loaded BOOLEAN, memory_bytes BIGINT)"
)
_TIMED_TYPE: Final = "STRUCT(latency_ms DOUBLE, load_ms BIGINT)"
_MEMORY_TYPE: Final = "STRUCT(limit_bytes BIGINT, unsized BOOLEAN)"


def state_column(model: int, name: str) -> str:
    """The column of ``SPANS`` with a fact of a model's state."""
    return f"s{model}_{name}"


@dataclass(frozen=True, slots=True)
class SpanState:
    """What was known in the states with one number, as far as it counts."""

    models: Mapping[str, ModelState] = field(default_factory=dict)
    memory: Mapping[str, MemoryState] = field(default_factory=dict)


class Spans:
    """The states of a ledger, as one policy reads them.

    The states that it gives are as they were recorded; ``assumed`` is what will be assumed of them, so that states
    are told apart by what they come to then. Nothing counts of ``strangers``, ids of models and of backends that stood
    for others.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        pins: Sequence[str] = (),
        assumed: AssumedState = NOTHING_ASSUMED,
        rows: str = "decision_rows",
        strangers: tuple[Set[str], Set[str]] = (frozenset(), frozenset()),
    ) -> None:
        self._rows, self._strangers = rows, strangers[0]
        self._models = [policy.catalog.models[at] for at in sorted(models_in_plans(policy, pins))]
        self._backends = sorted({model.backend for model in self._models} - strangers[1])
        self._assumed = assumed.models
        self._compared = sorted({model for _, model in compared_models(policy, pins)})
        self._fastest = [own_models(rule) for rule in policy.rules if rule.choose == "fastest"]
        self._timed = {at for models in self._fastest for at in models}.union(self._compared)
        self._catalog = policy.catalog.models
        self.shift = 0

    def make(self, connection: DuckDBPyConnection) -> dict[int, SpanState]:
        """Make the table ``SPANS``; the states by number."""
        for name, sql in self._tables():
            connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
        [(count, last)] = connection.execute("SELECT count(*), max(last) FROM replay_spanned").fetchall()
        most = min(_MOST_BUCKETS, 4 * count)
        while count and (last >> self.shift) > most:
            self.shift += 1
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE {SPANS} AS
            SELECT *, unnest(range(
                greatest(entry, 0) >> {self.shift}, (least(until - 1, last) >> {self.shift}) + 1
            )) AS bucket
            FROM replay_spanned
        """)
        return {0: SpanState()} | dict(self._read(connection))

    def joined(self, row: str, span: str) -> str:
        """The condition under which a ``row``, by its writer and entry, had the state of a ``span`` of ``SPANS``."""
        return (
            f"({span}.writer = {row}.writer) AND ({span}.bucket = ({row}.entry >> {self.shift}))"
            f" AND ({row}.entry >= {span}.entry) AND ({row}.entry < {span}.until)"
        )

    @property
    def columns(self) -> list[tuple[int, str]]:
        """What ``SPANS`` has for constraints: models, each with the name of a fact."""
        return [(at, name) for at in self._compared for name in COMPARED]

    def _tables(self) -> Iterator[tuple[str, str]]:
        """Temporary tables, each made of those before it."""
        yield "replay_changes", self._changes()
        yield "replay_memories", self._memories()
        kinds = [f"m{model.index}" for model in self._models] + [
            f"b{at}" for at in range(len(self._backends))
        ]
        # Before a writer's first entry nothing was known.
        yield (
            "replay_events",
            f"""
            SELECT writer, entry, {", ".join(self._event_columns())} FROM (
                SELECT writer, entry, kind, fact, timed, NULL::{_MEMORY_TYPE} AS memory FROM replay_changes
                UNION ALL
                SELECT writer, entry, kind, NULL, NULL, memory FROM replay_memories
                UNION ALL
                SELECT DISTINCT writer, -1, NULL, NULL, NULL, NULL FROM {self._rows}
            ) GROUP BY writer, entry
        """,
        )
        held = ", ".join(
            f"last_value({column} IGNORE NULLS) OVER held AS {column}"
            for column in (*kinds, *(f"t{at}" for at in sorted(self._timed)))
        )
        yield (
            "replay_held",
            f"""
            SELECT writer, entry, {held or "NULL AS nothing"} FROM replay_events
            WINDOW held AS (PARTITION BY writer ORDER BY entry ROWS UNBOUNDED PRECEDING)
        """,
        )
        keys = [f"k{number}" for number, _ in enumerate(self._keys())]
        keyed = ", ".join(f"{sql} AS k{number}" for number, sql in enumerate(self._keys())) or "NULL AS k0"
        yield "replay_keyed", f"SELECT *, {keyed} FROM replay_held"
        names = ", ".join(keys) or "k0"
        whole = ", ".join(f"'{one}': {one}" for one in (*kinds, *(f"t{at}" for at in sorted(self._timed))))
        yield (
            "replay_states",
            f"""
            SELECT {names}, (row_number() OVER ())::INTEGER AS span, any_value({{'at': 0, {whole}}}) AS known
            FROM replay_keyed GROUP BY {names}
        """,
        )
        same = " AND ".join(f"(s.{key} IS NOT DISTINCT FROM k.{key})" for key in keys) or "true"
        read = "".join(
            f", {self._read_of(at, name)} AS {state_column(at, name)}" for at, name in self.columns
        )
        changed = "span" + "".join(f", {state_column(at, name)}" for at, name in self.columns)
        yield (
            "replay_spanned",
            f"""
            SELECT *, coalesce(lead(entry) OVER (PARTITION BY writer ORDER BY entry), {_END}) AS until
            FROM (
                SELECT * FROM (
                    SELECT k.writer, k.entry, s.span{read} FROM replay_keyed AS k JOIN replay_states AS s ON {same}
                )
                QUALIFY lag(({changed})) OVER (PARTITION BY writer ORDER BY entry) IS DISTINCT FROM ({changed})
            )
            JOIN (SELECT writer, max(entry) AS last FROM {self._rows} GROUP BY writer) USING (writer)
            WHERE entry <= last
        """,
        )

    def _event_columns(self) -> Iterator[str]:
        for model in self._models:
            column = f"m{model.index}"
            yield f"any_value(fact) FILTER (kind = '{column}') AS {column}"
            if model.index in self._timed:
                yield f"any_value(timed) FILTER (kind = '{column}') AS t{model.index}"
        for number in range(len(self._backends)):
            yield f"any_value(memory) FILTER (kind = 'b{number}') AS b{number}"

    def _changes(self) -> str:
        """What was known of each model that counts, whenever it changed."""
        known = self._stated()
        gated = {
            name: f"CASE WHEN NOT {known} THEN {sql} END" if name in _HEALTH and known else sql
            for name, sql in _GATED.items()
        }
        fact = "{" + ", ".join(f"'{name}': {sql}" for name, sql in gated.items()) + "}"
        timed = "{" + ", ".join(f"'{name}': {name}" for name in _TIMED) + "}"
        kinds = _cases("model", {model.id: f"'m{model.index}'" for model in self._models}, "VARCHAR")
        by_time = [model.id for model in self._models if model.index in self._timed]
        listed = ", ".join(sql_text(id) for id in by_time)
        times = f"CASE WHEN model IN ({listed}) THEN {timed} END" if by_time else f"NULL::{_TIMED_TYPE}"
        known_ids = (model.id for model in self._models if model.id not in self._strangers)
        ids = ", ".join(map(sql_text, known_ids)) or "NULL"
        # Most models never change in what counts: for those no order has to be found.
        return f"""
            WITH stated AS (
                SELECT writer, entry, {kinds} AS kind, {fact} AS fact, {times} AS timed
                FROM model_states WHERE model IN ({ids})
            ),
            first AS (
                SELECT writer, kind, fact, timed, min(entry) AS entry FROM stated GROUP BY ALL
            ),
            steady AS (SELECT writer, kind FROM first GROUP BY ALL HAVING count(*) = 1)
            SELECT writer, entry, kind, fact, timed FROM first SEMI JOIN steady USING (writer, kind)
            UNION ALL
            SELECT writer, entry, kind, fact, timed FROM (
                SELECT *,
                    lag({{'fact': fact, 'timed': timed}}) OVER (PARTITION BY writer, kind ORDER BY entry) AS before
                FROM stated ANTI JOIN steady USING (writer, kind)
            )
            WHERE before IS DISTINCT FROM {{'fact': fact, 'timed': timed}}
        """

    def _stated(self) -> str:
        """Whether the health of a row's model is assumed, so that the recorded one does not count."""
        ids = [id for id, one in self._assumed.items() if one.health is not None]
        return f"(model IN ({', '.join(map(sql_text, ids))}))" if ids else ""

    def _memories(self) -> str:
        kinds = _cases("backend", {id: f"'b{number}'" for number, id in enumerate(self._backends)}, "VARCHAR")
        ids = ", ".join(map(sql_text, self._backends)) or "NULL"
        unsized = "len(list_filter(loaded, lambda one: one.memory_bytes IS NULL)) > 0"
        return f"""
            SELECT writer, entry, {kinds} AS kind,
                {{'limit_bytes': limit_bytes, 'unsized': CASE WHEN loaded IS NOT NULL THEN {unsized} END}} AS memory
            FROM memory_states WHERE backend IN ({ids})
        """

    def _keys(self) -> Iterator[str]:
        """What states are told apart by."""
        for model in self._models:
            yield f"m{model.index}"
        for number in range(len(self._backends)):
            yield f"b{number}"
        for models in self._fastest:
            for one, other in combinations(models, 2):
                yield precedes(self._answer_ms(one), self._answer_ms(other))

    def _answer_ms(self, at: int) -> str:
        """How long a model takes with loading, as ``latency_estimate`` has it."""
        model = self._catalog[at]
        expected = model.shape.expected_latency
        catalog = "NULL::DOUBLE" if expected is None else f"{float(expected)!r}::DOUBLE"
        assumed = self._assumed.get(model.id)
        observed = self._read_of(at, "latency_ms")
        latency = f"coalesce({observed if assumed is None else assumed.latency_sql(observed)}, {catalog})"
        loaded, load = self._read_of(at, "loaded"), self._read_of(at, "load_ms")
        return f"({latency} + (CASE WHEN {loaded} IS NOT NULL AND NOT {loaded} THEN coalesce({load}, 0) ELSE 0 END))"

    def _read_of(self, at: int, name: str) -> str:
        return f"t{at}.{name}" if name in _TIMED else f"m{at}.{name}"

    def _read(self, connection: DuckDBPyConnection) -> Iterator[tuple[int, SpanState]]:
        for span, known in connection.execute("SELECT span, known FROM replay_states").fetchall():
            models = {model.id: self._model_state(model, known) for model in self._models}
            memory = {
                id: MemoryState(one["limit_bytes"], (Resident("?"),) if one["unsized"] else ())
                for number, id in enumerate(self._backends)
                if (one := known[f"b{number}"]) is not None and one["unsized"] is not None
            }
            yield span, SpanState({id: one for id, one in models.items() if one != NOTHING_KNOWN}, memory)

    def _model_state(self, model: CompiledModel, known: Mapping[str, Any]) -> ModelState:
        gated = known[f"m{model.index}"] or {}
        timed = known.get(f"t{model.index}") or {}
        return ModelState(**gated, **timed)


def _cases(column: str, results: Mapping[str, str], kind: str) -> str:
    cases = " ".join(f"WHEN {sql_text(text)} THEN {result}" for text, result in results.items())
    return f"(CASE {column} {cases} END)" if cases else f"NULL::{kind}"
