"""Holds the arms of a rollout: each policy with its backends, its executor and what is known of its models.

Without a rollout there is one. Both arms share the breaker and the latency of what they both call, the use of controls
of one name, and the models of sessions. A backend is shared where both catalogs declare it and its models alike; else
the candidate has one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from routewright.backends import Backend, Fault, HealthReport
from routewright.backends.control import StateStore
from routewright.backends.executing import Executor
from routewright.engine.decision import (
    Arm,
    ArmName,
    Decision,
    Health,
    arm_named,
    candidate_of,
)
from routewright.engine.policy import CompiledCatalog, CompiledModel, CompiledPolicy, per_policy
from routewright.engine.report import TaskError

from .in_memory import MemoryWatch
from .opening import open_backends, simulated_backends, unopened
from .planning import Planner
from .status import ModelStatus


@dataclass(frozen=True, slots=True)
class ArmRuntime:
    """A policy with what executes it; ``backends`` are by its own backend ids.

    ``simulated`` says that no model can be called: there are backends, and all are simulated.
    """

    policy: CompiledPolicy
    backends: Mapping[str, Backend]
    executor: Executor
    planner: Planner
    status: ModelStatus
    simulated: bool


class RolloutRuntime:
    """The control and, under a rollout, the candidate.

    ``backends`` are the control's; ``candidate_backends`` (kept as ``own_backends``) those that the candidate does not
    share with it: none for a shadow, or a canary of 0%. ``needed`` are the ids that it needs. ``running`` counts what
    runs on them now. Raises TaskError where the candidate was not loaded with the control.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        backends: Mapping[str, Backend],
        candidate_backends: Mapping[str, Backend],
        store: StateStore | None,
        executor: Callable[[Mapping[str, Backend]], Executor],
    ) -> None:
        def arm(own: CompiledPolicy, backends: Mapping[str, Backend]) -> ArmRuntime:
            planner = Planner(own, counted_for=policy.name)
            self.know_health((one, one.report) for one in unopened(backends).values())
            status = ModelStatus(store, planner, backends, self._health, self.memory)
            simulated = bool(backends) and all(backend.simulated for backend in backends.values())
            return ArmRuntime(own, backends, executor(backends), planner, status, simulated)

        self._health: dict[int, tuple[Health, str | None]] = {}
        self.memory = MemoryWatch()
        self.control = arm(policy, backends)
        self.candidate: ArmRuntime | None = None
        self.running = 0
        self.own_backends = dict(candidate_backends)
        self.needed = own_backends(policy)
        rollout = policy.rollout
        if rollout is None:
            return
        candidate = candidate_of(policy)
        both = {
            id: backends[id]
            for id in candidate.catalog.backends
            if id in backends and alike(policy.catalog, candidate.catalog, id)
        }
        both |= self.own_backends
        self.candidate = arm(candidate, both)

    @property
    def draws(self) -> bool:
        """Whether a rule of either arm may need a random draw."""
        return any(side.policy.splits for side in self)

    @property
    def in_force(self) -> ArmRuntime:
        """The side that most tasks go to: the candidate under ``full``, else the control."""
        full = self.control.policy.rollout is not None and self.control.policy.rollout.mode == "full"
        return self.candidate if full and self.candidate is not None else self.control

    def __iter__(self) -> Iterator[ArmRuntime]:
        yield self.control
        if self.candidate is not None:
            yield self.candidate

    def side_of(self, decision: Decision) -> ArmRuntime:
        """The side that made a decision, which executes it.

        Raises TaskError for a decision that is not to be executed: one of another policy, such as the one that was in
        force before, a shadow, or one whose arm was asked for and not picked, as its probability would be wrong; and,
        in either arm, while a backend of the candidate's is missing.
        """
        side: ArmRuntime | None = self.control
        if decision.policy is not self.control.policy:
            side = next((side for side in self if decision.policy is side.policy), None) or next(
                (side for side in self if meaning_of(decision.policy) == meaning_of(side.policy)), None
            )
        if side is None:
            raise TaskError(
                f"the decision was made under another policy than `{self.control.policy.name}` as it is now",
                help="decide again",
            )
        if self.needed and (missing := [id for id in self.needed if id not in self.own_backends]):
            message = f"backend `{missing[0]}` of the rollout's candidate is not given"
            help = "its declaration is not the control's: give it in `candidate_backends`"
            raise TaskError(message, help=help)
        arm = decision.arm
        if arm is not None and (arm.point is None if arm.mode == "canary" else arm.probability == 0):
            raise TaskError(
                f"a decision of the {arm.name} under `{arm.mode}` that was not picked is not executed"
            )
        return side

    def named(self, name: ArmName) -> Arm:
        """An arm that is asked for. Raises TaskError without a rollout."""
        arm = arm_named(self.control.policy, name)
        if arm is None:
            raise TaskError(f"policy `{self.control.policy.name}` has no rollout, so there is no `{name}`")
        return arm

    def side(self, arm: Arm | None) -> ArmRuntime:
        """The side of an arm."""
        if arm is None or arm.name == "control" or self.candidate is None:
            return self.control
        return self.candidate

    def every_backend(self) -> list[Backend]:
        """The backends of both sides, each once."""
        return list({id(one): one for side in self for one in side.backends.values()}.values())

    def know_health(self, reports: Iterable[tuple[Backend, HealthReport]]) -> None:
        """Remember what backends of these arms said of their health, in place of what they said before."""
        for backend, report in reports:
            self._health.pop(id(backend), None)
            if report.healthy is not None:
                detail = None if report.healthy else report.detail
                self._health[id(backend)] = ("healthy" if report.healthy else "unhealthy", detail)

    def tell_health(self, following: RolloutRuntime) -> None:
        """Let the arms that replace these know what the backends that both have said of health and memory."""
        both = {id(one) for one in following.every_backend()} & self._health.keys()
        following._health |= {one: self._health[one] for one in both}
        self.memory.tell(following.memory, following.every_backend())


