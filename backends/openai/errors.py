"""What an OpenAI-compatible server says when it fails, as BackendError.

Servers agree on little: ``{"error": {"message", "type", "code"}}``, ``{"error": "text"}``, FastAPI's
``{"detail": …}``, vLLM's ``{"message", "type", "code"}`` without a wrapper, or no JSON at all. The codes count
first, then the words of the message, then the status.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from ..errors import BackendError, ErrorClass
from ..phases import CallClock
from ..wire import Complaint, Gate, Reply, plain, retry_after_ms, status_class, status_in, words

_CODES: Final[dict[str, ErrorClass]] = {
    "context_length_exceeded": "context_overflow",
    "exceed_context_size_error": "context_overflow",
    "request_too_large": "context_overflow",
    "content_filter": "refused_content",
    "content_policy_violation": "refused_content",
    "moderation_blocked": "refused_content",
    "responsibleaipolicyviolation": "refused_content",
    "insufficient_quota": "quota_exhausted",
    "billing_hard_limit_reached": "quota_exhausted",
    "usage_limit_reached": "quota_exhausted",
    "usage_limit_exceeded": "quota_exhausted",
    "quota_exceeded": "quota_exhausted",
    "billing_not_active": "payment_required",
    "insufficient_balance": "payment_required",
    "invalid_api_key": "unauthorized",
    "authentication_error": "unauthorized",
    "permission_error": "unauthorized",
    "permission_denied": "unauthorized",
    "model_not_found": "not_found",
    "not_found_error": "not_found",
    "notfounderror": "not_found",
    "not_supported_error": "not_found",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "overloaded_error": "overloaded",
    "server_overloaded": "overloaded",
    "service_unavailable": "overloaded",
    "unavailable_error": "overloaded",
    "timeout_error": "timeout.total",
}

# Words that tell more than the status, for servers whose codes do not. Each is looked for only in failures of
# the statuses given: a message quotes the user's own text at times.
_WORDS: Final[tuple[tuple[frozenset[int], re.Pattern[str], ErrorClass], ...]] = (
    (
        frozenset({400, 413, 422, 500}),
        re.compile(
            r"(context (length|size|window)|too many tokens|prompt is too long|input\b.*\bis too (long|large))"
        ),
        "context_overflow",
    ),
    (
        frozenset({403, 429}),
        re.compile(r"(usage limit|quota|(daily|weekly|monthly|session) limit)"),
        "quota_exhausted",
    ),
    (
        frozenset({400, 403, 422}),
        re.compile(r"(content (filter|policy|management policy)|responsible ai|flagged as|safety system)"),
        "refused_content",
    ),
    (
        frozenset({400, 422}),
        re.compile(r"\bmodel\b.*(not found|does not exist|not available|unknown)|unknown model"),
        "not_found",
    ),
)

_HELP: Final[dict[ErrorClass, str]] = {
    "unauthorized": "check the `api_key` of this backend, and what it may use",
    "payment_required": "the account at this server needs credit",
    "quota_exhausted": "the limit of the account lasts for hours or longer: retrying does not help",
    "context_overflow": "shorten the prompt, or route it to a model with a longer context",
    "not_found": "check the `tag` of the model, and whether the server offers what was asked for",
}


def complaint_in(body: Any) -> Complaint | None:
    """The error that ``body`` holds, or ``None`` when it holds none."""
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    status = status_in(body.get("code"))
    if isinstance(error, str) and error:
        return Complaint(words(error), status)
    if isinstance(error, dict) and error:
        inner = error.get("innererror")
        more = inner.get("code") if isinstance(inner, dict) else None
        message = words(error.get("message") or error.get("error") or "")
        codes = _codes(error.get("code"), error.get("type"), more)
        return Complaint(message, status_in(error.get("code")), codes)
    if "choices" in body or "data" in body:
        return None
    said = body.get("message") or body.get("detail")
    if isinstance(said, str) and said:
        return Complaint(words(said), status, _codes(body.get("code"), body.get("type")))
    if isinstance(said, list) and said and isinstance(said[0], Mapping):  # FastAPI: one entry for each field
        return Complaint(words(said[0].get("msg")))
    return None


async def refusal_of(clock: CallClock, gate: Gate, reply: Reply) -> BackendError:
    """The error for a reply whose status says that there is no answer."""
    said, text = await reply.refusal()
    complaint = complaint_in(said)
    return failure(clock, gate, complaint, status=reply.status, headers=reply.headers, text=text)


def failure(
    clock: CallClock,
    gate: Gate,
    complaint: Complaint | None,
    *,
    status: int | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    text: str = "",
) -> BackendError:
    """The error for a reply of ``status``, or for an error in mid-stream (``status`` is ``None`` then).

    ``text`` is the body when it holds no complaint.
    """
    known = status if status is not None else complaint.status if complaint else None
    error_class = _class(known, complaint)
    said = gate.message(complaint.message if complaint else plain(text))
    if status is not None and 300 <= status < 400:
        return clock.error(
            f"the server of `{clock.who}` answered {status}: it sends callers to another address",
            error_class,
            help="write the final address into the catalog: redirects are not followed with a key",
        )
    loading = known == 503 and said.lower().startswith("loading")
    what = (
        f"the server is still loading `{clock.who}`"
        if loading
        else f"the server of `{clock.who}` broke off with an error"
        if status is None
        else f"the server of `{clock.who}` answered {status}"
    )
    return clock.error(
        f"{what}: {said}" if said and not loading else what,
        error_class,
        retry_after_ms=retry_after_ms(headers),
        help=_HELP.get(error_class),
    )


def _class(status: int | None, complaint: Complaint | None) -> ErrorClass:
    # A bill that is due is no matter of words: 402 is what it says.
    if complaint is not None and status != 402:
        for code in sorted(complaint.codes):
            if code in _CODES:
                return _CODES[code]
        said = complaint.message.lower()
        for statuses, pattern, error_class in _WORDS:
            if (status is None or status in statuses) and pattern.search(said):
                return error_class
    return "broken_stream" if status is None else status_class(status)


def _codes(*values: object) -> frozenset[str]:
    return frozenset(value.lower() for value in values if isinstance(value, str))
