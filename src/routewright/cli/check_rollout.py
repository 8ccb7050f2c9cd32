"""What ``check`` says of a policy's rollout and of its candidate."""

from __future__ import annotations

from routewright.engine.condition import render_expr
from routewright.engine.explain import share_text
from routewright.engine.policy import CompiledConstraint, CompiledPolicy

from .writer import counted


def rollout_report(policy: CompiledPolicy) -> tuple[dict[str, object], list[str]]:
    """What the policy says of its candidate, and what the candidate is: for JSON, and in words. Empty without one."""
    rollout = policy.rollout
    if rollout is None or rollout.candidate is None:
        return {}, []
    candidate = rollout.candidate
    left_out, changed = _left_out(policy, candidate), _changed(policy, candidate)
    counted_anew = _counted_anew(policy, candidate)
    values = {
        "mode": rollout.mode,
        "candidate": rollout.file,
        "digest": candidate.digest,
        "share": rollout.share,
        "key": rollout.key_name,
        "not_carried_out": list(candidate.unenforced),
        "constraints_left_out": left_out,
        "constraints_changed": changed,
        "quotas_counted_anew": counted_anew,
    }
    share = "" if rollout.share is None else f": {share_text(rollout.share)}"
    by = "" if rollout.mode != "canary" else f", by {rollout.key_name}" if rollout.key_name else ", at random"
    counts = f"{counted(len(candidate.rules), 'rule')}, {counted(len(candidate.catalog.models), 'model')}"
    told = [f"ok, {counts}, {candidate.digest}"]
    told += [f"not supported yet: {part}" for part in candidate.unenforced]
    told += [f"has no constraint {', '.join(left_out)}"] if left_out else []
    told += [f"changes constraint {', '.join(changed)}"] if changed else []
    lines = [f"candidate {rollout.file}: {said}" for said in (*told, *counted_anew)]
    return {"rollout": values}, [f"rollout: {rollout.mode} of {rollout.file}{share}{by}", *lines]


def _left_out(policy: CompiledPolicy, candidate: CompiledPolicy) -> list[str]:
    """Constraints that the candidate lacks by name: each arm keeps its own, so a reviewer has to know."""
    there = {constraint.name for constraint in candidate.constraints}
    return [constraint.name for constraint in policy.constraints if constraint.name not in there]


def _changed(policy: CompiledPolicy, candidate: CompiledPolicy) -> list[str]:
    """Constraints of both that do not ask the same: by another condition, or of a feature with another value."""
    there = {constraint.name: _meaning(constraint, candidate) for constraint in candidate.constraints}
    return [
        constraint.name
        for constraint in policy.constraints
        if constraint.name in there and there[constraint.name] != _meaning(constraint, policy)
    ]


def _counted_anew(policy: CompiledPolicy, candidate: CompiledPolicy) -> list[str]:
    """The quotas whose counts do not go over to the candidate, since a policy or a control has another name."""
    names = {quota.name for quota in policy.quotas}
    new = [quota.name for quota in candidate.quotas if quota.name not in names]
    said = [f"quota {', '.join(new)} begins at zero: the policy has none of that name"] if new else []
    if candidate.name != policy.name and any(not quota.shared for quota in candidate.quotas):
        said.append(
            f"its quotas count under {policy.name} in this rollout, and begin at zero by itself, as {candidate.name}"
        )
    return said


def _meaning(constraint: CompiledConstraint, policy: CompiledPolicy) -> tuple[object, ...]:
    names = constraint.when.names | constraint.require.names
    features = [(one.name, one.default, one.derived) for one in policy.features if one.name in names]
    features.sort(key=lambda one: one[0])
    return render_expr(constraint.when.source), render_expr(constraint.require.source), features
