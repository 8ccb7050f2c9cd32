"""Records of decisions as tests compare them."""

from __future__ import annotations

from routewright.engine.canonical import canonical_text
from routewright.engine.decision.decision import Decision
from routewright.engine.record.record import record_values


def record_text(decision: Decision) -> str:
    """The canonical JSON of a decision's record."""
    return canonical_text(record_values(decision))


def record_bytes(decision: Decision) -> bytes:
    """The same in UTF-8."""
    return record_text(decision).encode()
