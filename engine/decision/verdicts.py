"""Evaluates a policy's conditions, including for tasks that give a feature with a default as null.

A policy's compiled function assumes that features with defaults have values, which makes it fast. For a task where one
has none, a second function is compiled once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..condition import compile_function
from ..policy import CompiledPolicy, per_policy
from .bind import time_facts
from .task import State

_NO_STATE = (None, None, None)


def parameters_of(policy: CompiledPolicy, values: Sequence[Any], state: State) -> tuple[Any, ...]:
    """The values of ``policy.parameters``, given those of its features; what no condition asks for is None."""
    known = (state.load, *time_facts(state.at_us)) if policy.uses_state else _NO_STATE
    return (*values, *known)


def verdicts_of(policy: CompiledPolicy, parameters: Sequence[Any]) -> tuple[bool | None, ...]:
    """The result of ``policy.evaluate``, for any feature values: each may be None."""
    for slot in policy.defaulted:
        if parameters[slot] is None:
            return verdicts_with_nulls(policy, parameters)
    return policy.evaluate(parameters)


def verdicts_with_nulls(policy: CompiledPolicy, parameters: Sequence[Any]) -> tuple[bool | None, ...]:
    """The same, but features that have a default may be None too."""
    return cast(tuple[bool | None, ...], _with_nulls(policy)(parameters))


_with_nulls = per_policy(lambda policy: compile_function(policy.conditions, policy.parameters))
