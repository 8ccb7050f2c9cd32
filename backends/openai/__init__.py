"""Servers that speak the OpenAI dialect."""

from __future__ import annotations

from .backend import OpenAIBackend, Operation, ServedBackend, open_backend

__all__ = ["OpenAIBackend", "Operation", "ServedBackend", "open_backend"]
