"""Reads how models and quotas are now: health, breakers, latencies, memory, and what is used. Reserves nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from routewright.backends import Backend, BackendMemory
from routewright.backends.control import (
    COLD_LOAD_US,
    Breaker,
    Breakers,
    Latencies,
    LoadTimes,
    QuotaLimit,
    Quotas,
    QuotaUse,
    Sessions,
    StateStore,
)
from routewright.engine.decision import Health, ModelState, State, Task, binder_of
from routewright.engine.policy import CompiledModel

from .in_memory import KnownMemory, MemoryWatch, known_memory
from .planning import Planner

T = TypeVar("T")

KnownHealth = Mapping[int, tuple[Health, str | None]]
"""How backends said that they are, by the ``id()`` of each, and what is wrong where something is."""


@dataclass(frozen=True, slots=True)
class QuotaUsage:
    """A quota, and what is used and reserved of it by one key in the present window.

    Money is in nano-units (10⁻⁹) of the limit's currency. ``for_each`` is the feature whose values have a count
    each; ``use.key`` then says whose this one is, and is empty where nobody used anything yet.
    """

    limit: QuotaLimit
    for_each: str | None
    use: QuotaUse


class ModelStatus:
    """What ``store`` knows now of the models and quotas of one policy; without one, only ``health`` is known.

    All times are microseconds since 1970, UTC. What reads the store raises StateError where it cannot be read.
    """

    def __init__(
        self,
        store: StateStore | None,
        planner: Planner,
        backends: Mapping[str, Backend],
        health: KnownHealth,
        watch: MemoryWatch,
    ) -> None:
        self._store, self._planner = store, planner
        self._backends, self._health, self._watch = backends, health, watch
        self._models: dict[str, tuple[tuple[Any, ...], ModelState]] = {}
        self._known: tuple[tuple[BackendMemory, ...], KnownMemory] = ((), _NOTHING_SAID)
        self._breakers = None if store is None else Breakers(store)
        self._latencies = None if store is None else Latencies(store)
        self._loads = None if store is None else LoadTimes(store)
        self._quotas = None if store is None else Quotas(store)
        self._sessions = None if store is None else Sessions(store)

    def breakers(self, *, at_us: int) -> Mapping[str, Breaker]:
        """Every model of the catalog that has failed since it last succeeded, by id; the others are closed."""
        found = {} if self._breakers is None else self._breakers.all(at_us=at_us)
        if not found:
            return {}
        return {id: replace(breaker, model=id) for id, breaker in self._by_id(found)}

    def close_breaker(self, model: CompiledModel) -> None:
        """Forget the failures of a model."""
        if self._breakers is not None:
            self._breakers.close(self._planner.endpoints[model.index])

    def latencies(self, *, at_us: int) -> Mapping[str, float]:
        """How long calls of a model took of late, in milliseconds, by model id; loading is not counted.

        In whole microseconds: finer is noise, and would take three times the room in a ledger.
        """
        found = {} if self._latencies is None else self._latencies.all(at_us=at_us)
        return {id: round(ms, 3) for id, ms in self._by_id(found)} if found else {}

    def load_times(self, *, at_us: int) -> Mapping[str, int]:
        """How long loading a model took of late, in whole milliseconds, by model id."""
        found = {} if self._loads is None else self._loads.all(at_us=at_us)
        return {id: round(ms) for id, ms in self._by_id(found)} if found else {}

    def memory(self, *, at_us: int) -> KnownMemory:
        """What backends said of late that they hold in memory."""
        if self._watch.knows_nothing:
            return _NOTHING_SAID
        said = {id: held for id, one in self._backends.items() if (held := self._watch.of(one, at_us=at_us))}
        # Worked out once for what was said: backends are asked far less often than tasks are decided.
        kept, values = self._known, tuple(said.values())
        if len(kept[0]) != len(values) or any(a is not b for a, b in zip(kept[0], values, strict=True)):
            kept = self._known = values, known_memory(said, self._planner.policy.catalog.models)
        return kept[1]

    async def was_loaded(self, model: CompiledModel, load_us: int, *, at_us: int) -> None:
        """Remember how long loading a model by itself took. Raises StateError."""
        loads, endpoint = self._loads, self._planner.endpoints[model.index]
        if self._store is not None and loads is not None and load_us > COLD_LOAD_US:
            await self._store.run_in_thread(lambda: loads.observed(endpoint, load_us / 1_000, at_us=at_us))

    def quotas(self, *, at_us: int) -> Sequence[QuotaUsage]:
        """One for each key of each quota, in the policy's order, keys in theirs."""
        quotas = self._quotas
        if quotas is None:
            return ()
        return [
            QuotaUsage(limit, quota.for_each, use)
            for quota, limit in zip(self._planner.policy.quotas, self._planner.quotas, strict=True)
            for use in quotas.use_by_key(limit, at_us=at_us) or (quotas.use(limit, at_us=at_us),)
        ]

    def counters(self, *, at_us: int) -> Sequence[str]:
        """The names under which any policy's quotas count something."""
        return () if self._quotas is None else self._quotas.counters(at_us=at_us)

    def state(self, task: Task, *, at_us: int) -> State:
        """The state for deciding ``task``: quotas are read for the task's own team or user."""
        models: dict[str, ModelState] = {}
        breakers = self.breakers(at_us=at_us)
        latencies, loads = self.latencies(at_us=at_us), self.load_times(at_us=at_us)
        memory = self.memory(at_us=at_us)
        if breakers or latencies or loads or memory.backends or self._health:
            said = {name: self._health.get(id(one)) for name, one in self._backends.items()}
            for model in self._planner.policy.catalog.models:
                breaker = breakers.get(model.id)
                resting = breaker if breaker is not None and breaker.state == "open" else None
                health, detail = said.get(model.backend) or (None, None)
                known = self._model_state(
                    model.id,
                    (
                        health,
                        None if breaker is None else breaker.state,
                        latencies.get(model.id),
                        None if resting is None else resting.until_us,
                        None if resting is None else resting.error_class,
                        detail,
                        memory.loaded.get(model.id),
                        loads.get(model.id),
                        memory.sizes.get(model.id),
                    ),
                )
                if known is not _NOTHING:
                    models[model.id] = known
        return State(
            at_us,
            models=models,
            quota_used=self._quota_used(task, at_us),
            session_model=self._session_model(task, at_us),
            memory=memory.backends,
        )

    def _model_state(self, id: str, facts: tuple[Any, ...]) -> ModelState:
        """The facts, in the order of `ModelState`: one object while they stay the same, checked and recorded once."""
        kept = self._models.get(id)
        if kept is None or kept[0] != facts:
            known = ModelState(*facts) if any(fact is not None for fact in facts) else _NOTHING
            kept = self._models[id] = facts, known
        return kept[1]

    async def answered(self, task: Task, model: str, *, at_us: int) -> None:
        """Remember which model answered the task's session, where a rule of the policy asks for it."""
        sessions, session, operation = self._sessions, task.session, task.operation
        if self._store is None or sessions is None or session is None or not self._planner.policy.is_sticky:
            return
        # Most turns have nothing new to keep, and then need not wait for the store.
        if sessions.is_news(session, operation, model, at_us=at_us):
            await self._store.run_in_thread(lambda: sessions.answered(session, operation, model, at_us=at_us))

    def _session_model(self, task: Task, at_us: int) -> str | None:
        if self._sessions is None or task.session is None or not self._planner.policy.is_sticky:
            return None
        return self._sessions.model_of(task.session, task.operation, at_us=at_us)

    def _quota_used(self, task: Task, at_us: int) -> dict[str, int]:
        quotas, policy = self._quotas, self._planner.policy
        if quotas is None or not policy.quotas:
            return {}
        values = binder_of(policy).bind(task, State(at_us), strict=False).values
        return {
            limit.control: quotas.use(limit, at_us=at_us).taken for limit in self._planner.quotas_of(values)
        }

    def _by_id(self, found: Mapping[str, T]) -> Iterator[tuple[str, T]]:
        """What the store knows of the catalog's models, in the catalog's order."""
        for model, endpoint in zip(self._planner.policy.catalog.models, self._planner.endpoints, strict=True):
            if endpoint in found:
                yield model.id, found[endpoint]


_NOTHING = ModelState()
_NOTHING_SAID = KnownMemory()
