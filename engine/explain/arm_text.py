"""Words what a record says of its rollout and of its session, in a line each."""

from __future__ import annotations

from typing import Literal

from ..decision import key_text, point_of
from ..record import ArmRecord, DecisionRecord


def arm_line(record: DecisionRecord) -> str | None:
    """How the task came to its arm, such as ``canary: 10% of tasks go to the candidate next.yaml; …: control``."""
    arm = record.arm
    if arm is None:
        return None
    match arm.mode:
        case "shadow" if arm.arm == "candidate":
            return f"shadow: decided by the candidate {arm.file}, not executed"
        case "shadow":
            return f"shadow: the candidate {arm.file} is decided beside, not executed"
        case "full" if arm.arm == "control":
            return f"full: all tasks go to the candidate {arm.file}; control, as asked for"
        case "full":
            return f"full: all tasks go to the candidate {arm.file}"
        case "canary":
            share = share_text(arm.share or 0.0)
            return f"canary: {share} of tasks go to the candidate {arm.file}; {_fell(arm, record)}"


def difference(one: DecisionRecord, other: DecisionRecord) -> Literal["none", "plan", "target"]:
    """How far the decisions of two arms differ: in who goes first, or else in who would be called besides."""
    if (one.outcome, one.target) != (other.outcome, other.target):
        return "target"
    if one.plan is None or other.plan is None:
        return "none"
    called = [(plan.fallbacks, plan.steps, plan.ensemble) for plan in (one.plan, other.plan)]
    return "none" if called[0] == called[1] else "plan"


def session_line(record: DecisionRecord) -> str | None:
    """What a sticky rule made of the session; None where the rule is not sticky."""
    choice = record.choice
    match None if choice is None else choice.session:
        case "kept":
            return f"session: stays with {record.state.session_model}"
        case "moved":
            model = record.state.session_model
            # One that answered for another as its fallback is none that a conversation is kept on.
            after = any(one.model == model and one.eligible for one in record.candidates)
            why = "is only a fallback" if after else "is not eligible"
            return f"session: leaves {model}, which {why} here"
        case "new":
            return "session: new, no model has answered it yet"
        case "none":
            return "session: the task names none, so nothing is kept"
        case None:
            return None


def share_text(share: float) -> str:
    """A share as a policy writes it, such as ``10%``."""
    return f"{share * 100:.10g}%"


def _fell(arm: ArmRecord, record: DecisionRecord) -> str:
    if record.arm_point is None:
        return f"{arm.arm}, as asked for"
    at = f"{record.arm_point:.6g}: {arm.arm}"
    return f"drawn {at}" if arm.key is None else f"{_keyed(arm, record)} falls at {at}"


def _keyed(arm: ArmRecord, record: DecisionRecord) -> str:
    """The key with its value, where the record has the one that decided: the candidate may derive it otherwise."""
    assert arm.key is not None
    feature = record.features.get(arm.key)
    value = record.ignored.get(arm.key) if feature is None else feature.value
    value = tuple(value) if isinstance(value, list) else value
    if value is None or point_of(arm.salt or "", value, None) != record.arm_point:
        return arm.key
    return f"{arm.key}={key_text(value)}"
