"""What both HTTP dialects share: connections, replies within bounds, statuses, and checks of what servers send."""

from __future__ import annotations

from .counts import (
    CALL_BYTES,
    NOT_COUNTED,
    NOTHING_ASKED,
    UNKNOWN_OUTPUT_TOKENS,
    ChatIntake,
    checked_input,
    estimated_usage,
)
from .failures import readable, unreadable
from .http import PROBE_LIMITS, HttpClient
from .lines import Event, EventReader, events_in
from .pieces import ChatPieces, own_name
from .reply import Reply
from .sizes import MAX_BODY_BYTES, MAX_ERROR_BYTES, SMALL_SIZES, Sizes, vector_sizes
from .statuses import Complaint, plain, retry_after_ms, status_class, status_in
from .untrusted import Gate
from .values import TextIntake, Unreadable, count_of, given, vectors_of, words

__all__ = [
    "CALL_BYTES",
    "MAX_BODY_BYTES",
    "MAX_ERROR_BYTES",
    "NOTHING_ASKED",
    "NOT_COUNTED",
    "PROBE_LIMITS",
    "SMALL_SIZES",
    "UNKNOWN_OUTPUT_TOKENS",
    "ChatIntake",
    "ChatPieces",
    "Complaint",
    "Event",
    "EventReader",
    "Gate",
    "HttpClient",
    "Reply",
    "Sizes",
    "TextIntake",
    "Unreadable",
    "checked_input",
    "count_of",
    "estimated_usage",
    "events_in",
    "given",
    "own_name",
    "plain",
    "readable",
    "retry_after_ms",
    "status_class",
    "status_in",
    "unreadable",
    "vector_sizes",
    "vectors_of",
    "words",
]
