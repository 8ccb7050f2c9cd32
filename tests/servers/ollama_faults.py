"""Everything an Ollama server can do wrong, by name: what is answered instead of a good answer.

The shapes are those of the server's source (ollama/ollama, ``server/routes.go``, ``server/cloud_proxy.go``,
``llm/llama_server.go``, ``docs/api/errors.mdx``); those of connections are what networks do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

__all__ = ["FAULTS", "STREAM_FAULTS", "StatusFault", "StreamFault", "signin_url"]


@dataclass(frozen=True)
class StatusFault:
    """An answer with a status instead of 200. ``body`` is a JSON value, or text to send as it is."""

    status: int
    body: Any
    headers: tuple[tuple[str, str], ...] = ()
    content_type: str = "application/json; charset=utf-8"

    def text(self, model: str) -> str:
        said = self.body if isinstance(self.body, str) else json.dumps(self.body)
        return said.replace("MODEL", model)


StreamFault = Literal[
    "cut",  # the connection breaks after some tokens
    "cut_before",  # after the headers, before the first token
    "no_done",  # the stream ends tidily, without `done: true`
    "stalled",  # nothing more comes after some tokens
    "stalled_before",  # nothing comes at all, not even headers
    "stalled_headers",  # headers, then nothing
    "slow",  # 300 ms between tokens
    "malformed",  # a line that is not JSON
    "half_line",  # the stream ends within a line
    "not_utf8",
    "not_object",
    "wrong_types",
    "html",  # 200 with the page of some proxy
    "empty",  # 200 without a body
    "error_line",  # `{"error": …}` after some tokens, as a crashed runner gives it
    "error_line_first",
    "error_line_object",
    "error_line_status",  # a remote model's error in a line
    "load_reason",
    "unload_reason",
    "no_reason",
    "odd_reason",
    "no_metrics",
    "ignores_truncate",  # an old server: cuts the prompt whatever is asked
    "cold",  # loads for 1.5 s, also when the model is loaded
    "tool_call",
    "keepalive_lines",  # blank lines between the others
]

STREAM_FAULTS: Final[tuple[StreamFault, ...]] = StreamFault.__args__  # type: ignore[attr-defined]

_OVERFLOW: Final = (
    '{"error":{"code":400,"message":"request (9031 tokens) exceeds the available context size (4096 tokens), '
    'try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9031,"n_ctx":4096}}'
)


def signin_url() -> str:
    """What a server sends that is not signed in: the page to do it on."""
    return "https://ollama.com/connect?name=test-machine&key=c3NoLWVkMjU1MTk"


def _struct(status: int, phrase: str, error: str) -> dict[str, Any]:
    """A Go struct without tags: how errors of a remote model are encoded."""
    return {"StatusCode": status, "Status": f"{status} {phrase}", "error": error}


FAULTS: Final[dict[str, StatusFault]] = {
    "bad_request": StatusFault(400, {"error": "invalid character 'x' looking for beginning of value"}),
    "invalid_name": StatusFault(400, {"error": "invalid model name"}),
    "no_tools": StatusFault(400, {"error": "MODEL does not support tools"}),
    "no_chat": StatusFault(400, {"error": '"MODEL" does not support chat'}),
    "no_thinking": StatusFault(400, {"error": '"MODEL" does not support thinking'}),
    "no_remote": StatusFault(400, {"error": "this server cannot run this remote model"}),
    "overflow": StatusFault(400, {"error": _OVERFLOW}),
    "overflow_text": StatusFault(400, {"error": "the input length exceeds the context length"}),
    "overflow_object": StatusFault(400, _OVERFLOW),
    "unauthorized": StatusFault(401, {"error": "unauthorized", "signin_url": signin_url()}),
    "unauthorized_bare": StatusFault(401, {"error": "unauthorized"}),
    "payment": StatusFault(402, {"error": "a subscription is required for MODEL"}),
    "cloud_disabled": StatusFault(403, {"error": "ollama cloud is disabled: remote model is unavailable"}),
    "forbidden_empty": StatusFault(403, ""),
    "missing": StatusFault(404, {"error": "model 'MODEL' not found"}),
    "missing_pull": StatusFault(404, {"error": 'model "MODEL" not found, try pulling it first'}),
    "no_route": StatusFault(404, "404 page not found", content_type="text/plain"),
    "rate_limited": StatusFault(429, {"error": "rate limit exceeded"}, (("Retry-After", "7"),)),
    "rate_limited_bare": StatusFault(429, {"error": "rate limit exceeded"}),
    "rate_limited_struct": StatusFault(
        429, _struct(429, "Too Many Requests", "rate limit exceeded"), content_type="application/x-ndjson"
    ),
    "quota_session": StatusFault(
        429, {"error": "you have reached your session usage limit, upgrade for higher limits"}
    ),
    "quota_weekly": StatusFault(
        429,
        _struct(429, "Too Many Requests", "you have reached your weekly usage limit"),
        (("Retry-After", "3600"),),
    ),
    "subscription": StatusFault(
        403, {"error": "this model requires a subscription, upgrade for access: https://ollama.com/upgrade"}
    ),
    "cloud_failure": StatusFault(
        500, {"error": "Internal Server Error (ref: bddedf60-d799-48d6-ad1f-6783dcfc8e9b)"}
    ),
    "limit_line": StatusFault(  # as a line of a stream that has begun
        200, {"error": "you have reached your weekly usage limit"}, content_type="application/x-ndjson"
    ),
    "canceled": StatusFault(499, {"error": "request canceled"}),
    "crashed": StatusFault(
        500, {"error": "model runner has unexpectedly stopped, this may be due to resource limitations"}
    ),
    "out_of_memory": StatusFault(
        500, {"error": "model requires more system memory (11.1 GiB) than is available (3.2 GiB)"}
    ),
    "bad_option": StatusFault(500, {"error": 'option "num_ctx" must be of type integer'}),
    "error_object": StatusFault(500, {"error": {"message": "out of order", "type": "server_error"}}),
    "error_html": StatusFault(500, "<html><body>Internal error</body></html>", content_type="text/html"),
    "error_empty": StatusFault(500, ""),
    "unreachable": StatusFault(502, {"error": "dial tcp: lookup ollama.com: no such host"}),
    "queue_full": StatusFault(
        503, {"error": "server busy, please try again.  maximum pending requests exceeded"}
    ),
    "timed_out": StatusFault(504, "upstream request timeout", content_type="text/plain"),
    "redirect": StatusFault(307, "", (("Location", "http://127.0.0.1:9/api/chat"),)),
    "teapot": StatusFault(418, {"error": "short and stout"}),
}
