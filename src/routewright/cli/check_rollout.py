"""What ``check`` says of a policy's rollout and of its candidate."""

from __future__ import annotations

from routewright.engine.explain import share_text
from routewright.engine.policy import (
    CompiledPolicy,
    by_kind,
    compare_promises,
    differences_text,
    other_models,
)
from routewright.ledger import canary_condition

from .writer import counted


def rollout_report(policy: CompiledPolicy) -> tuple[dict[str, object], list[str]]:
    """What the policy says of its candidate, and what the candidate is: for JSON, and in words. Empty without one."""
    rollout = policy.rollout
    if rollout is None or rollout.candidate is None:
        return {}, []
    candidate = rollout.candidate
    # Each arm keeps its own promises, so a reviewer has to know.
    differences = {
        key: by_kind(promises) for key, promises in compare_promises(policy, candidate)._asdict().items()
    }
    others = other_models(policy.catalog, candidate.catalog)
    counted_anew = _counted_anew(policy, candidate)
    values = {
        "mode": rollout.mode,
        "candidate": rollout.file,
        "digest": candidate.digest,
        "share": rollout.share,
        "key": rollout.key_name,
        "abort_when": [one.model_dump(by_alias=True) for one in rollout.abort_when],
        "promote_when": [one.model_dump(by_alias=True) for one in rollout.promote_when],
        "not_carried_out": list(candidate.unenforced),
        "promises": differences,
        "other_models": others,
        "quotas_counted_anew": counted_anew,
    }
    share = "" if rollout.share is None else f": {share_text(rollout.share)}"
    by = "" if rollout.mode != "canary" else f", by {rollout.key_name}" if rollout.key_name else ", at random"
    counts = f"{counted(len(candidate.rules), 'rule')}, {counted(len(candidate.catalog.models), 'model')}"
    told = [f"ok, {counts}, {candidate.digest}"]
    told += [f"not supported yet: {part}" for part in candidate.unenforced]
    told += differences_text(policy, candidate)
    lines = [f"candidate {rollout.file}: {said}" for said in (*told, *counted_anew)]
    ends = [f"rollout: aborted when {canary_condition(one)}" for one in rollout.abort_when]
    if rollout.promote_when:
        all_of = " and ".join(str(canary_condition(one)) for one in rollout.promote_when)
        ends.append(f"rollout: promoted when {all_of}")
    return {"rollout": values}, [f"rollout: {rollout.mode} of {rollout.file}{share}{by}", *ends, *lines]


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
