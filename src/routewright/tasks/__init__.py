"""Tasks and requests as people write them."""

from __future__ import annotations

from .requests import (
    ChatOptions,
    chat_request,
    check_task,
    described,
    embed_request,
    operation_of,
    request_for,
    task_of,
)
from .tasks import (
    Sample,
    Samples,
    features_from_flags,
    parse_state,
    parse_task,
    parse_time,
    state_from,
    task_from,
)

__all__ = [
    "ChatOptions",
    "Sample",
    "Samples",
    "chat_request",
    "check_task",
    "described",
    "embed_request",
    "features_from_flags",
    "operation_of",
    "parse_state",
    "parse_task",
    "parse_time",
    "request_for",
    "state_from",
    "task_from",
    "task_of",
]
