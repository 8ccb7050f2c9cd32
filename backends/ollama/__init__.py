"""Ollama servers, on this machine or any other, and ollama.com."""

from __future__ import annotations

from .backend import OllamaBackend, open_backend
from .names import full_name
from .places import DeclaredPlaces

__all__ = ["DeclaredPlaces", "OllamaBackend", "full_name", "open_backend"]
