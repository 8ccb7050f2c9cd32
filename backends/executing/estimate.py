"""Upper bounds of a request's tokens, to be reserved before a call, and what a target is asked within them.

Where nobody counted, bytes are: a quarter of a token each is right for English and code, and up to 2.5 times too
low for JSON full of numbers or for a small vocabulary, so the bound is 2.5 times that.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Final

from ..protocol import ChatRequest, EmbedRequest
from ..wire import UNKNOWN_OUTPUT_TOKENS
from .work import Request, Target

_IMAGE_TOKENS: Final = 1_600
_MESSAGE_TOKENS: Final = 8
"""What a chat template adds to each message."""


def input_bound(request: Request) -> int:
    """The most tokens that the request's input is expected to have."""
    if not isinstance(request, ChatRequest):
        texts = request.texts if isinstance(request, EmbedRequest) else (request.query, *request.documents)
        # A reranker reads the query again with every document.
        repeated = 0 if isinstance(request, EmbedRequest) else len(request.query) * len(request.documents)
        return _tokens(sum(len(text.encode(errors="replace")) for text in texts) + 4 * repeated)
    size = extra = 0
    for message in request.messages:
        size += len(message.content.encode(errors="replace"))
        extra += _MESSAGE_TOKENS + _IMAGE_TOKENS * len(message.images)
        for tool_call in message.tool_calls:
            size += _json_size(tool_call.arguments) + len(tool_call.name)
    if request.tools or request.json_schema:
        size += sum(map(_json_size, request.tools)) + _json_size(request.json_schema)
    return _tokens(size) + extra


def output_bound(target: Target, request: Request) -> int:
    """The most tokens that the target is expected to write."""
    if not isinstance(request, ChatRequest):
        return 0
    known = [most for most in (request.max_output_tokens, target.max_output_tokens) if most is not None]
    return min(known, default=UNKNOWN_OUTPUT_TOKENS)


SMALLEST_WINDOW: Final = 4_096
"""What servers hold by themselves, at least: a request that fits into it asks for no window."""


def window_for(target: Target, request: ChatRequest) -> int | None:
    """The window to ask for: a power of two that holds prompt and answer, as far as the model goes.

    Each other window loads the model anew, so there are few of them. None where the server's own will do, or nobody
    says how much the model can hold.
    """
    if target.window is None:
        return None
    needed = input_bound(request) + output_bound(target, request)
    if needed <= SMALLEST_WINDOW:
        return None
    return min(1 << (needed - 1).bit_length(), target.window)


def fitted(request: Request, target: Target) -> Request:
    """The request within what the catalog says of the target, and with it where the request says nothing itself."""
    if not isinstance(request, ChatRequest):
        return request
    most, window = target.max_output_tokens, request.context_tokens
    if window is None:
        window = window_for(target, request)
    if (most, target.think, target.keep_alive) == (None, None, None) and window == request.context_tokens:
        return request
    asked = request.max_output_tokens
    return replace(
        request,
        max_output_tokens=asked if most is None or (asked is not None and asked <= most) else most,
        context_tokens=window,
        think=target.think if request.think is None else request.think,
        keep_alive=target.keep_alive if request.keep_alive is None else request.keep_alive,
    )


def _tokens(size: int) -> int:
    return -(-size * 5 // 8)


def _json_size(value: object) -> int:
    return len(json.dumps(value, default=str))
