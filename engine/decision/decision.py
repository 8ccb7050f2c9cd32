"""The decision as it is made: positions and references, nothing copied. ``record`` writes it out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from ..policy import CompiledEnsemble, CompiledPolicy, CompiledStep
from .gates import GateFailure
from .task import RequestFacts, Source, State, Task

Outcome = Literal["routed", "no_match", "no_target", "undecided"]
ArmName = Literal["control", "candidate"]
RolloutMode = Literal["shadow", "canary", "full"]
SessionUse = Literal["kept", "moved", "new", "none"]
"""What a rule with ``sticky: session`` made of the session: its model goes first, its model cannot, it has no
model yet, or the task names no session."""


@dataclass(frozen=True, slots=True)
class CandidateVerdict:
    """A candidate and whether it may be used. ``failure`` is the first gate that it did not pass.

    ``marks`` name what passed without being known to be well. ``probability`` is that of being the target.
    """

    model: int
    origin: str
    failure: GateFailure | None
    marks: tuple[str, ...]
    probability: float


@dataclass(frozen=True, slots=True)
class DroppedStep:
    """A step whose model did not pass a gate."""

    step: CompiledStep
    failure: GateFailure


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be executed. Every model in it has passed the same gates.

    ``ensemble`` is None if the rule has none, or if it is not used (``ensemble_dropped`` says why). ``unenforced``
    names what is planned but not supported yet.
    """

    target: int
    fallbacks: tuple[int, ...]
    steps: tuple[CompiledStep, ...]
    dropped: tuple[DroppedStep, ...]
    ensemble: CompiledEnsemble | None
    ensemble_dropped: GateFailure | None
    unenforced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Selection:
    """How the target was chosen among the rule's own candidates, with what it was chosen by.

    ``session`` is None where the rule is not sticky.
    """

    how: Literal["first", "cheapest", "fastest", "split", "pin", "session"]
    inputs: Mapping[str, Any]
    session: SessionUse | None = None


class NamedPolicy(NamedTuple):
    """A policy's name and the digest of what it means."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Arm:
    """The arm of a rollout that a decision belongs to, and how it came to it.

    ``probability`` is that of this arm being the one executed: 0 of a shadow. ``share`` is the candidate's under
    a canary. ``point`` is where the task fell, at least 0 and below 1: a bucket of ``key`` under ``salt``, or a
    random draw where ``key`` is None; it is None where nothing was drawn. ``file`` is
    the candidate's, as the control names it.
    """

    name: ArmName
    mode: RolloutMode
    probability: float
    share: float | None
    key: str | None
    salt: str | None
    point: float | None
    control: NamedPolicy
    candidate: NamedPolicy
    file: str


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What was chosen and why: a pure function of policy, task and state.

    ``values`` and ``sources`` follow the policy's features; ``verdicts`` its rules, those after the winner too.
    ``rule`` is the position of the rule that matched; under ``undecided``, of the one that was unknown.
    ``request`` is what is known of the request, features that speak for it included. ``arm`` is None without a
    rollout; with one, ``policy`` is the arm's. ``salts`` are those of values that may have to be erased, by place, each
    in hexadecimal; None where nobody has sealed any.
    """

    id: str
    policy: CompiledPolicy
    task: Task
    state: State
    values: tuple[Any, ...]
    sources: tuple[Source, ...]
    request: RequestFacts
    ignored: Mapping[str, object]
    verdicts: tuple[bool | None, ...]
    rule: int | None
    outcome: Outcome
    candidates: tuple[CandidateVerdict, ...]
    choice: Selection | None
    plan: Plan | None
    arm: Arm | None = None
    salts: Mapping[str, str] | None = None

    def __repr__(self) -> str:
        """One line: the full text of a decision of the shipped policy has a quarter of a million characters."""
        return (
            f"<Decision {self.id}: {self.outcome}, target {self.target!r}, rule {self.matched!r}, "
            f"policy {self.policy.name!r}>"
        )

    @property
    def target(self) -> str | None:
        """The id of the chosen model."""
        return None if self.plan is None else self.policy.catalog.models[self.plan.target].id

    @property
    def matched(self) -> str | None:
        """The name of the rule that matched."""
        return None if self.rule is None else self.policy.rules[self.rule].name

    @property
    def reason(self) -> str | None:
        """The reason that the rule gives."""
        return None if self.rule is None else self.policy.rules[self.rule].reason
