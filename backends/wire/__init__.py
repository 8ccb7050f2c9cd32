"""What both HTTP dialects share: connections, replies within bounds, what failures mean, checks of what is sent."""

from __future__ import annotations

from .complaints import (
    ROWS,
    Complaint,
    Dialect,
    Failure,
    complaint_in,
    failed,
    retry_after_ms,
    status_class,
)
from .counts import (
    CALL_BYTES,
    NOT_COUNTED,
    NOTHING_ASKED,
    UNKNOWN_OUTPUT_TOKENS,
    ChatIntake,
    checked_input,
    estimated_usage,
)
from .failures import Readable, unreadable
from .http import PROBE_LIMITS, HttpClient
from .lines import Event, EventReader, events_in
from .pieces import ChatPieces, own_name
from .reply import Reply
from .sizes import MAX_BODY_BYTES, MAX_ERROR_BYTES, SMALL_SIZES, Sizes, vector_sizes
from .untrusted import Gate
from .values import TextIntake, Unreadable, count_of, given, vectors_of, words

__all__ = [
    "CALL_BYTES",
    "MAX_BODY_BYTES",
    "MAX_ERROR_BYTES",
    "NOTHING_ASKED",
    "NOT_COUNTED",
    "PROBE_LIMITS",
    "ROWS",
    "SMALL_SIZES",
    "UNKNOWN_OUTPUT_TOKENS",
    "ChatIntake",
    "ChatPieces",
    "Complaint",
    "Dialect",
    "Event",
    "EventReader",
    "Failure",
    "Gate",
    "HttpClient",
    "Readable",
    "Reply",
    "Sizes",
    "TextIntake",
    "Unreadable",
    "checked_input",
    "complaint_in",
    "count_of",
    "estimated_usage",
    "events_in",
    "failed",
    "given",
    "own_name",
    "retry_after_ms",
    "status_class",
    "unreadable",
    "vector_sizes",
    "vectors_of",
    "words",
]
