"""What each step does around an answer. The module named like a step carries it out, as its ``STEP``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Final

from routewright.engine.policy import STEPS

from .base import Review, StepCalls, StepFailed, StepKind
from .draft import with_drafts

__all__ = ["STEP_KINDS", "Review", "StepCalls", "StepFailed", "StepKind", "with_drafts"]

STEP_KINDS: Final[Mapping[str, StepKind]] = {role: import_module(f".{role}", __name__).STEP for role in STEPS}
