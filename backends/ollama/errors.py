"""What an Ollama server says when it fails, as BackendError; what it means is in ``wire/complaints``.

Here is the advice: what to do differs from that for other servers. Sources: ollama/ollama, ``server/routes.go``,
``server/cloud_proxy.go``, ``server/sched.go``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ..errors import BackendError, ErrorClass
from ..phases import CallClock
from ..wire import Complaint, Dialect, Failure, Gate, Reply, complaint_in, failed

_HELP: Final[dict[ErrorClass, str]] = {
    "payment_required": "this model needs a paid plan: see https://ollama.com/pricing",
    "quota_exhausted": "the limit lasts for hours: see https://ollama.com/settings",
    "context_overflow": (
        "give the model a larger `context_length` in the catalog, shorten the prompt, or use another model"
    ),
}

_NO_SUCH_MODEL: Final = re.compile(r"model\b.*\bnot found|no such model")


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
    return failed(
        _OLLAMA_COM if direct else _OLLAMA,
        clock,
        gate,
        complaint,
        status=status,
        headers=headers,
        text=text,
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


def _advice(failure: Failure) -> str | None:
    words = failure.complaint.message.lower() if failure.complaint else ""
    status = failure.meaning.status
    match failure.meaning.error_class:
        case "unauthorized" if status == 403:
            return "a server on this machine answers only to names of this machine; see OLLAMA_HOST"
        case "unauthorized":
            url = failure.complaint.signin_url if failure.complaint else None
            # Shown only when it is what it seems to be: a page to sign in that a stranger names is a trap.
            where = f", or open {url}" if url and re.match(r"https://ollama\.com/\S+$", url) else ""
            return f"run `ollama signin`{where}"
        case "not_found" if _NO_SUCH_MODEL.search(words):
            return f"run `ollama pull {failure.tag}`"
        case "not_found" if status == 404:
            return "is there an Ollama server at this address?"
        case "overloaded" if status == 502:
            return "the server cannot reach ollama.com"
        case "overloaded" if status == 503:
            return "its queue is full: see OLLAMA_MAX_QUEUE"
        case error_class:
            return _HELP.get(error_class)


def _advice_direct(failure: Failure) -> str | None:
    match failure.meaning.error_class:
        case "unauthorized":
            return "check the API key for https://ollama.com"
        case "not_found":
            return "see https://ollama.com/search?c=cloud for the models there"
        case error_class:
            return _HELP.get(error_class)


_OLLAMA: Final = Dialect("the Ollama server {did} for `{tag}`", advice=_advice)
_OLLAMA_COM: Final = Dialect("the Ollama server {did} for `{tag}`", advice=_advice_direct)
