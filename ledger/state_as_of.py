"""The state that decisions were made by, put together from the changes that a file of the spool holds."""

from __future__ import annotations

import json
from typing import Final, NamedTuple

from routewright.engine.record import digest_of_members, digest_of_texts, member_of

from .entries import Changes, Entry
from .errors import LedgerError
from .policy_parts import PolicyPart

ONLY: Final = "only"
"""The kind of a change of the state after which nothing else is known: its text lists the kinds and ids of what is."""


class StateChange(NamedTuple):
    """What an entry says anew of a model or of a backend: ``text`` is canonical JSON, None where nothing is known."""

    writer: str
    entry: int
    kind: str
    id: str
    text: str | None


class StateAsOf:
    """What a file has said of the state, and the parts that it has named."""

    def __init__(self) -> None:
        self.parts: dict[str, str] = {}
        self._models: dict[str, str] = {}
        self._memory: dict[str, str] = {}
        self.number = 0
        self._is_anew = self._is_whole = True
        self._changed: set[tuple[str, str]] = set()
        self._members: dict[str, tuple[PolicyPart, list[str]]] = {}
        self._digests: dict[str, tuple[str, str | None]] = {}

    def see(self, entry: Entry) -> None:
        """Take in what an entry says of parts and of the state."""
        if entry.parts:
            self.parts.update(entry.parts)
        changes = entry.changes
        if changes is None or (changes.number <= self.number and not changes.anew):
            return
        if changes.anew:
            self._is_anew = self._is_whole = True
            self._models, self._memory, self._members = {}, {}, {}
        elif changes.number != self.number + 1:
            self._is_whole = False
        self._apply(changes)

    def _apply(self, changes: Changes) -> None:
        self.number = changes.number
        self._digests = {}
        for kind, known, changed in (
            ("model", self._models, changes.models),
            ("memory", self._memory, changes.memory),
        ):
            for id, text in changed.items():
                self._changed.add((kind, id))
                if text is None:
                    known.pop(id, None)
                else:
                    known[id] = text
        for policy, members in self._members.values():
            for id in changes.models:
                if id in policy.places:
                    members[policy.places[id]] = self._member(policy, id)

    def _member(self, policy: PolicyPart, id: str) -> str:
        text = self._models.get(id)
        return policy.nothing_known[id] if text is None else member_of(id, text)

    def digests(self, policy: PolicyPart, number: object) -> tuple[str, str | None]:
        """The digests of models and memory for a decision that had seen so many changes.

        Raises LedgerError where some of them are in a damaged part of the file.
        """
        if not self._is_whole or number != self.number:
            raise LedgerError("the state that it was decided by is in a damaged part of its file")
        found = self._digests.get(policy.digest)
        if found is None:
            if policy.digest not in self._members:
                self._members[policy.digest] = policy, [self._member(policy, id) for id in policy.places]
            models = digest_of_members(self._members[policy.digest][1])
            found = models, digest_of_texts(self._memory) if self._memory else None
            self._digests[policy.digest] = found
        return found

    def take_changes(self, writer: str, number: int) -> list[StateChange]:
        """What has changed since this was last asked, as of the entry with that number."""
        found = []
        if self._is_anew:
            # What was known in an earlier file, or before all was said anew, may be known no more.
            known = [("model", id) for id in self._models] + [("memory", id) for id in self._memory]
            found.append(StateChange(writer, number, ONLY, "", json.dumps(known)))
            self._is_anew = False
        for kind, id in self._changed:
            text = (self._models if kind == "model" else self._memory).get(id)
            found.append(StateChange(writer, number, kind, id, text))
        self._changed.clear()
        return found
