"""What the ledger stores, as plain values: one named tuple for each table that records.

Times are integer microseconds since 1970 (UTC), durations integer microseconds, money integer nano-units
(10⁻⁹) of a currency. ``None`` is "unknown" everywhere: an unknown cost is never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple

from routewright.engine.record import Attempt, Intent, NotStored, Ordinal, RecordParts, Uuid

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class PolicyRow(NamedTuple):
    """A policy or a catalog as it was written."""

    digest: Annotated[str, "digest of what the file means, not of its layout"]
    kind: Annotated[Literal["policy", "catalog"], "`policy` or `catalog`"]
    name: Annotated[str, "the name in the file"]
    text: Annotated[str, "the file's text"]
    first_seen_us: Annotated[int, "when it was first recorded"]


class DecisionRow(NamedTuple):
    """One decision: its record by its parts, and what is known of it besides.

    A screen may have refused what a model said: then there is no answered attempt.
    """

    record: Annotated[RecordParts, NotStored()]
    mode: Annotated[
        str,
        "how the decision is used. Executed: `exploit`, and under a canary `canary` in either arm. Not executed: "
        "`shadow`, made beside the one that was, and `dry_run`, made to be looked at, which Routewright does not "
        "write",
    ]
    tags: Annotated[Mapping[str, str], "labels that the caller gave"] = _NO_TAGS
    trace_id: Annotated[str | None, "the trace, where the caller named one"] = None
    deciding_ns: Annotated[int | None, "how long deciding took, in nanoseconds; not part of the record"] = (
        None
    )
    shadow_of: Annotated[Uuid | None, "of a shadow, the decision that was executed in its place"] = None
    answered_attempt: Annotated[
        Ordinal | None, "the number of the attempt whose answer was given; NULL where none was"
    ] = None
    simulated: Annotated[
        bool | None,
        "whether no model could be called, as every backend was simulated; "
        "NULL where an earlier version recorded it",
    ] = None

    @property
    def decision_id(self) -> str:
        """The decision's id, a UUID of version 7."""
        return self.record.row.id


class OutcomeRow(NamedTuple):
    """One row of the table `outcomes`."""

    outcome_id: Annotated[Uuid, "the outcome's own id"]
    decision_id: Annotated[Uuid, "the decision that it is of"]
    attempt: Annotated[Ordinal | None, "the attempt that it is of; NULL for the decision as a whole"]
    model_id: Annotated[str | None, "the model that it is of, where an attempt or a model was named"]
    metric: Annotated[str, "what was measured, such as `score`"]
    value: Annotated[float | None, "what was found, as a number; true and false are 1 and 0"]
    label: Annotated[str | None, "what was found, where it is no number"]
    source: Annotated[str, "who found it out"]
    at_us: Annotated[int, "when it was found out"]
    supersedes: Annotated[Uuid | None, "the outcome that it corrects"]


class AttemptRow(NamedTuple):
    """An attempt and the decision that it was made for."""

    decision_id: str
    attempt: Attempt


class IntentRow(NamedTuple):
    """A call that is about to be made, and the decision that it is made for."""

    decision_id: str
    intent: Intent


class DecisionEnd(NamedTuple):
    """Nothing more will be recorded of a decision; and the columns of its row that are known only then."""

    decision_id: Annotated[Uuid, "the decision's id"]
    answered_attempt: Annotated[
        Ordinal | None, "the number of the attempt whose answer was given; NULL where none was"
    ] = None


class LedgerEntry(NamedTuple):
    """What is recorded together or not at all: a decision, its attempts, and policies that the ledger may lack.

    A decision without ``intents`` is recorded as a whole. With them its calls are under way: further entries without
    ``decision`` hold the attempts that they become, and more intents, until one of them has its ``end``.
    """

    decision: DecisionRow | None
    attempts: Sequence[AttemptRow] = ()
    policies: Sequence[PolicyRow] = ()
    intents: Sequence[IntentRow] = ()
    end: DecisionEnd | None = None
