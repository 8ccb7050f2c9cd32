"""Ollama servers, on this machine or any other, and ollama.com."""

from __future__ import annotations

from .backend import OllamaBackend
from .places import DeclaredPlaces

__all__ = ["DeclaredPlaces", "OllamaBackend"]
