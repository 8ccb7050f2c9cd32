"""Opens llama.cpp backends as catalogs declare them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from routewright.engine.policy import CompiledModel, kinds

from ..registry import Opening
from .backend import LlamaCppBackend
from .process import GgufModel


def open_backend(
    shape: kinds.LlamaCppShape, models: Sequence[CompiledModel], opening: Opening
) -> LlamaCppBackend:
    """The backend for ``models``; one without a path is the embedded model. Raises BackendError."""

    def file(written: str | None) -> Path | None:
        return None if written is None else Path(opening.path(written)).expanduser()

    return LlamaCppBackend(
        {
            model.tag: GgufModel(
                path=file(model.shape.path),
                written=model.shape.path,
                context_tokens=model.context_length or 8192,
                slots=shape.concurrency or 1,
                threads=shape.threads,
                pooling=model.shape.pooling,
            )
            for model in models
        }
    )
