"""What a condition depends on, why it came out as it did, and what is left of it once some values are known."""

from __future__ import annotations

from .fold import specialise
from .parts import atoms, failing_parts, thresholds

__all__ = ["atoms", "failing_parts", "specialise", "thresholds"]
