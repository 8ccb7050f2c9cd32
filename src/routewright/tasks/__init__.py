"""Reads tasks and requests as people write them."""

from __future__ import annotations

from .facts import described, task_of
from .flags import features_from_flags, texts_from_flags
from .json_text import shape_of_values
from .messages import AnyMessage
from .requests import ChatOptions, chat_request, check_known, embed_request, operation_of, request_for
from .states import models_named, parse_state, parse_time, state_from
from .written import AskedTask, Attached, Samples, WrittenTask, asked_by, parse_task, task_from

__all__ = [
    "AnyMessage",
    "AskedTask",
    "Attached",
    "ChatOptions",
    "Samples",
    "WrittenTask",
    "asked_by",
    "chat_request",
    "check_known",
    "described",
    "embed_request",
    "features_from_flags",
    "models_named",
    "operation_of",
    "parse_state",
    "parse_task",
    "parse_time",
    "request_for",
    "shape_of_values",
    "state_from",
    "task_from",
    "task_of",
    "texts_from_flags",
]
