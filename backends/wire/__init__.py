"""What both HTTP dialects share: connections, replies within bounds, statuses, and checks of what servers send."""

from __future__ import annotations

from .counts import CALL_BYTES, UNKNOWN_OUTPUT_TOKENS, ChatIntake, checked_input, estimated_usage
from .failures import unreadable
from .http import HttpClient
from .lines import event_data
from .reply import Reply
from .sizes import MAX_BODY_BYTES, MAX_ERROR_BYTES, SMALL_SIZES, Sizes, vector_sizes
from .statuses import retry_after_ms, status_class
from .untrusted import Gate
from .values import TextIntake, Unreadable, count_of, words

__all__ = [
    "CALL_BYTES",
    "MAX_BODY_BYTES",
    "MAX_ERROR_BYTES",
    "SMALL_SIZES",
    "UNKNOWN_OUTPUT_TOKENS",
    "ChatIntake",
    "Gate",
    "HttpClient",
    "Reply",
    "Sizes",
    "TextIntake",
    "Unreadable",
    "checked_input",
    "count_of",
    "estimated_usage",
    "event_data",
    "retry_after_ms",
    "status_class",
    "unreadable",
    "vector_sizes",
    "words",
]
