"""Loads the models that a catalog preloads, beside other work: one after another on each backend.

Nothing is unloaded for it: a model for which others would have to go is left alone, and so is one that is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from routewright.backends import Backend, BackendError, Limits
from routewright.engine.decision import ModelState, State, memory_fit
from routewright.engine.policy import DEFAULT_TIMEOUTS, CompiledModel, Operation

from .arms import ArmRuntime, RolloutRuntime
from .in_memory import known_memory


@dataclass(frozen=True, slots=True)
class Preloaded:
    """What became of a model that the catalog preloads.

    ``load_us`` is how long loading it took in microseconds, 0 where it was in memory already, None where it was not
    loaded: ``why_not`` says why.
    """

    model: str
    load_us: int | None
    why_not: str | None = None

    def __str__(self) -> str:
        if self.load_us is None:
            return f"`{self.model}` was not preloaded: {self.why_not}"
        if not self.load_us:
            return f"`{self.model}` was in memory already"
        return f"preloaded `{self.model}` in {self.load_us / 1e6:.1f} s"


def models_to_preload(
    arms: RolloutRuntime, only: Collection[str] | None = None
) -> Mapping[str, Sequence[CompiledModel]]:
    """The models that the policy in force preloads, by backend; ``only`` limits them to these backends.

    Backends that load nothing are left out.
    """
    side = arms.in_force
    found: dict[str, list[CompiledModel]] = {}
    for model in side.policy.catalog.models:
        backend = side.backends.get(model.backend)
        if model.shape.preload and model.disabled is None and backend is not None and loads_models(backend):
            if only is None or model.backend in only:
                found.setdefault(model.backend, []).append(model)
    return found


def loads_models(backend: Backend) -> bool:
    """Whether a backend can load models by themselves: not if it is simulated, or could not be opened."""
    return type(backend).load is not Backend.load


async def preload(side: ArmRuntime, wanted: Mapping[str, Sequence[CompiledModel]]) -> list[Preloaded]:
    """Load the models that are ``wanted`` of each backend, and say what became of each. Raises no BackendError."""
    found = await asyncio.gather(*(_on_backend(side, id, models) for id, models in wanted.items()))
    return [one for several in found for one in several]


async def _on_backend(side: ArmRuntime, id: str, models: Sequence[CompiledModel]) -> list[Preloaded]:
    made = []
    for model in models:
        made.append(await _loaded(model, side.backends[id], side))
    return made


async def _loaded(model: CompiledModel, backend: Backend, side: ArmRuntime) -> Preloaded:
    timeouts = side.policy.catalog.backends[model.backend].timeouts
    limits = Limits(
        connect_ms=timeouts.connect or DEFAULT_TIMEOUTS["connect"].ms,
        load_ms=timeouts.load or DEFAULT_TIMEOUTS["load"].ms,
    )
    try:
        said = await backend.memory()
        if said is not None:
            known = known_memory({model.backend: said}, side.policy.catalog.models)
            state = ModelState(memory_bytes=known.sizes.get(model.id))
            fit = memory_fit(model, State(0, models={model.id: state}, memory=known.backends))
            if known.loaded.get(model.id):
                return Preloaded(model.id, 0)
            if fit.how == "unloads":
                return Preloaded(model.id, None, f"{', '.join(fit.unloads)} would have to go")
            if fit.how == "never":
                return Preloaded(model.id, None, "it needs more memory than its backend has")
        operation: Operation = min(model.operations, default="chat")
        timings = await backend.load(model.tag, operation, limits=limits)
    except BackendError as error:
        return Preloaded(model.id, None, str(error))
    if timings is None:
        return Preloaded(model.id, None, "its backend loads nothing")
    return Preloaded(model.id, timings.load_us or 0)
