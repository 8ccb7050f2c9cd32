"""Appends rows to the tables at once, as if a writer of their own had recorded them."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .assembling import Assembler
from .entries import EntryEncoder, decode
from .errors import LedgerError
from .inserting import (
    insert_attempts,
    insert_decisions,
    insert_parts,
    insert_policies,
    insert_states,
    known_digests,
    known_part,
)
from .rows import AttemptRow, DecisionRow, LedgerEntry, PolicyRow
from .state_as_of import StateAsOf

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def append(
    connection: DuckDBPyConnection,
    decisions: Mapping[str, DecisionRow],
    attempts: Sequence[AttemptRow],
    policies: Sequence[PolicyRow],
) -> tuple[int, int, int]:
    """Insert rows; return how many policies, decisions and attempts were new.

    Raises LedgerError for a decision that is there with another record, and for an attempt without a decision.
    """
    known = known_digests(connection, sorted({*decisions, *(row.decision_id for row in attempts)}))
    for row in attempts:
        if row.decision_id not in known and row.decision_id not in decisions:
            raise LedgerError(
                f"attempt {row.attempt.number} of `{row.decision_id}` has no decision; nothing was written"
            )
    assembler = _assembled(connection, decisions, policies)
    new = []
    for flight in assembler.ended:
        assert flight.decision is not None  # each entry holds one
        if known.get(flight.decision_id, flight.decision["digest"]) != flight.decision["digest"]:
            raise conflict(flight.decision_id)
        if flight.decision_id not in known:
            new.append(flight.decision)
    written = insert_policies(connection, [policy for _, _, policy in assembler.policies])
    if new:
        insert_parts(connection, assembler.new_parts.values())
        insert_states(connection, assembler.states, assembler.known_states)
        insert_decisions(connection, new)
    return written, len(new), insert_attempts(connection, _values(attempts))


def conflict(decision_id: str) -> LedgerError:
    """What to say of a decision that is there with another record."""
    return LedgerError(
        f"decision `{decision_id}` is in the ledger with another record; nothing was written",
        help="a record never changes: decide again under a new id",
    )


def _assembled(
    connection: DuckDBPyConnection, decisions: Mapping[str, DecisionRow], policies: Sequence[PolicyRow]
) -> Assembler:
    assembler = Assembler((), lambda digest: known_part(connection, digest))
    encoder, state, writer = EntryEncoder(), StateAsOf(), uuid.uuid4().hex
    entries = [LedgerEntry(row) for row in decisions.values()]
    if policies:
        entries.append(LedgerEntry(None, (), policies))
    for number, one in enumerate(entries, 1):
        entry = decode(encoder.encode(0, one).decode())
        state.see(entry)
        assembler.take(writer, number, entry, state)
    return assembler


def _values(attempts: Sequence[AttemptRow]) -> list[Mapping[str, object]]:
    entry = decode(EntryEncoder().encode(0, LedgerEntry(None, attempts)).decode())
    return [attempt for _, attempt in entry.attempts]
