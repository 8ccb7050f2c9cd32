"""GGUF models that run in a process of their own, through xllamacpp."""

from __future__ import annotations

from .backend import EMBEDDED_MODEL, EMBEDDED_NAMES, LlamaCppBackend
from .process import GgufModel, embedded_model

__all__ = ["EMBEDDED_MODEL", "EMBEDDED_NAMES", "GgufModel", "LlamaCppBackend", "embedded_model"]
