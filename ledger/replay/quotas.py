"""Says of which quotas a record has what a policy would have known: those that the recorded policy counted alike."""

from __future__ import annotations

from dataclasses import replace

from routewright.engine.decision import State
from routewright.engine.policy import CompiledPolicy, Quota


def counted_alike(policy: CompiledPolicy, recorded: CompiledPolicy | None) -> frozenset[str]:
    """The quotas of ``policy`` whose recorded use can be compared with their limits.

    Nobody knows it of one of the same name that is counted in another unit, in other windows or for somebody else.
    Where the recorded policy cannot be had (None), one of the same name is taken to be the same.
    """
    before = {} if recorded is None else {one.name: _counted(one) for one in recorded.quotas}
    return frozenset(
        one.name for one in policy.quotas if before.get(one.name, _counted(one)) == _counted(one)
    )


def state_as_counted(policy: CompiledPolicy, recorded: CompiledPolicy | None, state: State) -> State:
    """A recorded state without what was counted otherwise than ``policy`` counts."""
    if not state.quota_used:
        return state
    alike = counted_alike(policy, recorded)
    return replace(state, quota_used={name: used for name, used in state.quota_used.items() if name in alike})


def _counted(quota: Quota) -> tuple[str | None, ...]:
    """What its use is counted in, for whom and how long."""
    return quota.unit, quota.currency, quota.for_each, quota.per, quota.timezone
