"""Executes: targets and a request in, an answer and its attempts out. Decides nothing, stores nothing."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .cost import PriceFacts, Spend, cost_nano, spend_of
from .errors import ERROR_CLASSES, BackendError, ErrorClass, install_command
from .executing import (
    Answer,
    AnswerCache,
    Attempt,
    CacheUse,
    Ensemble,
    Execution,
    Executor,
    NotCalledError,
    QuorumError,
    Request,
    Step,
    StepReport,
    Target,
    Work,
    WorkLimits,
    execute,
    execute_sync,
)
from .protocol import (
    NO_LIMITS,
    Backend,
    ChatAnswer,
    ChatRequest,
    EmbedAnswer,
    EmbedRequest,
    HealthReport,
    Limits,
    Message,
    ModelListing,
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
from .simulated import Fault, SimulatedBackend, SimulatedModel
from .tokens import TokenCount, is_loaded, prompt_tokens, text_tokens

if TYPE_CHECKING:
    from .llamacpp import EMBEDDED_MODEL, EMBEDDED_NAMES, GgufModel, LlamaCppBackend, embedded_model
    from .mlx import MlxBackend, MlxModel
    from .ollama import OllamaBackend
    from .openai import OpenAIBackend

__all__ = [
    "EMBEDDED_MODEL",
    "EMBEDDED_NAMES",
    "ERROR_CLASSES",
    "NO_LIMITS",
    "Answer",
    "AnswerCache",
    "Attempt",
    "Backend",
    "BackendError",
    "CacheUse",
    "ChatAnswer",
    "ChatRequest",
    "EmbedAnswer",
    "EmbedRequest",
    "Ensemble",
    "ErrorClass",
    "Execution",
    "Executor",
    "Fault",
    "GgufModel",
    "HealthReport",
    "Limits",
    "LlamaCppBackend",
    "Message",
    "MlxBackend",
    "MlxModel",
    "ModelListing",
    "NotCalledError",
    "OllamaBackend",
    "OpenAIBackend",
    "PriceFacts",
    "QuorumError",
    "Request",
    "RerankAnswer",
    "RerankRequest",
    "SimulatedBackend",
    "SimulatedModel",
    "Spend",
    "Step",
    "StepReport",
    "StreamEnd",
    "StreamEvent",
    "Target",
    "TextDelta",
    "ThinkingDelta",
    "Timings",
    "TokenCount",
    "ToolCall",
    "Usage",
    "Work",
    "WorkLimits",
    "cost_nano",
    "embedded_model",
    "execute",
    "execute_sync",
    "install_command",
    "is_loaded",
    "prompt_tokens",
    "spend_of",
    "text_tokens",
]

_HOMES = {
    "EMBEDDED_MODEL": ".llamacpp",
    "EMBEDDED_NAMES": ".llamacpp",
    "GgufModel": ".llamacpp",
    "LlamaCppBackend": ".llamacpp",
    "MlxBackend": ".mlx",
    "MlxModel": ".mlx",
    "OllamaBackend": ".ollama",
    "OpenAIBackend": ".openai",
    "embedded_model": ".llamacpp",
}
"""Where what is loaded only when it is asked for is to be found: nobody pays for backends that are not used."""


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)
