"""A policy and its catalog in, out what they say that is checked but not carried out yet, in words.

``check`` and ``decide`` print it; ``run`` refuses what concerns the task at hand unless told otherwise. What a
catalog says in vain changes no answer, so that only ``check`` tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..shapes import Backend, Catalog, Kind, Model, Policy

_ON_SOME_BACKENDS: Final[Mapping[str, frozenset[Kind]]] = {
    "host": frozenset({"ollama", "openai"}),
    "path": frozenset({"mlx"}),
    "api_key": frozenset({"ollama", "openai"}),
    "min_version": frozenset({"ollama"}),
    "timeouts.pull": frozenset(),
    "concurrency": frozenset({"ollama", "openai", "llamacpp"}),
    "pull": frozenset(),
    "health": frozenset({"openai"}),
    "health_interval": frozenset(),
    "requires_signin": frozenset({"ollama"}),
    "unload_after": frozenset(),
    "memory_gb": frozenset({"mlx"}),
    "threads": frozenset({"llamacpp"}),
    "memory_pressure": frozenset(),
}
"""The keys of a backend that do something on some kinds alone; the others do on all."""

_ON_SOME_MODELS: Final[Mapping[str, frozenset[Kind]]] = {
    "path": frozenset({"mlx", "llamacpp"}),
    "max_pairs": frozenset(),
    "min_version": frozenset({"ollama"}),
    "requires_signin": frozenset(),
    "keep_alive": frozenset({"ollama"}),
    "pooling": frozenset({"llamacpp"}),
    "residency": frozenset(),
}
"""The keys of a model that ask for something and get it on some kinds of backend alone. The others state facts."""

_NAMED_MODELS: Final = 5


def unenforced_parts(policy: Policy) -> tuple[str, ...]:
    """Every such part of the policy, in the order of the file."""
    parts = [
        f"assertion {assertion.name or number + 1}: not proven over all tasks"
        for number, assertion in enumerate(policy.assertions)
    ]
    return (*parts, *unenforced_everywhere(policy))


def unenforced_everywhere(policy: Policy) -> tuple[str, ...]:
    """What concerns every task: features that are to be stored so that they can be erased."""
    return tuple(
        f"feature {name}: sensitive values are stored like any other, and cannot be erased"
        for name, feature in policy.features.items()
        if feature.sensitive
    )


def unenforced_of_catalog(catalog: Catalog) -> tuple[str, ...]:
    """The keys that its backends and models do nothing with; those of simulated and disabled ones do not count."""
    parts = []
    backends = {id: shape for id, shape in catalog.backends.items() if _at_work(shape)}
    for id, shape in backends.items():
        values = {name: getattr(shape, name) for name in _ON_SOME_BACKENDS if "." not in name}
        values["timeouts.pull"] = shape.timeouts.pull
        if keys := _idle(values, _ON_SOME_BACKENDS, shape.kind):
            parts.append(f"backend {id}: {', '.join(f'`{key}`' for key in keys)}")
    found: dict[str, list[str]] = {}
    for id, model in catalog.models.items():
        runs_on = backends.get(model.backend)
        if runs_on is not None and not model.disabled:
            for key in _idle(_wishes(model, runs_on), _ON_SOME_MODELS, runs_on.kind):
                found.setdefault(key, []).append(id)
    for key, ids in found.items():
        more = f" and {len(ids) - _NAMED_MODELS} more" if len(ids) > _NAMED_MODELS else ""
        plural = "" if len(ids) == 1 else "s"
        parts.append(f"model{plural} {', '.join(ids[:_NAMED_MODELS])}{more}: `{key}`")
    return tuple(parts)


def _at_work(backend: Backend) -> bool:
    return backend.kind != "simulated" and not backend.disabled


def _wishes(model: Model, backend: Backend) -> Mapping[str, Any]:
    values = {name: getattr(model, name) for name in _ON_SOME_MODELS}
    if model.residency == "on_demand":
        del values["residency"]  # so it is, everywhere
    if backend.requires_signin:
        del values["requires_signin"]  # the backend's says it for all
    return values


def _idle(values: Mapping[str, Any], kinds: Mapping[str, frozenset[Kind]], kind: Kind) -> list[str]:
    return [name for name, value in values.items() if value not in (None, False) and kind not in kinds[name]]
