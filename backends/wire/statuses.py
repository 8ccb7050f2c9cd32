"""What a server says of a failure: its status, the complaint in its body, and when it wants to be asked again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

from ..errors import ErrorClass

_CLASSES: Final[dict[int, ErrorClass]] = {
    401: "unauthorized",
    402: "payment_required",
    403: "unauthorized",
    404: "not_found",
    408: "timeout.total",
    409: "overloaded",
    410: "not_found",
    413: "context_overflow",
    425: "overloaded",
    429: "rate_limited",
    451: "refused_content",
    499: "cancelled",
    501: "not_found",
    504: "timeout.total",
    524: "timeout.total",  # Cloudflare's: the server behind it took too long
}


_LONGEST_WAIT_MS: Final = 366 * 24 * 3_600_000
"""A year: no server asks for a longer pause in earnest."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The error that a server reports, in whatever shape it came.

    ``codes`` are its ``code`` and ``type``, ``status`` is one that stands beside them, and ``signin_url`` is where to
    sign in.
    """

    message: str
    status: int | None = None
    codes: frozenset[str] = frozenset()
    signin_url: str | None = None


def status_class(status: int) -> ErrorClass:
    """The class of a failure of which only the status is known."""
    known = _CLASSES.get(status)
    if known is not None:
        return known
    if status >= 500:
        return "overloaded"
    return "invalid_request" if status >= 300 else "bad_response"


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """How long the server asks to wait: ``retry-after-ms``, else ``Retry-After`` in seconds or as a date.

    ``headers`` is looked up without regard to case, as HTTP clients do it. A date is compared with the
    server's own ``Date``, so that clocks need not agree. ``None`` when nothing usable is said; never negative.
    """
    for name, factor in (("retry-after-ms", 1), ("retry-after", 1_000)):
        try:
            wait_ms = float(headers.get(name, "")) * factor
        except ValueError:
            continue
        if 0 <= wait_ms < float("inf"):
            return min(round(wait_ms), _LONGEST_WAIT_MS)
    until = _timestamp(headers.get("retry-after", ""))
    if until is None:
        return None
    now = _timestamp(headers.get("date", ""))
    wait_ms = round(1_000 * (until - (time.time() if now is None else now)))
    return max(0, min(wait_ms, _LONGEST_WAIT_MS))


def status_in(code: object) -> int | None:
    """The status of a failure that a field holds."""
    if isinstance(code, str) and code.isdecimal() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and 400 <= code < 600 else None


def plain(text: str) -> str:
    """The text of a body for a message; a page of HTML says nothing that is worth quoting."""
    return "" if text.lstrip().startswith("<") else text


def _timestamp(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
