"""Servers that speak the OpenAI dialect."""

from __future__ import annotations

from .backend import OpenAIBackend, Operation, ServedBackend, open_backend
from .server import OpenAIServer

__all__ = ["OpenAIBackend", "OpenAIServer", "Operation", "ServedBackend", "open_backend"]
