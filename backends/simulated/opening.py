"""Makes simulated backends of a catalog's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routewright.engine.policy import CompiledModel, kinds

from ..registry import Opening
from .backend import Fault, SimulatedBackend, SimulatedModel


def simulated_backend(
    models: Sequence[CompiledModel],
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> SimulatedBackend:
    """One simulated backend for ``models``, as the catalog describes them. ``faults`` are by model id."""
    return SimulatedBackend(
        {
            model.tag: SimulatedModel(
                operations=frozenset(model.operations),
                expected_latency_ms=model.shape.expected_latency,
                dimensions=model.shape.dimensions,
                context_length=model.context_length,
            )
            for model in models
        },
        seed=seed,
        faults={model.tag: faults[model.id] for model in models if faults and model.id in faults},
        sleep=sleep,
    )


def open_backend(
    shape: kinds.SimulatedShape, models: Sequence[CompiledModel], opening: Opening
) -> SimulatedBackend:
    """The simulated backend for ``models``."""
    return simulated_backend(models)
