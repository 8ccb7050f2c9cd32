"""Makes a decision from a policy, a task and a state. Pure: no clock, no randomness."""

from __future__ import annotations

from .arms import arm_named, candidate_of, check_declared, pick_arm, shadow_arm
from .bind import binder_of
from .choose import Estimate, estimate, key_text, point_of
from .deciding import decide, parameters_of, verdicts_of
from .decision import (
    Arm,
    ArmName,
    CandidateVerdict,
    Decision,
    NamedPolicy,
    Outcome,
    Plan,
    RolloutMode,
    Selection,
    SessionUse,
)
from .gates import GATES, HARD_FAILURES, MARKS, GateContext, GateFailure, allowance, context_of, failures
from .plan import gate_steps, make_plan, required_failures, step_failures, steps_of
from .task import (
    NO_REQUEST,
    NOTHING_KNOWN,
    SESSION,
    Breaker,
    Health,
    ModelState,
    PromptTokensSource,
    RequestFacts,
    Source,
    State,
    Task,
    check_labels,
    check_task,
)
from .token_limits import closing_lengths, is_exact

__all__ = [
    "GATES",
    "HARD_FAILURES",
    "MARKS",
    "NOTHING_KNOWN",
    "NO_REQUEST",
    "SESSION",
    "Arm",
    "ArmName",
    "Breaker",
    "CandidateVerdict",
    "Decision",
    "Estimate",
    "GateContext",
    "GateFailure",
    "Health",
    "ModelState",
    "NamedPolicy",
    "Outcome",
    "Plan",
    "PromptTokensSource",
    "RequestFacts",
    "RolloutMode",
    "Selection",
    "SessionUse",
    "Source",
    "State",
    "Task",
    "allowance",
    "arm_named",
    "binder_of",
    "candidate_of",
    "check_declared",
    "check_labels",
    "check_task",
    "closing_lengths",
    "context_of",
    "decide",
    "estimate",
    "failures",
    "gate_steps",
    "is_exact",
    "key_text",
    "make_plan",
    "parameters_of",
    "pick_arm",
    "point_of",
    "required_failures",
    "shadow_arm",
    "step_failures",
    "steps_of",
    "verdicts_of",
]
