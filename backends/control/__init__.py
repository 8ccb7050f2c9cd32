"""What executing keeps between calls: quotas, breakers, latencies; shared by the processes of one machine."""

from __future__ import annotations

from .breakers import Breaker, Breakers, BreakerSettings
from .quotas import Admission, Lease, QuotaLimit, Quotas, Refusal
from .store import StateStore
from .windows import window_of

__all__ = [
    "Admission",
    "Breaker",
    "BreakerSettings",
    "Breakers",
    "Lease",
    "QuotaLimit",
    "Quotas",
    "Refusal",
    "StateStore",
    "window_of",
]
