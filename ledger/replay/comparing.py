"""Says what of a recorded state a policy would have known: not what a name stood for otherwise when it was recorded."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from routewright.engine.decision import State
from routewright.engine.policy import CompiledPolicy, Quota, called_otherwise

from .redeciding import Facts


@lru_cache(maxsize=32)
def counted_alike(policy: CompiledPolicy, recorded: CompiledPolicy | None) -> frozenset[str]:
    """The quotas of ``policy`` whose recorded use can be compared with their limits.

    Nobody knows it of one of the same name that is counted in another unit, in other windows or for somebody else.
    Where the recorded policy cannot be had (None), one of the same name is taken to be the same.
    """
    before = {} if recorded is None else {one.name: _counted(one) for one in recorded.quotas}
    return frozenset(
        one.name for one in policy.quotas if before.get(one.name, _counted(one)) == _counted(one)
    )


@lru_cache(maxsize=32)
def strangers(
    policy: CompiledPolicy, recorded: CompiledPolicy | None
) -> tuple[frozenset[str], frozenset[str]]:
    """The ids of models, and those of backends, that stand for another one under ``policy`` than when it was recorded.

    What was known of the other says nothing of this one. Without the recorded policy there are none.
    """
    if recorded is None:
        return frozenset(), frozenset()
    return called_otherwise(recorded.catalog, policy.catalog)


def state_as_known(policy: CompiledPolicy, recorded: CompiledPolicy | None, state: State) -> State:
    """A recorded state without what ``policy`` would not have known."""
    alike = counted_alike(policy, recorded)
    models, backends = strangers(policy, recorded)
    return replace(
        state,
        models={id: known for id, known in state.models.items() if id not in models},
        quota_used={name: used for name, used in state.quota_used.items() if name in alike},
        memory={id: known for id, known in state.memory.items() if id not in backends},
    )


def facts_as_known(policy: CompiledPolicy, recorded: CompiledPolicy | None, facts: Facts) -> Facts:
    """What a record can tell of what ``policy`` goes by."""
    return (
        facts
        if facts.models is None
        else replace(facts, models=facts.models - strangers(policy, recorded)[0])
    )


def _counted(quota: Quota) -> tuple[str | None, ...]:
    """What its use is counted in, for whom and how long."""
    return quota.unit, quota.currency, quota.for_each, quota.per, quota.timezone
