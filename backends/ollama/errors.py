"""What an Ollama server says when it fails, as BackendError.

The status counts, then the words: bodies are ``{"error": "text"}``, for remote models also a Go struct with a
status of its own, for cloud models whatever ollama.com says; their content type tells nothing. Sources:
ollama/ollama, ``server/routes.go``, ``server/cloud_proxy.go``, ``server/sched.go``, ``llm/llama_server.go``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ..errors import BackendError, ErrorClass
from ..phases import CallClock
from ..wire import Complaint, Gate, Reply, plain, retry_after_ms, status_class, status_in, words

_OVERFLOW: Final = re.compile(
    r"exceed_context_size|context (length|size|window)|prompt (is )?too long|input length exceeds"
)
_USAGE_LIMIT: Final = re.compile(
    r"(session|hourly|daily|weekly|monthly|account) (usage )?limit|usage limit|quota"
)
_NO_SUCH_ABILITY: Final = re.compile(
    r"does not support|cannot run this remote model|missing data required for|invalid model name"
)
_NO_SUCH_MODEL: Final = re.compile(r"model\b.*\bnot found|no such model")
_OUT_OF_RESOURCES: Final = re.compile(
    r"memory|unexpectedly stopped|unable to load|failed to load|resource limitations|runner|terminated|cuda"
)


def complaint_in(body: Any) -> Complaint | None:
    """The error that a body or a line holds, or ``None`` when it holds none."""
    if not isinstance(body, Mapping) or "error" not in body:
        return None
    error = body["error"]
    if not error and "message" in body:
        return None
    status = status_in(body.get("StatusCode", body.get("status_code")))
    if isinstance(error, Mapping):
        status = status or status_in(error.get("code"))
        kind = error.get("type")
        error = f"{words(error.get('message') or '')}{f' ({kind})' if isinstance(kind, str) else ''}"
    url = body.get("signin_url")
    message = words(_unwrapped(words(error or "")))
    return Complaint(message, status, signin_url=url if isinstance(url, str) else None)


def failure(
    clock: CallClock,
    gate: Gate,
    complaint: Complaint | None,
    *,
    status: int | None = None,
    headers: Mapping[str, str],
    text: str = "",
    direct: bool = False,
) -> BackendError:
    """The error for a reply of ``status``, or for an error line in mid-stream (``status`` is ``None`` then).

    ``text`` is the body when it holds no complaint, ``direct`` says that the server is ollama.com itself.
    """
    known = status if status is not None else _telling(complaint)
    message = complaint.message if complaint else plain(text)
    error_class = _class(known, message.lower())
    said = gate.message(message)
    what = "broke off with an error" if status is None else f"answered {status}"
    return clock.error(
        f"the Ollama server {what} for `{clock.who}`{': ' if said else ''}{said}",
        error_class,
        retry_after_ms=retry_after_ms(headers),
        help=_help(clock.who, known, error_class, message.lower(), complaint, direct=direct),
    )


async def refusal_of(clock: CallClock, gate: Gate, reply: Reply, *, direct: bool = False) -> BackendError:
    """The error for a reply whose status is not 200; ``direct`` says that it came from ollama.com itself."""
    # Parsed whatever the content type: a remote model's errors come as `application/x-ndjson`.
    said, text = await reply.refusal()
    return failure(
        clock,
        gate,
        complaint_in(said),
        status=reply.status,
        headers=reply.headers,
        text=text,
        direct=direct,
    )


def _class(status: int | None, words: str) -> ErrorClass:
    match status:
        case None:
            return "context_overflow" if _OVERFLOW.search(words) else "broken_stream"
        case 400 if _OVERFLOW.search(words):
            return "context_overflow"
        case 400 if _NO_SUCH_ABILITY.search(words) or _NO_SUCH_MODEL.search(words):
            return "not_found"
        case 429 if _USAGE_LIMIT.search(words):
            return "quota_exhausted"
        # The server gave the request up, and we did not: something at its side went away.
        case 499:
            return "overloaded"
        case 500 if _OVERFLOW.search(words):
            return "context_overflow"
        case 500:
            return "overloaded" if _OUT_OF_RESOURCES.search(words) else "bad_response"
        case _:
            return status_class(status)


def _help(
    tag: str,
    status: int | None,
    error_class: ErrorClass,
    words: str,
    complaint: Complaint | None,
    *,
    direct: bool,
) -> str | None:
    match error_class:
        case "unauthorized" if status == 403 and "disabled" in words:
            return "the server has its cloud switched off: unset OLLAMA_NO_CLOUD, or allow it in its settings"
        case "unauthorized" if status == 403:
            return "a server on this machine answers only to names of this machine; see OLLAMA_HOST"
        case "unauthorized" if direct:
            return "check the API key for https://ollama.com"
        case "unauthorized":
            url = complaint.signin_url if complaint else None
            # Shown only when it is what it seems to be: a page to sign in that a stranger names is a trap.
            where = f", or open {url}" if url and re.match(r"https://ollama\.com/\S+$", url) else ""
            return f"run `ollama signin`{where}"
        case "payment_required":
            return "this model needs a paid plan: see https://ollama.com/pricing"
        case "quota_exhausted":
            return "the limit lasts for hours: see https://ollama.com/settings"
        case "context_overflow":
            return "give the model a larger `context_length` in the catalog, shorten the prompt, or use another model"
        case "not_found" if direct:
            return "see https://ollama.com/search?c=cloud for the models there"
        case "not_found" if _NO_SUCH_MODEL.search(words):
            return f"run `ollama pull {tag}`"
        case "not_found" if status == 404:
            return "is there an Ollama server at this address?"
        case "overloaded" if status == 502:
            return "the server cannot reach ollama.com"
        case "overloaded" if status == 503:
            return "its queue is full: see OLLAMA_MAX_QUEUE"
        case "invalid_request" if status is not None and 300 <= status < 400:
            return "write the final address into the catalog: redirects are not followed"
        case _:
            return None


def _unwrapped(text: str) -> str:
    """The words of an error that is itself JSON: the server passes on what its runner said."""
    if not text.startswith("{"):
        return text
    try:
        inner = json.loads(text)
    except (ValueError, RecursionError):
        return text
    error = inner.get("error") if isinstance(inner, Mapping) else None
    if not isinstance(error, Mapping) or not isinstance(error.get("message"), str):
        return text
    kind = error.get("type")
    return f"{error['message']} ({kind})" if isinstance(kind, str) else error["message"]


def _telling(complaint: Complaint | None) -> int | None:
    """A status in mid-stream that says more than that the stream is broken."""
    inner = complaint.status if complaint else None
    return inner if inner is not None and inner < 500 else None
