"""Finds one decision by its id, or by the beginning of it, with all that is recorded of it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, NamedTuple

from routewright.engine.record import Attempt, Record, columns_of, read_record

from .errors import UnknownDecisionError
from .pruned import PRUNED_DECISIONS
from .restoring import record_text
from .views import DECISION_IDS, decisions_select

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_NAMED: Final = 5
"""So many decisions are named where several have the same beginning."""

_ATTEMPT: Final = tuple(column.name for column in columns_of(Attempt))


class FoundOutcome(NamedTuple):
    """What was found out about an answer, as a number or a label; of which attempt or model, if of one."""

    metric: str
    value: float | None
    label: str | None
    source: str
    attempt: int | None
    model_id: str | None


class FoundErasure(NamedTuple):
    """That values of a decision were erased: in which places of its record, when (microseconds, UTC), and why."""

    places: list[str]
    at_us: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class FoundDecision:
    """What the ledger has of a decision: its record, what is known beside it, its attempts, outcomes and erasures.

    ``text`` is the record as canonical JSON. ``policy_text`` and ``catalog_text`` are those of the record's digests;
    None where the ledger does not have them.
    """

    decision_id: str
    text: str
    record_digest: str
    mode: str
    tags: Mapping[str, str]
    session_id: str | None
    trace_id: str | None
    deciding_ns: int | None
    shadow_of: str | None
    answered_attempt: int | None
    policy_text: str | None
    catalog_text: str | None
    attempts: tuple[Attempt, ...]
    outcomes: tuple[FoundOutcome, ...]
    erasures: tuple[FoundErasure, ...]

    @property
    def record(self) -> Record:
        """The record. Raises RecordError where this version cannot read it."""
        return read_record(self.text)


def find_decision(connection: DuckDBPyConnection, beginning: str | None) -> FoundDecision:
    """The decision whose id begins so, by default the newest.

    Raises UnknownDecisionError if there is none, or more than one.
    """
    decision_id = _newest_id(connection) if beginning is None else matching_id(connection, beginning)
    [row] = connection.execute(_DECISION.format(decisions=decisions_select()), [decision_id]).fetchall()
    attempts = connection.execute(
        f"SELECT {', '.join(_ATTEMPT)} FROM attempt_rows WHERE decision_id = ?::UUID ORDER BY number",
        [decision_id],
    ).fetchall()
    made = tuple(Attempt(**dict(zip(_ATTEMPT, row, strict=True))) for row in attempts)
    text = record_text(connection, decision_id) or ""
    return FoundDecision(
        decision_id=decision_id,
        text=text,
        attempts=made,
        outcomes=tuple(FoundOutcome(*one) for one in connection.execute(_OUTCOMES, [decision_id]).fetchall()),
        erasures=tuple(FoundErasure(*one) for one in connection.execute(_ERASURES, [decision_id]).fetchall()),
        **dict(zip(_OWN, row, strict=True)),
    )


_MADE: Final = ("decision_id", "text", "attempts", "outcomes", "erasures")
_OWN: Final = [field.name for field in fields(FoundDecision) if field.name not in _MADE]

_DECISION: Final = """
SELECT record_digest, mode, tags, session_id, trace_id, deciding_ns, shadow_of::VARCHAR, answered_attempt,
    (SELECT any_value(text) FROM policies WHERE kind = 'policy' AND digest = policy_digest),
    (SELECT any_value(text) FROM policies WHERE kind = 'catalog' AND digest = catalog_digest)
FROM ({decisions}) WHERE decision_id = ?::UUID
"""

_OUTCOMES: Final = f"""
SELECT {", ".join(FoundOutcome._fields)} FROM outcomes
WHERE decision_id = ?::UUID
    AND outcome_id NOT IN (SELECT supersedes FROM outcomes WHERE supersedes IS NOT NULL)
