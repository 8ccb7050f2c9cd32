"""What a status alone means, where no wording is known.

After RFC 9110, section 15; 499, 524 and 529 are those of nginx, Cloudflare and Anthropic.
"""

from __future__ import annotations

from typing import Final

from ...errors import ErrorClass

STATUS_CLASSES: Final[dict[int, ErrorClass]] = {
    401: "unauthorized",
    402: "payment_required",
    403: "unauthorized",
    404: "not_found",
    407: "unauthorized",
    408: "timeout.total",
    409: "overloaded",
    410: "not_found",
    413: "context_overflow",
    423: "overloaded",
    425: "overloaded",
    429: "rate_limited",
    451: "refused_content",
    # The server gave the request up, and we did not: something at its side went away.
    499: "overloaded",
    501: "not_found",
    504: "timeout.total",
    524: "timeout.total",  # the server behind it took too long
}


def status_class(status: int) -> ErrorClass:
    """The class of a failure of which only the status is known."""
    known = STATUS_CLASSES.get(status)
    if known is not None:
        return known
    if status >= 500:
        return "overloaded"
    return "invalid_request" if status >= 300 else "bad_response"
