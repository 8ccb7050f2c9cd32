"""Models that run in this process, through mlx-lm."""

from __future__ import annotations

from .backend import MlxBackend
from .models import MlxModel
from .opening import open_backend

__all__ = ["MlxBackend", "MlxModel", "open_backend"]
