"""Picks the arm of a rollout that a task belongs to. Pure: draws are arguments.

The arm is picked before deciding; ``decide`` is then given the policy of that arm, and records it.
"""

from __future__ import annotations

from ..policy import CompiledPolicy, CompiledRollout
from ..report import TaskError
from .bind import binder_of
from .choose import point_of
from .decision import Arm, ArmName, NamedPolicy
from .task import State, Task


def pick_arm(
    policy: CompiledPolicy, task: Task, state: State, *, draw: float | None, share: float | None = None
) -> Arm | None:
    """Return the arm of the policy's rollout that executes ``task``; None without a rollout.

    Under a canary a task with a value of the sticky ``key`` always comes to the same arm: its bucket is that of
    a split with the same key and salt, and the candidate's are those below its share. So a larger share only
    moves keys from the control to the candidate. Without such a value ``draw`` decides, a random number, at
    least 0 and below 1; it must not be the task's own draw, or arms and splits would depend on each other.

    ``share`` stands for the declared one under a canary that has ended by itself: 0 for the control, 1 for the
    candidate.

    Raises FeatureError for a feature that does not fit its declaration, and TaskError without a draw that is
    needed.
    """
    rollout = policy.rollout
    if rollout is None:
        return None
    if rollout.mode != "canary" or rollout.share is None:
        return arm_named(policy, "candidate" if rollout.mode == "full" else "control")
    key = None
    if rollout.key is not None:
        values = binder_of(policy).bind(task, state, strict=False).values
        key = values[rollout.key]
    point = point_of(rollout.salt, key, draw)
    if point is None:
        message = "the canary is drawn at random, and there is no random draw"
        raise TaskError(message, help="give a draw, or the rollout a `key`")
    share = rollout.share if share is None else share
    name: ArmName = "candidate" if point < share else "control"
    return _arm(policy, rollout, name, rollout.key_name if key is not None else None, point, share)


def arm_named(policy: CompiledPolicy, name: ArmName) -> Arm | None:
    """Return an arm that nothing was drawn for: the only one that executes, or one that was asked for."""
    rollout = policy.rollout
    return None if rollout is None else _arm(policy, rollout, name, None, None, rollout.share)


def shadow_arm(policy: CompiledPolicy) -> Arm | None:
    """Return the arm that is decided beside and not executed; None but under a shadow rollout."""
    shadowed = policy.rollout is not None and policy.rollout.mode == "shadow"
    return arm_named(policy, "candidate") if shadowed else None


def candidate_of(policy: CompiledPolicy) -> CompiledPolicy:
    """Return the candidate of the policy's rollout. Raises TaskError where it was not loaded with the policy."""
    if policy.rollout is None or policy.rollout.candidate is None:
        raise TaskError(f"the candidate of policy `{policy.name}` is not there", help="load both together")
    return policy.rollout.candidate


def check_declared(policy: CompiledPolicy, task: Task, state: State) -> None:
    """Raise FeatureError for a feature that neither arm declares.

    A caller gives one task and does not know its arm: what one policy declares and the other does not is no
    mistake of the caller's, and is recorded as ignored by the arm that does not.
    """
    known = (policy.slots, candidate_of(policy).slots)
    features = {name: value for name, value in task.features.items() if not any(name in one for one in known)}
    if features:
        binder_of(policy).bind(Task(features, task.operation), state, strict=True)


def _arm(
    policy: CompiledPolicy,
    rollout: CompiledRollout,
    name: ArmName,
    key: str | None,
    point: float | None,
    share: float | None,
) -> Arm:
    share = share if rollout.mode == "canary" else None
    chance = share if share is not None else 1.0 if rollout.mode == "full" else 0.0
    candidate = candidate_of(policy)
    return Arm(
        name=name,
        mode=rollout.mode,
        probability=chance if name == "candidate" else 1.0 - chance,
        share=share,
        key=key,
        salt=None if point is None else rollout.salt,
        point=point,
        control=NamedPolicy(policy.name, policy.digest),
        candidate=NamedPolicy(candidate.name, candidate.digest),
        file=rollout.file,
    )
