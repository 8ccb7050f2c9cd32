"""Replays what another router logged: its rows stand in a table as if they had been recorded, with nothing known of
any model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from routewright.engine.decision import State
from routewright.engine.policy import CompiledPolicy

from .actions import Choice, choice_of
from .assuming import Assumed
from .bound import Recorded
from .class_query import NotDecidableInSql
from .classes import ROW_GROUPS, ClassRows, class_rows
from .groups import UNKNOWN, Came, Group
from .parts import PolicyPart
from .recorded_tasks import tasks
from .redeciding import Redecided, redecide
from .selecting import Chosen

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

TABLE: Final = "replay_imported"
"""The temporary table with the columns of ``decision_rows`` that a replay reads. Its ``plan_part`` is a target's
number, and its only writer and entry are such that no state was recorded before it."""

NAMES: Final = "replay_import_names"
"""The temporary table of what the candidate's catalog calls models: ``model``, the source's word, and ``action``."""

_MOST_NAMED: Final = 5
_WITH_TIME: Final = -1
_WITHOUT_TIME: Final = -2
_BATCH: Final = 10_000
_TIMES: Final = frozenset({"state.hour", "state.weekday"})
_CHOSEN: Final = "replay_import_chosen"
_TARGETS: Final = "replay_import_targets"

_REQUEST: Final = (
    "{'prompt_tokens': NULL::BIGINT, 'prompt_tokens_source': NULL::VARCHAR, 'tokenizer': NULL::VARCHAR, "
    "'max_output_tokens': NULL::BIGINT, 'messages': NULL::BIGINT, 'images': NULL::BIGINT, 'tools': NULL::BIGINT, "
    "'json_schema': NULL::BOOLEAN, 'metadata': CASE WHEN session_id IS NULL THEN MAP {} "
    "ELSE MAP {'session': session_id} END}"
)


class Imported:
    """The chosen rows of an import, in ``TABLE``; two parts: those whose time is known, and the others."""

    def __init__(self, connection: DuckDBPyConnection, candidate: Assumed, chosen: Chosen) -> None:
        self._connection = connection
        self._candidate, self._assumed = candidate.policy, candidate.state
        rows = chosen.rows_of("imported_decisions")
        # Where a source names no target and one model was called, the request went there.
        connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE {_CHOSEN} AS
            SELECT d.* REPLACE (coalesce(d.target, c.model) AS target)
            FROM ({rows}) AS d
            LEFT JOIN (
                SELECT decision_id, min(model_id) AS model FROM imported_attempts
                GROUP BY decision_id HAVING count(DISTINCT model_id) = 1
            ) AS c ON (c.decision_id = d.decision_id)
            """,
            chosen.parameters,
        )
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE {_TARGETS} AS
            SELECT target, (row_number() OVER (ORDER BY target NULLS FIRST) - 1)::INTEGER AS number
            FROM (SELECT DISTINCT target FROM {_CHOSEN})
        """)
        connection.execute(f"""
            CREATE OR REPLACE TEMP TABLE {TABLE} AS
            SELECT d."import", d.decision_id, coalesce(d.at_us, 0) AS at_us, coalesce(d.operation, 'chat') AS operation,
                NULL::VARCHAR AS pin, NULL::DOUBLE AS draw, {_REQUEST} AS request, '' AS sources, d.features,
                map_keys(d.feature_sources) AS ignored, NULL::DOUBLE AS load, NULL::BIGINT[] AS quota_used,
                NULL::VARCHAR AS session_model, '' AS writer, 0::BIGINT AS entry, NULL::INTEGER AS arm_part,
                CASE WHEN d.at_us IS NULL THEN {_WITHOUT_TIME} ELSE {_WITH_TIME} END AS policy_part,
                t.number AS plan_part
            FROM {_CHOSEN} AS d JOIN {_TARGETS} AS t ON (t.target IS NOT DISTINCT FROM d.target)
        """)
        connection.execute(f"DROP TABLE {_CHOSEN}")
        targets = connection.execute(f"SELECT target FROM {_TARGETS} ORDER BY number").fetchall()
        self._names = [self._name(target) for (target,) in targets]
        self._name_models()
        self.parts = [self._part(_WITH_TIME), self._part(_WITHOUT_TIME)]

    def _name_models(self) -> None:
        models: list[tuple[str]] = self._connection.execute(
            "SELECT DISTINCT model_id FROM imported_attempts WHERE model_id IS NOT NULL"
        ).fetchall()
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {NAMES} (model VARCHAR, action VARCHAR)")
        words = [model for (model,) in models]
        self._connection.execute(
            f"INSERT INTO {NAMES} SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [words, list(map(self._name, words))],
        )

    def _name(self, model: str | None) -> str | None:
        """What the candidate's catalog calls a model that the source names; the source's word where it has none."""
        found = None if model is None else self._candidate.catalog.find(model)
        return model if found is None else found.id

    def came(self, plan_part: int) -> Came:
        """Where the source says that a request went."""
        name = self._names[plan_part]
        return Came(None, UNKNOWN if name is None else "routed", name)

    def choice(self, plan_part: int) -> Choice:
        """The same as a choice. No source says with which chances: it counts as what was done without any."""
        came = self.came(plan_part)
        return Choice(None, ()) if came.target is None else choice_of(came, [(came.target, 1.0)])

    def groups(self, part: PolicyPart, chosen: Chosen, *, keep_rows: bool) -> Iterator[ClassRows]:
        """The rows of one of the ``parts``, as ``class_rows`` has them."""
        if part.part == _WITHOUT_TIME and _reads_time(self._candidate):
            yield from self._without_time(part)
            return
        try:
            yield from class_rows(
                self._connection,
                self._candidate,
                part,
                Recorded(()),
                chosen,
                assumed=self._assumed,
                keep_rows=keep_rows,
            )
        except NotDecidableInSql:
            yield from self._each(part)

    def _without_time(self, part: PolicyPart) -> Iterator[ClassRows]:
        after = Redecided(None, "feature_missing", "the time of the request")
        found = self._connection.execute(
            f"SELECT plan_part, count(*), min(decision_id)::VARCHAR FROM {TABLE} WHERE policy_part = ? GROUP BY ALL",
            [part.part],
        ).fetchall()
        yield from (ClassRows(plan_part, plan_part, after, rows, id, 0) for plan_part, rows, id in found)

    def _each(self, part: PolicyPart) -> Iterator[ClassRows]:
        """One by one, each row a group of its own."""
        rows = self._connection.execute(
            f"SELECT rowid, plan_part FROM {TABLE} WHERE policy_part = ? ORDER BY rowid", [part.part]
        ).fetchall()
        self._connection.execute(
            f'CREATE OR REPLACE TEMP TABLE {ROW_GROUPS} AS SELECT rowid AS row, rowid AS "group" FROM {TABLE} '
            f"WHERE policy_part = {part.part}"
        )
        for at in range(0, len(rows), _BATCH):
            plans = dict(rows[at : at + _BATCH])
            for row, id, task, at_us, rest in tasks(self._connection, part, list(plans)):
                state = State(at_us, **rest)
                after = redecide(
                    self._candidate, task, state, part.facts, decision_id=id, assumed=self._assumed
                )
                yield ClassRows(row, plans[row], after, 1, id, 0)

    def _part(self, number: int) -> PolicyPart:
        return PolicyPart(number, "", "", "", (), (), (), table=TABLE, is_open=True)


def import_notes(
    connection: DuckDBPyConnection, candidates: Iterable[Assumed], groups: Sequence[Group], chosen: Chosen
) -> Iterator[str]:
    """What a reader has to know of how imported requests were decided again."""
    yield "of imported requests no state was recorded: nothing was known of any model"
    rows = chosen.rows_of("imported_decisions", "DISTINCT unnest(map_keys(feature_sources))")
    given = {str(name) for (name,) in connection.execute(rows, chosen.parameters).fetchall()}
    policies = [one.policy for one in candidates]
    lacking = sorted({name for one in policies for name in _read(one) if name not in given})
    if groups and lacking:
        yield (
            f"no request of the import has a value of {', '.join(lacking)}, which the candidate reads: it is "
            "unknown, or its default; `features` of a mapping says which column has it"
        )
    known = {model.id for one in policies for model in one.catalog.models}
    others = sorted({group.before.target for group in groups if group.before.target is not None} - known)
    if others:
        named = ", ".join(others[:_MOST_NAMED]) + (", …" if len(others) > _MOST_NAMED else "")
        yield f"the candidate's catalog has no models of these names, which the source uses: {named}"


def _read(policy: CompiledPolicy) -> Iterator[str]:
    """The features that conditions of a policy read, but for those that follow from the time or the session."""
    asked = {name for one in policy.conditions for name in one.names}
    asked |= {name for one in policy.constraints for name in one.require.names}
    for feature in policy.features:
        source = feature.derived
        follows = source is not None and (source.fact in ("hour", "weekday") or source.key == "session")
        if (feature.name in asked or feature.needs) and not follows:
            yield feature.name


def _reads_time(policy: CompiledPolicy) -> bool:
    derived = (feature.derived.fact for feature in policy.features if feature.derived is not None)
    asked = [*policy.conditions, *(one.require for one in policy.constraints)]
    return not {"hour", "weekday"}.isdisjoint(derived) or any(
        not _TIMES.isdisjoint(condition.names) for condition in asked
    )
