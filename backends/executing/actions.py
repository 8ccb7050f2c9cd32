"""What follows each class of failure: one table, so that it can be read and tested row by row.

``docs/executing.md`` says why each row is as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from ..errors import ErrorClass

_MINUTE = 60_000
_HOUR = 60 * _MINUTE


@dataclass(frozen=True, slots=True)
class Action:
    """What a failure leads to.

    ``then``: ``retry`` the same model after a pause (where the work has a backoff) and then the next one, go on to
    the ``next`` one at once, or ``stop``. ``breaker``: ``count`` the failure, ``cool`` the model for what the
    server asked or else ``cool_ms``, or ``ignore`` what says nothing of the model's health. ``billed`` is whether
    the call may have cost tokens although nobody reports any.
    """

    then: Literal["retry", "next", "stop"]
    breaker: Literal["count", "cool", "ignore"]
    billed: bool
    cool_ms: int | None = None


ACTIONS: Final[Mapping[ErrorClass, Action]] = MappingProxyType(
    {
        "rate_limited": Action("retry", "cool", billed=False),
        "quota_exhausted": Action("next", "cool", billed=False, cool_ms=_HOUR),
        "payment_required": Action("next", "cool", billed=False, cool_ms=_HOUR),
        "unauthorized": Action("next", "cool", billed=False, cool_ms=15 * _MINUTE),
        "not_found": Action("next", "count", billed=False),
        "invalid_request": Action("next", "ignore", billed=False),
        "context_overflow": Action("next", "ignore", billed=False),
        "refused_content": Action("stop", "ignore", billed=True),
        "timeout.connect": Action("next", "count", billed=False),
        "timeout.load": Action("next", "count", billed=False),
        "timeout.first_token": Action("next", "count", billed=True),
        "timeout.idle": Action("next", "count", billed=True),
        "timeout.total": Action("next", "count", billed=True),
        "overloaded": Action("retry", "count", billed=False),
        "broken_stream": Action("retry", "count", billed=True),
        "bad_response": Action("next", "count", billed=True),
        "cancelled": Action("stop", "ignore", billed=True),
    }
)
