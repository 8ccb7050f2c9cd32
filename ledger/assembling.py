"""Puts decisions together from a writer's entries: resolves parts and state, makes digests, and waits for the ends.

A decision becomes a row only when nothing more can come of it: when an entry says so, or when its writer is gone. A
call of a writer that is gone, whose end nobody has recorded, was lost: its cost is unknown. Nothing here writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from routewright.engine.record import (
    NOTHING_KNOWN_TEXT,
    REQUEST_FIELDS,
    RecordDigests,
    RecordRow,
    by_key,
    digest_of_members,
    digest_of_texts,
    member_of,
    plan_texts,
    read_json,
    text_digest,
)

from .entries import Changes, Entry, RecordedDecision
from .errors import LedgerError

ONLY: Final = "only"
"""The kind of a change of the state after which nothing else is known: its text lists the kinds and ids of what is."""


class NewPart(NamedTuple):
    """A part that the ledger may lack."""

    kind: str
    digest: str
    text: str


@dataclass(slots=True)
class Flight:
    """A decision that has begun: its row as far as it is known, and its calls by number.

    The row is None where it is in the tables already, as its writer had seemed to be gone, or was damaged.
    """

    writer: str
    entry: int
    decision_id: str
    decision: dict[str, Any] | None = None
    answered: int | None = None
    attempts: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    intents: dict[int, Mapping[str, Any]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        """Add what an entry says of its calls."""
        for _, intent in entry.intents:
            self.intents[intent["number"]] = intent
        for _, attempt in entry.attempts:
            self.attempts[attempt["number"]] = attempt

    def calls(self) -> list[dict[str, Any]]:
        """Its attempts; calls that have not ended were lost."""
        lost = (one for number, one in self.intents.items() if number not in self.attempts)
        found = [*self.attempts.values(), *({**one, **_LOST} for one in lost)]
        return [{**one, "decision_id": self.decision_id} for one in found]


_ID: Final = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A UUID as DuckDB writes it: a record made again has no other."""

_LOST: Final = {"status": "lost", "cached_answer": False}


class StateAsOf:
    """What a file has said of the state, and the parts that it has named."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self.models: dict[str, str] = {}
        self.memory: dict[str, str] = {}
        self.number = 0
        self.changed: set[tuple[str, str]] = set()
        self.is_anew = True
        self._members: dict[str, str] = {}
        self._is_whole = True
        self._digests: dict[str, tuple[str, str | None]] = {}

    def see(self, entry: Entry) -> None:
        """Take in what an entry says of parts and of the state."""
        self.parts.update(entry.parts)
        changes = entry.changes
        if changes is None or (changes.number <= self.number and not changes.anew):
            return
        if changes.anew:
            self.is_anew = True
            self.models, self.memory, self._members, self._is_whole = {}, {}, {}, True
        elif changes.number != self.number + 1:
            self._is_whole = False
        self._apply(changes)

    def _apply(self, changes: Changes) -> None:
        self.number = changes.number
        self._digests = {}
        for kind, known, changed in (
            ("model", self.models, changes.models),
            ("memory", self.memory, changes.memory),
        ):
            for id, text in changed.items():
                self.changed.add((kind, id))
                if text is None:
                    known.pop(id, None)
                    self._members.pop(id, None)
                    continue
                known[id] = text
                if kind == "model":
                    self._members[id] = member_of(id, text)

    def digests(self, policy: PolicyPart, number: object) -> tuple[str, str | None]:
        """The digests of models and memory for a decision that had seen so many changes.

        Raises LedgerError where some of them are in a damaged part of the file.
        """
        if not self._is_whole or number != self.number:
            raise LedgerError("the state that it was decided by is in a damaged part of its file")
        found = self._digests.get(policy.digest)
        if found is None:
            members, nothing = self._members, policy.nothing_known
            models = digest_of_members([members.get(id) or nothing[id] for id in policy.models])
            found = models, digest_of_texts(self.memory) if self.memory else None
            self._digests[policy.digest] = found
        return found


class PolicyPart:
    """What rows need of a policy's part."""

    def __init__(self, digest: str, text: str) -> None:
        values = read_json(text)
        self.digest = digest
        self.models = sorted(values["models"], key=by_key)
        self.nothing_known = {id: member_of(id, NOTHING_KNOWN_TEXT) for id in self.models}
        self.digests = RecordDigests(values)
        self._features = [(one["name"], one["default"]) for one in values["features"]]

    def features(self, row: RecordRow) -> dict[str, Any]:
        """The features that have a value or were given as null, by name; ignored ones too."""
        given = iter(row.values)
        found = {}
        for (name, default), letter in zip(self._features, row.sources, strict=True):
            if letter in "gr":
                found[name] = next(given)
            elif letter == "d":
                found[name] = default
        return found if row.ignored is None else found | dict(row.ignored)


