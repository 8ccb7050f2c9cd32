"""The models of a catalog by capability, and simulated backends in place of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routewright.backends import Backend, Fault, simulated_backend
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
