"""Servers that speak the OpenAI dialect."""

from __future__ import annotations

from .backend import OpenAIBackend, without_tokens

__all__ = ["OpenAIBackend", "without_tokens"]
