"""Bounds an explanation: counts the steps of a policy's conditions for values of given sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from ..condition import LARGEST, Sizes, work_of
from ..policy import CompiledPolicy, per_policy, sizes_by_name

_SMALL: Final = Sizes(64, 512)
_LITTLE: Final = 20_000
"""Steps of all conditions together up to which values smaller than ``_SMALL`` are not measured exactly."""


class Works(NamedTuple):
    """``conditions`` has the steps of each of ``policy.conditions``, in order; ``gates`` is what one candidate adds."""

    conditions: tuple[int, ...]
    gates: int


def works_of(policy: CompiledPolicy, sizes: Mapping[str, Sizes]) -> Works:
    """The most steps that each condition takes if no feature's value exceeds its ``sizes``.

    Measuring takes longer than the rest of an explanation, so the bound for all small values is computed once.
    """
    if all(one.elements <= _SMALL.elements and one.characters <= _SMALL.characters for one in sizes.values()):
        works = _of_small_values(policy)
        if sum(works.conditions) + works.gates <= _LITTLE:
            return works
    return _measured(policy, sizes)


def _measured(policy: CompiledPolicy, sizes: Mapping[str, Sizes]) -> Works:
    known = {**sizes_by_name(policy.features, policy.catalog), **sizes}
    open_ones = (constraint.require for constraint in policy.constraints if constraint.by_model is None)
    return Works(
        tuple(work_of(condition.expr, LARGEST, known) for condition in policy.conditions),
        sum(work_of(require.expr, LARGEST, known) for require in open_ones),
    )


_of_small_values = per_policy(lambda policy: _measured(policy, {f.name: _SMALL for f in policy.features}))
