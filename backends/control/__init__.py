"""Keeps quotas, breakers, latencies, load times, sessions and ends of canaries, for all processes of a machine."""

from __future__ import annotations

from .breakers import Breaker, Breakers, BreakerSettings, Pass
from .canaries import Canaries, CanaryEnd, KeptCanary
from .errors import StateError
from .keys import QuotaKey, key_words
from .latencies import COLD_LOAD_US, Latencies, LoadTimes
from .quotas import Lease, QuotaLimit, Quotas, QuotaUse, Refusal, Unit
from .sessions import Sessions
from .store import StateStore
from .windows import Period, window_of

__all__ = [
    "COLD_LOAD_US",
    "Breaker",
    "BreakerSettings",
    "Breakers",
    "Canaries",
    "CanaryEnd",
    "KeptCanary",
    "Latencies",
    "Lease",
    "LoadTimes",
    "Pass",
    "Period",
    "QuotaKey",
    "QuotaLimit",
    "QuotaUse",
    "Quotas",
    "Refusal",
    "Sessions",
    "StateError",
    "StateStore",
    "Unit",
    "key_words",
    "window_of",
]