@per_policy
def meaning_of(policy: CompiledPolicy) -> tuple[str, ...]:
    """What a policy means, with its catalog and its rollout's candidate: digests, equal for equal meanings."""
    return tuple(digest for one in policy.with_candidate for digest in (one.digest, one.catalog.digest))


def open_candidate(
    policy: CompiledPolicy, *, faults: Mapping[str, Sequence[Fault]] | None = None
) -> Mapping[str, Backend]:
    """The backends that the candidate of a rollout needs for itself, opened as by ``open_backends``."""
    own = own_backends(policy)
    return open_backends(candidate_of(policy), only=own, faults=faults) if own else {}


def simulated_candidate(policy: CompiledPolicy, **options: object) -> Mapping[str, Backend]:
    """Simulated backends in their place; options are those of ``simulated_backends``."""
    own = own_backends(policy)
    if not own:
        return {}
    candidate = candidate_of(policy)
    backends = simulated_backends(candidate, **options)  # type: ignore[arg-type]  # they are passed on
    return {id: backends[id] for id in own}


def own_backends(policy: CompiledPolicy) -> list[str]:
    """The backends that the candidate may call and does not share; a shadow and a canary of 0% call none."""
    rollout = policy.rollout
    if rollout is None or rollout.mode == "shadow" or (rollout.mode == "canary" and not rollout.share):
        return []
    candidate = candidate_of(policy)
    ids = dict.fromkeys(model.backend for model in candidate.catalog.models if model.disabled is None)
    return [id for id in ids if not alike(policy.catalog, candidate.catalog, id)]


def alike(one: CompiledCatalog, other: CompiledCatalog, id: str) -> bool:
    """Whether two catalogs declare a backend and its models alike."""
    return one.backends.get(id) == other.backends.get(id) and _models(one.models, id) == _models(
        other.models, id
    )


def _models(models: Sequence[CompiledModel], backend: str) -> Mapping[str, object]:
    return {model.id: model.shape for model in models if model.backend == backend}
