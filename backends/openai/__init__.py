"""Servers that speak the OpenAI dialect."""

from __future__ import annotations

from .backend import OpenAIBackend, without_tokens
from .opening import open_backend

__all__ = ["OpenAIBackend", "open_backend", "without_tokens"]
