"""Our requests in the words of OpenAI's API: https://platform.openai.com/docs/api-reference/chat.

Pure: a request in, a JSON-ready dict out. Servers that are compatible with it know parts of it; what differs is
said where it is decided.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ..images import image_type
from ..protocol import ChatRequest, EmbedRequest, Message, RerankRequest, ToolCall
from ..wire import given

RESERVED_OPTIONS: Final = frozenset(
    {"documents", "input", "messages", "model", "n", "query", "stream", "stream_options"}
)
"""What ``options`` may not say: the plan chose the model, and the rest would break the reading of the answer."""

_GENUINE_HOSTS: Final = re.compile(
    r"(^|\.)api\.openai\.com$|\.(openai|cognitiveservices|services\.ai)\.azure\.(com|us|cn)$", re.IGNORECASE
)


def is_genuine(host: str) -> bool:
    """Whether a host is one of OpenAI's own servers or of Azure's, which run the same service."""
    return _GENUINE_HOSTS.search(host) is not None


def chat_body(model: str, request: ChatRequest, *, stream: bool, genuine: bool) -> dict[str, Any]:
    """The body for ``/chat/completions``.

    ``genuine`` is for the servers of ``is_genuine``: they want ``max_completion_tokens`` where everybody else knows
    ``max_tokens``, and refuse what they do not know, such as ``chat_template_kwargs``.
    """
    most = "max_completion_tokens" if genuine else "max_tokens"
    schema = request.json_schema
    body = given(
        model=model,
        messages=[_message(message) for message in request.messages],
        stream=stream or None,
        stream_options={"include_usage": True} if stream else None,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        stop=list(request.stop) or None,
        tools=list(request.tools) or None,
        response_format=None if schema is None else {"type": "json_schema", "json_schema": _named(schema)},
        **{most: request.max_output_tokens},
    )
    if isinstance(request.think, str):
        body["reasoning_effort"] = request.think
    elif request.think is not None and not genuine:
        body["chat_template_kwargs"] = {"enable_thinking": request.think}
    elif request.think is False:
        body["reasoning_effort"] = "none"
    body.update(request.options)
    return body


def embed_body(model: str, request: EmbedRequest) -> dict[str, Any]:
    """The body for ``/embeddings``; vectors come as lists of numbers, which every server offers."""
    return {"model": model, "input": list(request.texts), "encoding_format": "float", **request.options}


def rerank_body(model: str, request: RerankRequest) -> dict[str, Any]:
    """The body for ``/rerank``, in the shape that Cohere, Jina, vLLM and llama.cpp share."""
    return {
        "model": model,
        "query": request.query,
        "documents": list(request.documents),
        "return_documents": False,
        **request.options,
    }


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        said["content"] = [
            *([{"type": "text", "text": message.content}] if message.content else []),
            *({"type": "image_url", "image_url": {"url": _data_url(image)}} for image in message.images),
        ]
    if message.tool_calls:
        said["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
        said["content"] = message.content or None
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    return said


def _tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _named(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": "answer", "schema": schema, "strict": _fits_strict_mode(schema)}


def _data_url(image: bytes) -> str:
    kind = image_type(image) or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(image).decode('ascii')}"


def _fits_strict_mode(schema: object) -> bool:
    """Whether every object of a schema is closed and complete, which OpenAI's strict mode asks for.

    https://platform.openai.com/docs/guides/structured-outputs#supported-schemas; other schemas are refused there
    with ``strict``, and still guide the answer without.
    """
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if schema.get("type") == "object" or properties is not None:
            names = set(properties) if isinstance(properties, Mapping) else set()
            required = schema.get("required")
            if schema.get("additionalProperties") is not False:
                return False
            if names != set(required if isinstance(required, list | tuple) else ()):
                return False
        return all(_fits_strict_mode(part) for part in schema.values())
    if isinstance(schema, list | tuple):
        return all(_fits_strict_mode(part) for part in schema)
    return True
