"""What an explanation consists of, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..decision import Outcome
from ..record import DecisionRecord, Record

Place = Literal["before", "matched", "after"]


@dataclass(frozen=True, slots=True)
class PartValue:
    """A part of a condition and its value; UNKNOWN while it has none, with the ``reason`` if it was cut short."""

    text: str
    value: object
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """A rule, where it stands to the one that matched, and the parts that made its condition what it is.

    ``parts`` are, for a rule that holds, the names in its condition with their values; for one that does not,
    the first part that failed (all parts of an ``||``, since all of them did).
    """

    name: str
    place: Place
    verdict: bool | None
    condition: str
    parts: tuple[PartValue, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class FailedGate:
    """A gate that a model does not pass: why in words, with the call's numbers, and the same as ``facts``."""

    gate: str
    detail: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class CandidateExplanation:
    """A candidate and every gate that it does not pass, in their order."""

    model: str
    origin: str
    role: Literal["target", "fallback", "excluded"]
    failures: tuple[FailedGate, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepExplanation:
    """A step, and every gate that its model does not pass."""

    role: str
    model: str
    failures: tuple[FailedGate, ...]


class ExcludedEntry(NamedTuple):
    """An entry of a chain that is disabled, and the reason that the policy gives."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The rule that would have matched next, and where it leads to.

    ``target`` is None where ``outcome`` is not ``routed``, and where a draw would choose among ``drawn_from``.
    """

    rule: str
    outcome: Outcome
    target: str | None
    drawn_from: tuple[str, ...] = ()


class Changed(NamedTuple):
    """The old value of a feature (None: unknown) and its new one (None: left out)."""

    old: object
    new: object


@dataclass(frozen=True, slots=True)
class Change:
    """Changes of one or two features, and where they lead.

    ``drawn_from`` lists the models that a random draw would choose from, where the decision has no draw; then
    ``target`` is None.
    """

    features: Mapping[str, Changed]
    outcome: Outcome
    rule: str | None
    target: str | None
    drawn_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Explained:
    """Why a decision came out as it did.

    ``record`` is the one that is explained, and ``decided`` the same as this engine writes it, which differs where
    ``record`` is of an older version. ``changes`` are the smallest changes of features that would have led elsewhere.
    Where ``searched`` is false there may be others; ``not_covered`` then says why.
    """

    record: Record
    decided: DecisionRecord
    rules: tuple[RuleExplanation, ...]
    candidates: tuple[CandidateExplanation, ...]
    steps: tuple[StepExplanation, ...]
    runner_up: RunnerUp | None
    changes: tuple[Change, ...]
    searched: bool
    not_covered: tuple[str, ...]
    excluded: tuple[ExcludedEntry, ...]
    disabled: tuple[str, ...]
