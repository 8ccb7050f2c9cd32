"""Servers that speak the OpenAI dialect."""

from __future__ import annotations

from .backend import OpenAIBackend, open_backend
from .served import Operation, ServedBackend

__all__ = ["OpenAIBackend", "Operation", "ServedBackend", "open_backend"]
