"""What the ledger stores, as plain values: one named tuple for each table that records.

Times are integer microseconds since 1970 (UTC), durations integer microseconds, money integer nano-units
(10⁻⁹) of a currency. ``None`` is "unknown" everywhere: an unknown cost is never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

_NO_TAGS: Mapping[str, str] = MappingProxyType({})


class PolicyRow(NamedTuple):
    """A policy or a catalog as it was written; ``digest`` covers its meaning, ``text`` is the file."""

    digest: str
    kind: Literal["policy", "catalog"]
    name: str
    text: str
    first_seen_us: int


class DecisionRow(NamedTuple):
    """One decision: its record, and what stands beside it.

    ``record`` is the decision record's canonical JSON text. The ledger keeps it as it is, with its SHA-256, and
    fills the columns of ``decisions`` from it, so that no column can say anything else. ``decision_id`` is its id,
    a UUID. ``deciding_ns`` is how long deciding took, in nanoseconds. ``shadow_of`` is, for the shadow of a rollout,
    the id of the decision that was executed. ``answered_attempt`` is the number of the attempt whose answer the caller
    got, and None where there was no answer: a screen may have refused what a model said.
    """

    decision_id: str
    record: str
    mode: str
    tags: Mapping[str, str] = _NO_TAGS
    session_id: str | None = None
    trace_id: str | None = None
    deciding_ns: int | None = None
    shadow_of: str | None = None
    answered_attempt: int | None = None


class AttemptRow(NamedTuple):
    """One call of one backend made for a decision, or one that was passed over (then ``reason`` says why).

    ``number`` counts from 1 inside the decision. ``input_tokens`` includes the cached ones and
    ``output_tokens`` the reasoning ones. ``cost_nano`` is ``None`` when the price or the counts are unknown.
    """

    decision_id: str
    number: int
    role: str
    model_id: str
    backend_id: str
    model_said: str | None
    started_at_us: int
    load_us: int | None
    first_token_us: int | None
    total_us: int
    status: str
    error_class: str | None
    finish_reason: str | None
    streamed: bool
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    tokens_source: str | None
    cost_nano: int | None
    currency: str | None
    cost_source: str | None
    price_since: str | None
    simulated: bool
    cached_answer: bool = False
    reason: str | None = None
    saved_nano: int | None = None
    cache_write_tokens: int | None = None


class LedgerEntry(NamedTuple):
    """What is recorded together or not at all: a decision, its attempts, and policies that the ledger may lack."""

    decision: DecisionRow
    attempts: Sequence[AttemptRow] = ()
    policies: Sequence[PolicyRow] = ()
