"""Carries out work: calls within limits, fallbacks, steps, ensembles, a cache. Decides nothing, stores nothing."""

from __future__ import annotations

from routewright.engine.policy import TaskCost, TaskLimits
from routewright.engine.record import Attempt

from .attempts import (
    EnsembleReport,
    Execution,
    NotCalledError,
    QuorumError,
    StepReport,
)
from .cache import AnswerCache
from .executor import Executor
from .outcomes import FAILURES, STAGES, Outcome, Stage, outcome_of
from .prompt_files import PromptError, read_prompts, shipped_prompts
from .prompts import Prompts
from .work import (
    Answer,
    CacheUse,
    Ensemble,
    Request,
    Step,
    Target,
    Work,
)

__all__ = [
    "FAILURES",
    "STAGES",
    "Answer",
    "AnswerCache",
    "Attempt",
    "CacheUse",
    "Ensemble",
    "EnsembleReport",
    "Execution",
    "Executor",
    "NotCalledError",
    "Outcome",
    "PromptError",
    "Prompts",
    "QuorumError",
    "Request",
    "Stage",
    "Step",
    "StepReport",
    "Target",
    "TaskCost",
    "TaskLimits",
    "Work",
    "outcome_of",
    "read_prompts",
    "shipped_prompts",
]
