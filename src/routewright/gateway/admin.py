"""What an operator asks of a gateway, and does to it: health, memory, breakers, latencies, quotas.

Models are named by their ids in either arm of a rollout; where both have one, the policy's own counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

from routewright.backends import Backend as OpenedBackend
from routewright.backends import HealthReport
from routewright.backends.control import Breaker
from routewright.engine.policy import Backend, CompiledModel
from routewright.engine.report import TaskError, suggest

from .arms import ArmRuntime
from .generations import PolicyGenerations
from .in_memory import says_memory
from .preloading import Preloaded, models_to_preload, preload
from .presence import HEALTH_TIMEOUT_S
from .status import QuotaUsage


class GatewayAdmin:
    """A gateway as its operator sees it. What reads the state store raises StateError where it cannot be read."""

    def __init__(self, generations: PolicyGenerations, clock: Callable[[], int]) -> None:
        self._generations = generations
        self._clock = clock

    def declared(self) -> tuple[Mapping[str, Backend], Mapping[str, CompiledModel]]:
        """The backends as ``check_health`` names them, and every model of either arm by its id, the policy's first."""
        arms = self._generations.current
        models: dict[str, CompiledModel] = {}
        for side in arms:
            for model in side.policy.catalog.models:
                models.setdefault(model.id, model)
        backends = dict(arms.control.policy.catalog.backends)
        if arms.candidate is not None:
            theirs = arms.candidate.policy.catalog.backends
            backends |= {_own_name(id): theirs[id] for id in arms.needed}
        return backends, models

    async def check_health(self, *, timeout_s: float = HEALTH_TIMEOUT_S) -> Mapping[str, HealthReport]:
        """Ask every backend how it is, at the same time; decisions from now on know what they said.

        One that says nothing within ``timeout_s`` is not healthy. What a rollout's candidate has for itself is
        called ``ID (candidate)``.
        """
        with self._generations.running() as arms:
            asked = dict(arms.control.backends)
            if arms.candidate is not None:
                asked |= {_own_name(id): one for id, one in arms.own_backends.items()}
            reports = await asyncio.gather(*(_health(one, timeout_s) for one in asked.values()))
            arms.know_health(zip(asked.values(), reports, strict=True))
            if arms is not self._generations.current:
                arms.tell_health(self._generations.current)
            return dict(zip(asked, reports, strict=True))

    async def ask_memory(self) -> None:
        """Ask every backend what it has in memory, at the same time; decisions know for a minute what they said.

        A gateway asks by itself, beside the calls of models and at most every ten seconds; call it to decide well
        before the first call.
        """
        with self._generations.running() as arms:
            asked = [one for one in arms.every_backend() if says_memory(one)]
            if asked:
                await arms.memory.ask(asked, at_us=self._clock())

    async def preload(self, only: Collection[str] | None = None) -> Sequence[Preloaded]:
        """Load the models that the catalog in force preloads, and say what became of each, in the catalog's order.

        ``only`` limits them to the models of these backends. One at a time on each backend, and none for which others
        would have to be unloaded. What fails is said, never raised, but StateError.
        """
        with self._generations.running() as arms:
            side = arms.in_force
            made = await preload(side, models_to_preload(arms, only))
            for one in made:
                model = side.policy.catalog.find(one.model)
                if one.load_us is not None and model is not None:
                    await side.status.was_loaded(model, one.load_us, at_us=self._clock())
            arms.memory.is_outdated()
            return made

    def breakers(self) -> Mapping[str, Breaker]:
        """Every model of either arm that has failed since it last succeeded, by id; the others are closed."""
        sides = reversed(list(self._generations.current))
        at_us = self._clock()
        return {id: one for side in sides for id, one in side.status.breakers(at_us=at_us).items()}

    def close_breaker(self, model: str) -> None:
        """Let a model be called again at once, whatever it failed at: it is mended. It goes by any of its names.

        Raises TaskError for what is no model of either arm, and StateError.
        """
        _, models = self.declared()
        found = []
        for side in self._generations.current:
            known = next((one for one in side.policy.catalog.models if one.id == model), None)
            found.append((side, known or side.policy.catalog.find(model)))
        if all(one is None for _, one in found):
            raise TaskError(f"unknown model `{model}`", help=suggest(model, models, label="models"))
        for side, one in found:
            if one is not None:
                side.status.close_breaker(one)

    def latencies(self) -> Mapping[str, float]:
        """How long calls of a model took of late, in milliseconds, by model id; loading is not counted."""
        sides = reversed(list(self._generations.current))
        at_us = self._clock()
        return {id: ms for side in sides for id, ms in side.status.latencies(at_us=at_us).items()}

    def quotas(self) -> Sequence[QuotaUsage]:
        """What is used and reserved now of each quota of the policies that execute, for each key that took something.

        One that both arms have is told as the policy in force has it.
        """
        sides = self._executing()
        told: dict[str, list[QuotaUsage]] = {}
        for side in sides:
            found: dict[str, list[QuotaUsage]] = {}
            for one in side.status.quotas(at_us=self._clock()):
                found.setdefault(one.limit.control, []).append(one)
            told = {**found, **told}
        return [one for usages in told.values() for one in usages]

    def left_counters(self) -> Sequence[str]:
        """The names of counts that a rename may have left behind, as ``POLICY/CONTROL`` or, of a machine, ``CONTROL``.

        They are of this policy and no quota of it, or of a quota that has no counts of its own.
        """
        arms, sides = self._generations.current, self._executing()
        known = arms.control.status.counters(at_us=self._clock())
        own = {limit.counter: limit.control for side in sides for limit in side.planner.quotas}
        uncounted = {control for counter, control in own.items() if counter not in known}
        left = []
        for counter in known:
            policy, _, control = counter.rpartition("/")
            if counter not in own and (policy == arms.control.policy.name or control in uncounted):
                left.append(counter)
        return left

    def _executing(self) -> list[ArmRuntime]:
        """The arms whose decisions are executed, the one in force first."""
        arms = self._generations.current
        rollout = arms.control.policy.rollout
        canary = rollout is not None and rollout.mode == "canary" and arms.candidate is not None
        return [arms.in_force, *([arms.candidate] if canary and arms.candidate is not None else [])]


async def _health(backend: OpenedBackend, timeout_s: float) -> HealthReport:
    try:
        async with asyncio.timeout(timeout_s):
            return await backend.health()
    except TimeoutError:
        return HealthReport(False, f"said nothing within {timeout_s:g} s")


def _own_name(backend: str) -> str:
    return f"{backend} (candidate)"
