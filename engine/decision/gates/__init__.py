"""The gates that every model of a plan has to pass, as classes whose instances are failures."""

from __future__ import annotations

from .availability import HARD_FAILURES, closes_first
from .context import GateContext, context_of
from .failure import Call, GateFailure, Mark
from .listed import BREAKER_OPEN_LAST, GATES, MARKS, RequiredStep, failures, marks
from .money import allowance
from .requirements import Offered

__all__ = [
    "BREAKER_OPEN_LAST",
    "GATES",
    "HARD_FAILURES",
    "MARKS",
    "Call",
    "GateContext",
    "GateFailure",
    "Mark",
    "Offered",
    "RequiredStep",
    "allowance",
    "closes_first",
    "context_of",
    "failures",
    "marks",
]
