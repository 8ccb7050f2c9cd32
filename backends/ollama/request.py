"""Writes requests in the words of Ollama's API, as JSON-ready dicts. Pure.

https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Final

from ..protocol import ChatRequest, EmbedRequest, Message, ToolCall
from ..wire import given

_CHAT_FIELDS: Final = frozenset({"format", "keep_alive", "shift", "think", "truncate"})
_EMBED_FIELDS: Final = frozenset({"dimensions", "keep_alive", "truncate"})
"""Options that are fields of the request itself: a server ignores them, in silence, among its ``options``."""


def chat_body(model: str, request: ChatRequest) -> dict[str, Any]:
    """The body for ``/api/chat``.

    ``truncate`` is false unless the options say otherwise: a prompt that does not fit is then refused, where a
    server by itself leaves out the oldest turns without a word.
    """
    fields, options = _parted(request.options, _CHAT_FIELDS)
    named = given(
        num_ctx=request.context_tokens,
        num_predict=request.max_output_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        stop=list(request.stop) or None,
    )
    names = {call.id: call.name for message in request.messages for call in message.tool_calls}
    body = given(
        model=model,
        messages=[_message(message, names) for message in request.messages],
        stream=True,
        truncate=False,
        tools=list(request.tools) or None,
        format=request.json_schema,
        think=request.think,
        keep_alive=None if request.keep_alive is None else _keep_alive(request.keep_alive),
        options=named | options or None,
    )
    return body | fields


def embed_body(model: str, request: EmbedRequest) -> dict[str, Any]:
    """The body for ``/api/embed``; texts that do not fit are refused unless the options say otherwise."""
    fields, options = _parted(request.options, _EMBED_FIELDS)
    body: dict[str, Any] = {"model": model, "input": list(request.texts), "truncate": False}
    return body | ({"options": options} if options else {}) | fields


def load_body(body: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path and body of a request that loads the model of ``body`` as it wants it, and asks it nothing.

    A ``keep_alive`` of nothing is left out: with it, the same request would unload the model.
    """
    asked = {"model": body["model"], "stream": False}
    if "options" in body:
        asked["options"] = body["options"]
    if "keep_alive" in body and not _is_nothing(body["keep_alive"]):
        asked["keep_alive"] = body["keep_alive"]
    if "input" in body:
        return "/api/embed", {**asked, "input": []}
    return "/api/generate", asked


def _parted(
    options: Mapping[str, object], fields: frozenset[str]
) -> tuple[dict[str, object], dict[str, object]]:
    """What belongs into the request itself, and what into its ``options``."""
    outer = {name: value for name, value in options.items() if name in fields}
    if isinstance(outer.get("keep_alive"), str):
        outer["keep_alive"] = _keep_alive(str(outer["keep_alive"]))
    return outer, {name: value for name, value in options.items() if name not in fields}


def _keep_alive(text: str) -> str | int:
    """A Go duration as it is; a bare number as a number of seconds, which the server refuses as text."""
    return int(text) if re.fullmatch(r"-?\d{1,9}", text.strip()) else text


def _is_nothing(keep_alive: object) -> bool:
    """Whether a duration or a number is zero: it has no other digit."""
    return re.search(r"[1-9]", str(keep_alive)) is None


def _message(message: Message, names: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        said["images"] = [base64.b64encode(image).decode("ascii") for image in message.images]
    if message.tool_calls:
        said["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
        if message.tool_call_id in names:  # what templates show is the name, not the id
            said["tool_name"] = names[message.tool_call_id]
    return said


def _tool_call(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "function": {"name": call.name, "arguments": dict(call.arguments)}}