class Assembler:
    """Assembles the entries of all writers for one ingestion.

    ``flights`` are decisions in flight, by id. What is put together waits in ``ended`` and the other lists until it is
    taken from there.
    """

    def __init__(self, flights: Iterable[Flight], known_part: Any) -> None:
        """``known_part`` gives the text of a part that the ledger has, by its digest, or None."""
        self.flights = {one.decision_id: one for one in flights}
        self.ended: list[Flight] = []
        self.policies: list[tuple[str, int, Mapping[str, Any]]] = []
        self.new_parts: dict[str, NewPart] = {}
        self.states: list[tuple[str, int, str, str, str | None]] = []
        self.touched: set[str] = set()
        self._known_part = known_part
        self._policies: dict[str, PolicyPart] = {}
        self._plans: dict[str, dict[str, str]] = {}
        self._arms: set[str] = set()

    def take(self, writer: str, number: int, entry: Entry, state: StateAsOf) -> None:
        """Take an entry in. Raises LedgerError for one that cannot be a row; nothing is then taken of it."""
        self.policies += [(writer, number, policy) for policy in entry.policies]
        decision_id = entry.decision_id
        if decision_id is None:
            if not entry.policies:
                raise LedgerError("an entry holds no row")
            return
        flight = self.flights.get(decision_id)
        if entry.decision is not None:
            flight = Flight(writer, number, decision_id, self._decision(writer, number, entry, state))
            flight.add(entry)
            if not entry.intents:
                self.ended.append(flight)
                return
            self.flights[decision_id] = flight
            self.touched.add(decision_id)
        else:
            if flight is None:
                flight = self.flights[decision_id] = Flight(writer, number, decision_id)
            flight.add(entry)
            self.touched.add(decision_id)
        if entry.end is not None:
            self._end(flight, entry.end[1])

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

    def _decision(self, writer: str, number: int, entry: Entry, state: StateAsOf) -> dict[str, Any]:
        given = entry.decision
        if not isinstance(given, RecordedDecision):  # of version 1
            return dict(given or {})
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
        self._note_state(writer, number, state)
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
        known: str | None = self._known_part(digest)
        if known is None:
            raise LedgerError("a part of its record is in a damaged part of its file")
        return known

    def _note_state(self, writer: str, number: int, state: StateAsOf) -> None:
        if state.is_anew:
            # What was known in an earlier file, or before all was said anew, may be known no more.
            known = [("model", id) for id in state.models] + [("memory", id) for id in state.memory]
            self.states.append((writer, number, ONLY, "", json.dumps(known)))
            state.is_anew = False
        for kind, id in state.changed:
            text = (state.models if kind == "model" else state.memory).get(id)
            self.states.append((writer, number, kind, id, text))
        state.changed.clear()


def _columns(row: RecordRow, policy: PolicyPart) -> dict[str, Any]:
    """A row's columns, by name."""
    request = row.request
    return {
        "decision_id": row.id,
        "at_us": row.at_us,
        "operation": row.operation,
        "pin": row.pin,
        "draw": row.draw,
        "request": None if request is None else dict(zip(REQUEST_FIELDS, request, strict=True)),
        "prompt_tokens": row.prompt_tokens,
        "sources": row.sources,
        "features": policy.features(row),
        "ignored": None if row.ignored is None else list(row.ignored),
        "verdicts": row.verdicts,
        "details": row.details,
        "arm_point": row.arm_point,
        "load": row.load,
        "quota_used": row.quota_used,
        "session_model": row.session_model,
    }
