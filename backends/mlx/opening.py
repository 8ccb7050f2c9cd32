"""Opens MLX backends as catalogs declare them."""

from __future__ import annotations

from collections.abc import Sequence

from routewright.engine.policy import CompiledModel, kinds

from ..registry import Opening
from .backend import MlxBackend
from .models import MlxModel


def open_backend(shape: kinds.MlxShape, models: Sequence[CompiledModel], opening: Opening) -> MlxBackend:
    """The backend for ``models``; the variables of paths are read at each model's first call."""
    return MlxBackend(
        {
            model.tag: MlxModel(
                path=model.shape.path,
                source=model.shape.source,
                operations=frozenset(model.operations),
                memory_gb=None if model.shape.memory_gb is None else float(model.shape.memory_gb),
                context_length=model.context_length,
                dimensions=model.shape.dimensions,
            )
            for model in models
        },
        path=shape.path,
        memory_gb=None if shape.memory_gb is None else float(shape.memory_gb),
        env=opening.environment,
    )
