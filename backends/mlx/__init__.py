"""Models that run in this process, through mlx-lm."""

from __future__ import annotations

from .backend import MlxBackend, open_backend
from .models import MlxModel

__all__ = ["MlxBackend", "MlxModel", "open_backend"]
