"""Executes: targets and a request in, an answer and its attempts out. Decides nothing, stores nothing."""

from __future__ import annotations

from .cost import PriceFacts, cost_nano
from .errors import ERROR_CLASSES, BackendError, ErrorClass
from .execute import Answer, Attempt, Execution, Request, Target, execute, execute_sync
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

__all__ = [
    "ERROR_CLASSES",
    "NO_LIMITS",
    "Answer",
    "Attempt",
    "Backend",
    "BackendError",
    "ChatAnswer",
    "ChatRequest",
    "EmbedAnswer",
    "EmbedRequest",
    "ErrorClass",
    "Execution",
    "Fault",
    "HealthReport",
    "Limits",
    "Message",
    "ModelListing",
    "PriceFacts",
    "Request",
    "RerankAnswer",
    "RerankRequest",
    "SimulatedBackend",
    "SimulatedModel",
    "StreamEnd",
    "StreamEvent",
    "Target",
    "TextDelta",
    "ThinkingDelta",
    "Timings",
    "ToolCall",
    "Usage",
    "cost_nano",
    "execute",
    "execute_sync",
]
