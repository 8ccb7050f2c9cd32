"""What a failure of a server means: its class, and how long it lasts. The table decides, else the status alone.

Pure, but for the clock where the server does not say what its own shows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...errors import ErrorClass
from .classes import status_class
from .rows import ROWS, STREAM, Row
from .shapes import Complaint
from .times import retry_after_ms, stated_wait_ms, until_midnight_ms

HOURS_MS: Final = 3_600_000
"""A limit that lasts as long or longer is a quota; a shorter one is a matter of pace."""

_LIMITS: Final = frozenset({"rate_limited", "quota_exhausted"})
_PASSING: Final = _LIMITS | {"overloaded", "timeout.total"}
"""Classes of which words and fields may say when they end."""

_SEARCHED: Final = 600
"""Characters of a complaint in which words count: servers come to the point. A time may come later."""

_ADDRESS: Final = re.compile(r"\b(?:https?://|www\.|[\w.-]{1,100}\.(?:ai|com|dev|io|ms|net|org)/)\S*")
_QUOTED: Final = re.compile(
    r"""(?P<said>['"]message['"]:\s?)?(?<!\w)(?:'[^']*'|"[^"]*"|`[^`]*`|“[^”]*”|«[^»]*»)(?!\w)"""
)


_ECHO: Final = re.compile(
    r"(?: at pos \d+: |\b(?:messages|prompt) = |\binput_value=|['\"]messages['\"]: ).*", re.DOTALL
)
"""Where servers begin to repeat what they were sent, or what the model wrote (llama.cpp, pydantic)."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """A failure understood. ``wait_ms`` is what the server states; ``row`` knew it, or else (``None``) the status.

    ``status`` is that of the reply, or in mid-stream the complaint's own.
    """

    status: int | None
    error_class: ErrorClass
    wait_ms: int | None
    row: Row | None


def meaning_of(complaint: Complaint | None, *, status: int | None, headers: Mapping[str, str]) -> Meaning:
    """What a reply of ``status`` with ``headers`` means, or an error in mid-stream (``status`` is ``None``).

    The complaint's own status counts in mid-stream. A limit with a stated end is ``rate_limited`` where that is less
    than an hour away, and ``quota_exhausted`` otherwise, whatever its words.
    """
    known = status if status is not None else complaint.status if complaint else None
    said = own_words(complaint.message) if complaint else ""
    codes = complaint.codes if complaint else frozenset()
    row = next(
        (row for row in ROWS if fits(row, STREAM if known is None else known, codes, said[:_SEARCHED])), None
    )
    if row is not None:
        error_class = row.error_class
    else:
        error_class = "broken_stream" if known is None else status_class(known)
    if error_class not in _PASSING:
        return Meaning(known, error_class, retry_after_ms(headers), row)
    wait_ms = stated_wait_ms(headers, complaint, said, zone=row.zone if row else None)
    if error_class in _LIMITS and wait_ms is not None:
        error_class = "quota_exhausted" if wait_ms >= HOURS_MS else "rate_limited"
    elif wait_ms is None and row is not None and row.midnight is not None:
        wait_ms = until_midnight_ms(row.midnight, headers)
    return Meaning(known, error_class, wait_ms, row)


def own_words(message: str) -> str:
    """A complaint in lower case, without addresses, and without quotations of several words: those are the user's.

    Names are quoted, too, and have one word. What stands behind ``"message":`` is said by another server.

    >>> own_words('Unreadable: "my daily quota" at https://aka.ms/oai/quotaincrease, model `m`')
    'unreadable: "" at  model `m`'
    """
    text = _ECHO.sub("", _ADDRESS.sub("", message))
    return _QUOTED.sub(
        lambda found: '""' if " " in found[0] and not found["said"] else found[0], text
    ).lower()


def fits(row: Row, status: int, codes: frozenset[str], said: str) -> bool:
    """Whether ``row`` knows a complaint; ``said`` are its own words."""
    if status not in row.statuses:
        return False
    if row.codes is None and row.words is None:
        return True
    if row.codes is not None and any(row.codes.fullmatch(code) for code in codes):
        return True
    found = row.words.search(said) if row.words is not None else None
    if found is None:
        return False
    numbers = {name: int(number.replace(",", "")) for name, number in found.groupdict().items()}
    return not numbers or numbers["requested"] > numbers["limit"]
