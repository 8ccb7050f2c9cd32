"""A policy and its counted quotas in, how each of them stands out. Reads, and reserves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from routewright.backends.control import QuotaLimit, Quotas, QuotaUse
from routewright.engine.policy.compiled import CompiledPolicy

from .planning import quota_limits

__all__ = ["QuotaStanding", "quota_standings"]


@dataclass(frozen=True, slots=True)
class QuotaStanding:
    """A quota, and what is used and reserved of it by one key in the present window.

    Money is in nano-units (10⁻⁹) of the limit's currency. ``for_each`` is the feature whose values have a count
    each; ``use.key`` then says whose this one is, and is empty where nobody used anything yet.
    """

    limit: QuotaLimit
    for_each: str | None
    use: QuotaUse


def quota_standings(policy: CompiledPolicy, quotas: Quotas, *, at_us: int) -> Sequence[QuotaStanding]:
    """One for each key of each quota, in the policy's order, keys in theirs. Raises StateError."""
    return [
        QuotaStanding(limit, quota.for_each, use)
        for quota, limit in zip(policy.quotas, quota_limits(policy), strict=True)
        for use in quotas.use_by_key(limit, at_us=at_us) or (quotas.use(limit, at_us=at_us),)
    ]
