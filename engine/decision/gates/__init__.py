"""The gates that every model of a plan has to pass, and the failures of those that do not."""

from __future__ import annotations

from .checks import HARD_FAILURES, candidate_fact, closes_first, no_steps
from .context import GateContext, GateFailure, context_of
from .listed import BREAKER_OPEN_LAST, GATES, MARKS, PartFailure, failures, marks
from .money import allowance

__all__ = [
    "BREAKER_OPEN_LAST",
    "GATES",
    "HARD_FAILURES",
    "MARKS",
    "GateContext",
    "GateFailure",
    "PartFailure",
    "allowance",
    "candidate_fact",
    "closes_first",
    "context_of",
    "failures",
    "marks",
    "no_steps",
]
