"""Decisions in flight: what is known of one until it has ended, and the text that the ledger keeps of it until then.

A call of a writer that is gone, whose end nobody has recorded, was lost: its cost is unknown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic_core import to_json

from .entries import Entry

_LOST: Final = {"status": "lost", "cached_answer": False}


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

    def calls(self) -> list[Mapping[str, Any]]:
        """Its attempts; calls that have not ended were lost."""
        found = list(self.attempts.values())
        if self.intents.keys() - self.attempts.keys():
            found += [{**one, **_LOST} for number, one in self.intents.items() if number not in self.attempts]
        return [
            one if one.get("decision_id") == self.decision_id else {**one, "decision_id": self.decision_id}
            for one in found
        ]

    @property
    def record(self) -> str | None:
        """The text of a record of version 1."""
        return None if self.decision is None else self.decision.get("record")

    @property
    def text(self) -> str:
        """All that is known of it, as JSON."""
        values = {
            "row": self.decision,
            "attempts": list(self.attempts.values()),
            "intents": list(self.intents.values()),
        }
        return to_json(values).decode()


def flight_of(writer: str, entry: int, decision_id: str, text: str) -> Flight:
    """The flight of which ``text`` was kept."""
    values = json.loads(text)
    attempts, intents = ({one["number"]: one for one in values[name]} for name in ("attempts", "intents"))
    return Flight(writer, entry, decision_id, values["row"], None, attempts, intents)
