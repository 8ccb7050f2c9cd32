"""Puts decisions together from a writer's entries: resolves parts and state, makes digests, and waits for the ends.

A decision becomes a row only when nothing more can come of it: when an entry says so, or when its writer is gone.
Nothing here writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from routewright.engine.record import REQUEST_FIELDS, RecordRow, plan_texts, read_json, text_digest

from .entries import Entry, RecordedDecision
from .errors import LedgerError
from .flights import Flight
from .policy_parts import PolicyPart
from .state_as_of import StateAsOf, StateChange

_ID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A UUID as DuckDB writes it: a record made again has no other."""


class NewPart(NamedTuple):
    """A part that the ledger may lack."""

    kind: str
    digest: str
    text: str


class Assembler:
    """Assembles the entries of all writers for one ingestion.

    ``flights`` are decisions in flight, by id. What is put together waits in ``ended`` and the other lists until it is
    taken from there. ``known_states`` is what the tables hold last of the state, by writer: for who inserts.
    """

    def __init__(self, flights: Iterable[Flight], known_part: Callable[[str], str | None]) -> None:
        """``known_part`` gives the text of a part that the ledger has, by its digest, or None."""
        self.flights = {one.decision_id: one for one in flights}
        self.ended: list[Flight] = []
        self.policies: list[tuple[str, int, Mapping[str, Any]]] = []
        self.new_parts: dict[str, NewPart] = {}
        self.states: list[StateChange] = []
        self.known_states: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
        self.touched: set[str] = set()
        self._known_part = known_part
        self._policies: dict[str, PolicyPart] = {}
        self._plans: dict[str, dict[str, str]] = {}
        self._arms: set[str] = set()

    def take(self, writer: str, number: int, entry: Entry, state: StateAsOf) -> None:
        """Take an entry in. Raises LedgerError for one that cannot be a row; nothing is then taken of it."""
        decision_id = entry.decision_id
        if decision_id is None and not entry.policies:
            raise LedgerError("an entry holds no row")
        row = None if entry.decision is None else self._decision(writer, number, entry.decision, state)
        # INVARIANT: nothing is raised from here on.
        if entry.policies:
            self.policies += [(writer, number, policy) for policy in entry.policies]
        if decision_id is not None:
            self._take_calls(writer, number, decision_id, row, entry)

    def _take_calls(
        self, writer: str, number: int, decision_id: str, row: dict[str, Any] | None, entry: Entry
    ) -> None:
        if row is not None and not entry.intents:
            flight = Flight(writer, number, decision_id, row)
            flight.add(entry)
            self.ended.append(flight)
            return
        found = None if row is not None else self.flights.get(decision_id)
        if found is None:
            found = self.flights[decision_id] = Flight(writer, number, decision_id, row)
        found.add(entry)
        self.touched.add(decision_id)
        if entry.end is not None:
            self._end(found, entry.end[1])

    def end_of(self, writers: Iterable[str]) -> None:
        """End what is in flight of writers that are gone."""
        gone = set(writers)
        for flight in [one for one in self.flights.values() if one.writer in gone]:
            self._end(flight, None)

    def _end(self, flight: Flight, answered_attempt: int | None) -> None:
        flight.answered = answered_attempt
        if flight.decision is not None and answered_attempt is not None:
            flight.decision["answered_attempt"] = answered_attempt
        del self.flights[flight.decision_id]
        self.touched.add(flight.decision_id)
        self.ended.append(flight)

    def _decision(
        self, writer: str, number: int, given: RecordedDecision | Mapping[str, Any], state: StateAsOf
    ) -> dict[str, Any]:
        if not isinstance(given, RecordedDecision):  # of version 1
            return dict(given)
        row = given.row
        if _ID.fullmatch(row.id) is None:
            raise LedgerError(f"`{row.id}` is not a decision id as it is written here")
        try:
            policy, plan, arm = self._policy(given.policy, state), self._plan(given.plan, state), given.arm
            if arm is not None and arm not in self._arms:
                self._part("arm", arm, state)
                self._arms.add(arm)
            digest = policy.digests.digest(row, plan, arm, *state.digests(policy, given.state))
            values = _columns(row, policy)
        except (
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            StopIteration,
            AttributeError,
            RecursionError,
        ) as error:
            raise LedgerError(f"an entry does not hold together: {error}") from error
        self.states += state.take_changes(writer, number)
        values["writer"], values["entry"] = writer, number
        values["digest"] = digest.removeprefix("sha256:")
        values["policy_part"], values["plan_part"], values["arm_part"] = given.policy, given.plan, arm
        values["mode"], values["tags"], values["trace_id"] = given.mode, given.tags, given.trace_id
        values["deciding_ns"], values["shadow_of"] = given.deciding_ns, given.shadow_of
        values["answered_attempt"], values["simulated"] = given.answered_attempt, given.simulated
        return values

    def _policy(self, digest: str, state: StateAsOf) -> PolicyPart:
        found = self._policies.get(digest)
        if found is None:
            found = self._policies[digest] = PolicyPart(digest, self._part("policy", digest, state))
        return found

    def _plan(self, digest: str, state: StateAsOf) -> dict[str, str]:
        found = self._plans.get(digest)
        if found is None:
            found = self._plans[digest] = plan_texts(read_json(self._part("plan", digest, state)))
        return found

    def _part(self, kind: str, digest: str, state: StateAsOf) -> str:
        text = state.parts.get(digest)
        if text is not None and text_digest(text) == digest:
            self.new_parts[digest] = NewPart(kind, digest, text)
            return text
        known = self._known_part(digest)
        if known is None:
            raise LedgerError("a part of its record is in a damaged part of its file")
        return known


def _columns(row: RecordRow, policy: PolicyPart) -> dict[str, Any]:
    """A row's columns, by name."""
    values = row._asdict()
    del values["values"]
    values["decision_id"] = values.pop("id")
    values["features"] = policy.features(row)
    if row.request is not None:
        values["request"] = dict(zip(REQUEST_FIELDS, row.request, strict=True))
    if row.ignored is not None:
        values["ignored"] = list(row.ignored)
    return values
