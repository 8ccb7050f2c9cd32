"""Which limits on time hold for the models of a policy by default."""

from __future__ import annotations

from .compiled import CompiledPolicy
from .default_limits import DEFAULT_DEADLINE_MS, DEFAULT_TIMEOUTS, default_timeouts


def default_waits(policy: CompiledPolicy, model: int) -> dict[str, int]:
    """The defaults for the calls of a model, in milliseconds, with those for streams and the task's ``deadline``."""
    known = policy.catalog.models[model]
    written = dict(policy.catalog.backends[known.backend].timeouts)
    if policy.limits.first_token_within_ms is not None:
        written["first_token"] = policy.limits.first_token_within_ms
    found = default_timeouts(written, streamed=True, may_load=known.may_load)
    if policy.limits.deadline_ms is None:
        found["deadline"] = DEFAULT_DEADLINE_MS
    return found


def waits_by_default(policy: CompiledPolicy) -> dict[str, int]:
    """The defaults that hold for some model that is not disabled, in the order of a call."""
    found: dict[str, int] = {}
    for model in policy.catalog.models:
        if model.disabled is None:
            found |= default_waits(policy, model.index)
    return {name: found[name] for name in (*DEFAULT_TIMEOUTS, "deadline") if name in found}
