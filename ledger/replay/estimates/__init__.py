"""Estimates what recorded decisions would have come to under another policy, and says how far that can be trusted.

It knows tables and nothing else of the ledger.
"""

from __future__ import annotations

from .arms import rollout_arms
from .baselines import Baseline, baselines
from .canary import CanaryRule, CanaryVerdict, Condition, Finding, canary_verdict
from .estimating import estimate
from .intervals import Interval
from .relations import Metric, Relations
from .result import Estimate, MetricEstimates, Verdict
from .sequences import Arms, BoundedArm, BoundedArms, SummedArm, SummedArms

__all__ = [
    "Arms",
    "Baseline",
    "BoundedArm",
    "BoundedArms",
    "CanaryRule",
    "CanaryVerdict",
    "Condition",
    "Estimate",
    "Finding",
    "Interval",
    "Metric",
    "MetricEstimates",
    "Relations",
    "SummedArm",
    "SummedArms",
    "Verdict",
    "baselines",
    "canary_verdict",
    "estimate",
    "rollout_arms",
]