ORDER BY metric, source, attempt
"""

_ERASURES: Final = """
SELECT places, at_us, reason FROM erasures WHERE (decision_id = ?::UUID) AND (places IS NOT NULL) ORDER BY number
"""

_BETWEEN: Final = (
    "SELECT DISTINCT decision_id::VARCHAR AS id FROM {table} WHERE decision_id BETWEEN ?::UUID AND ?::UUID "
    f"ORDER BY id LIMIT {_NAMED + 1}"
)


_PRUNED: Final = f"""
SELECT decision_id::VARCHAR, make_timestamp(at_us)::DATE::VARCHAR, reason, make_timestamp(before_us)::DATE::VARCHAR
FROM ({PRUNED_DECISIONS}) WHERE decision_id BETWEEN ?::UUID AND ?::UUID ORDER BY leaf LIMIT 1
"""

_ERASED: Final = """
SELECT decision_id::VARCHAR, make_timestamp(at_us)::DATE::VARCHAR, reason FROM erasures
WHERE (decision_id BETWEEN ?::UUID AND ?::UUID) AND (places IS NULL) ORDER BY number LIMIT 1
"""


def _newest_id(connection: DuckDBPyConnection) -> str:
    row = connection.execute(
        f"SELECT decision_id::VARCHAR FROM ({DECISION_IDS}) ORDER BY at_us DESC, decision_id DESC LIMIT 1"
    ).fetchone()
    if row is None:
        raise UnknownDecisionError("the ledger has no decision yet", help="run a task first")
    return str(row[0])


def matching_id(connection: DuckDBPyConnection, beginning: str) -> str:
    """The id of the decision whose id begins so. Raises UnknownDecisionError if there is none, or more than one."""
    digits = beginning.strip().lower().replace("-", "")
    if not re.fullmatch(r"[0-9a-f]{4,32}", digits):
        raise UnknownDecisionError(
            f"`{beginning}` is not the id of a decision, nor the beginning of one",
            help="`routewright ledger tail` shows ids; four characters or more are enough where no other has them",
        )
    bounds = [str(uuid.UUID(digits.ljust(32, fill))) for fill in "0f"]
    ids = [
        row[0] for row in connection.execute(_BETWEEN.format(table=f"({DECISION_IDS})"), bounds).fetchall()
    ]
    if len(ids) == 1:
        return str(ids[0])
    if not ids:
        under_way = connection.execute(_BETWEEN.format(table="in_flight"), bounds).fetchall()
        if under_way:
            raise UnknownDecisionError(
                f"decision `{under_way[0][0]}` has not ended: its calls are under way",
                help="`routewright ledger ask in-flight` shows them",
            )
        pruned = connection.execute(_PRUNED, bounds).fetchone()
        if pruned is not None:
            raise UnknownDecisionError(
                f"decision `{pruned[0]}` was pruned {_when_and_why(*pruned[1:3])}, with all that was decided before "
                f"{pruned[3]} (UTC)",
                help="its leaf is still in the log; a receipt that was written before still proves its record",
            )
        erased = connection.execute(_ERASED, bounds).fetchone()
        if erased is not None:
            raise UnknownDecisionError(
                f"decision `{erased[0]}` was erased {_when_and_why(*erased[1:])}, with its calls and outcomes",
                help="its leaf is still in the log",
            )
        imported = connection.execute(_BETWEEN.format(table="imported_decisions"), bounds).fetchall()
        if imported:
            raise UnknownDecisionError(
                f"decision `{imported[0][0]}` was imported, and an import has no records",
                help="the views that begin with `all_` show what its log said",
            )
        raise UnknownDecisionError(f"no decision has an id that begins with `{beginning}`")
    named = ", ".join(f"`{one}`" for one in ids[:_NAMED])
    more = " and others" if len(ids) > _NAMED else ""
    raise UnknownDecisionError(
        f"several decisions have an id that begins with `{beginning}`: {named}{more}",
        help="give more of the id",
    )


def _when_and_why(day: str, reason: str | None) -> str:
    return f"on {day}" + (f" (`{reason}`)" if reason else "")
