"""Keeps what a stage works out of a compiled policy for as long as that policy lives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from weakref import finalize

from .compiled import CompiledPolicy

T = TypeVar("T")


def per_policy(make: Callable[[CompiledPolicy], T]) -> Callable[[CompiledPolicy], T]:
    """``make``, called once for each policy: a policy made of another with ``replace`` is another one.

    # INVARIANT: what is made does not hold the policy, or neither would ever be freed.
    """
    # By identity, since that is all that policies compare by; a weak dictionary would take several times as long.
    made: dict[int, T] = {}

    def of(policy: CompiledPolicy) -> T:
        found = made.get(id(policy))
        if found is None:
            found = made[id(policy)] = make(policy)
            finalize(policy, made.pop, id(policy), None).atexit = False
        return found

    return of
