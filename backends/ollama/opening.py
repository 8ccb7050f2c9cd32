"""Opens Ollama servers as catalogs declare them."""

from __future__ import annotations

from collections.abc import Sequence

from routewright.engine.policy import CompiledModel, kinds

from ..registry import Opening
from .backend import OllamaBackend


def open_backend(
    shape: kinds.OllamaShape, models: Sequence[CompiledModel], opening: Opening
) -> OllamaBackend:
    """The server that ``shape`` declares. Raises BackendError and ValueError."""
    return OllamaBackend(
        shape.server,
        api_key=opening.key(shape.api_key),
        min_version=shape.min_version,
        min_versions={m.tag: m.shape.min_version for m in models if m.shape.min_version is not None},
        requires_signin=shape.requires_signin,
        concurrency=shape.concurrency,
    )
