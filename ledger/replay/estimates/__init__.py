"""Estimates what recorded decisions would have come to under another policy, and says how far that can be trusted.

It knows tables and nothing else of the ledger.
"""

from __future__ import annotations

from .estimating import estimate
from .intervals import Interval
from .relations import Metric, Relations
from .result import Estimate, MetricEstimates, Verdict

__all__ = ["Estimate", "Interval", "Metric", "MetricEstimates", "Relations", "Verdict", "estimate"]
