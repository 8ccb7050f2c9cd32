"""Calls models: opens backends, and executes what a plan holds. Decides nothing, stores nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .blocking import run_blocking
from .cost import PriceFacts, cost_nano
from .errors import ERROR_CLASSES, BackendError, ErrorClass
from .images import IMAGE_TYPES, image_type
from .protocol import (
    NO_LIMITS,
    Backend,
    BackendMemory,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    InMemory,
    Limits,
    Message,
    RerankAnswer,
    RerankRequest,
    StreamEnd,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Timings,
    ToolCall,
    Usage,
)
from .registry import open_backend
from .simulated import Fault, SimulatedBackend, SimulatedModel, simulated_backend
from .tokens import TokenCount, is_loaded, prompt_tokens, text_tokens
from .unopened import UnopenedBackend

if TYPE_CHECKING:
    from .llamacpp import embedded_model
    from .ollama import OllamaBackend, full_name

__all__ = [
    "ERROR_CLASSES",
    "IMAGE_TYPES",
    "NO_LIMITS",
    "Backend",
    "BackendError",
    "BackendMemory",
    "ChatAnswer",
    "ChatRequest",
    "EmbedAnswer",
    "EmbedRequest",
    "ErrorClass",
    "Fault",
    "HealthReport",
    "InMemory",
    "Limits",
    "Message",
    "OllamaBackend",
    "PriceFacts",
    "RerankAnswer",
    "RerankRequest",
    "SimulatedBackend",
    "SimulatedModel",
    "StreamEnd",
    "StreamEvent",
    "TextDelta",
    "ThinkingDelta",
    "Timings",
    "TokenCount",
    "ToolCall",
    "UnopenedBackend",
    "Usage",
    "cost_nano",
    "embedded_model",
    "full_name",
    "image_type",
    "is_loaded",
    "open_backend",
    "prompt_tokens",
    "run_blocking",
    "simulated_backend",
    "text_tokens",
]

_HOMES = {
    "OllamaBackend": ".ollama",
    "embedded_model": ".llamacpp",
    "full_name": ".ollama",
}
"""Where what is loaded only when it is asked for is to be found: nobody pays for backends that are not used."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)
