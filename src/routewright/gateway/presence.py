"""Tells which models of a policy are there, by asking each backend what it has. Loads and downloads nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from shlex import quote
from typing import Literal

from routewright.backends import Backend, BackendError
from routewright.engine.policy import CompiledModel, CompiledPolicy

HEALTH_TIMEOUT_S = 5.0
"""How long a backend may take to say how it is, or what it has."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a model is there. ``why`` says why that is not known, ``get`` is the command that would fetch it."""

    state: Literal["present", "missing", "not known"]
    why: str | None = None
    get: str | None = None


Listed = Mapping[str, frozenset[str] | str]
"""The tags that each backend has, by its id, or why it does not say."""


async def listed_models(
    backends: Mapping[str, Backend],
    *,
    timeout_s: float = HEALTH_TIMEOUT_S,
) -> Listed:
    """Ask every backend at the same time what it has."""
    listed = await asyncio.gather(*(_listings(backend, timeout_s) for backend in backends.values()))
    return dict(zip(backends, listed, strict=True))


def model_presence(policy: CompiledPolicy, listed: Listed) -> Mapping[str, Presence]:
    """For each model that is not disabled, by id and in the catalog's order, whether its backend has it."""
    return {
        model.id: _presence(model, policy, listed.get(model.backend, "its backend was not asked"))
        for model in policy.catalog.models
        if model.disabled is None
    }


async def _listings(backend: Backend, timeout_s: float) -> frozenset[str] | str:
    """The tags that a backend has, or why it did not say."""
    try:
        async with asyncio.timeout(timeout_s):
            return frozenset(comparable_tag(tag) for tag in await backend.models())
    except BackendError as error:
        return str(error)
    except TimeoutError:
        return f"it said nothing within {timeout_s:g} s"


def _presence(model: CompiledModel, policy: CompiledPolicy, had: frozenset[str] | str) -> Presence:
    if isinstance(had, str):
        return Presence("not known", had)
    if comparable_tag(model.tag) in had:
        return Presence("present")
    kind = policy.catalog.backends[model.backend].kind
    if kind == "ollama":
        return Presence("missing", get=f"ollama pull {quote(model.tag)}")
    source = model.shape.source
    return Presence("missing", get=f"hf download {quote(source)}" if kind == "mlx" and source else None)


def comparable_tag(tag: str) -> str:
    """A tag as Ollama's servers list it, with ``latest`` where nothing else is said; others compare alike."""
    return (tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest").lower()
