"""GGUF models that run in a process of their own, through xllamacpp."""

from __future__ import annotations

from .backend import LlamaCppBackend, open_backend
from .process import GgufModel, embedded_model

__all__ = ["GgufModel", "LlamaCppBackend", "embedded_model", "open_backend"]
