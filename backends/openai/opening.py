"""Opens servers of the OpenAI dialect as catalogs declare them."""

from __future__ import annotations

from collections.abc import Sequence

from routewright.engine.policy import CompiledModel, kinds

from ..registry import Opening
from .backend import OpenAIBackend


def open_backend(
    shape: kinds.OpenAIShape, models: Sequence[CompiledModel], opening: Opening
) -> OpenAIBackend:
    """The server that ``shape`` declares. Raises BackendError and ValueError."""
    return OpenAIBackend(
        shape.server,
        api_key=opening.key(shape.api_key),
        concurrency=shape.concurrency,
        health_url=shape.health,
    )
