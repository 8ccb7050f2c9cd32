"""Catalogs in, their models and simulated backends out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routewright.backends import Backend, Fault, SimulatedBackend, SimulatedModel
from routewright.engine.policy import CompiledModel, CompiledPolicy


def models_with(policy: CompiledPolicy, capability: str | None) -> list[CompiledModel]:
    """The catalog's models, in its order; with ``capability``, those that have it."""
    models = policy.catalog.models
    return [model for model in models if capability is None or capability in model.capabilities]


def simulated_backends(
    policy: CompiledPolicy,
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> Mapping[str, Backend]:
    """A simulated backend for each backend of the catalog. ``faults`` are by model id, one for each call."""
    return {
        backend_id: simulated_backend(
            [model for model in policy.catalog.models if model.backend == backend_id],
            seed=seed,
            faults=faults,
            sleep=sleep,
        )
        for backend_id in policy.catalog.backends
    }


def simulated_backend(
    models: Sequence[CompiledModel],
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> Backend:
    """One simulated backend for ``models``, as the catalog describes them."""
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
