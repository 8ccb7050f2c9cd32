"""Evaluates a policy's conditions, including for tasks that give a feature with a default as null.

A policy's compiled function assumes that features with defaults have values, which makes it fast. For a task where one
has none, a second function is compiled once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..condition import compile_function
from ..policy import CompiledPolicy


def verdicts_of(policy: CompiledPolicy, parameters: Sequence[Any]) -> tuple[bool | None, ...]:
    """The result of ``policy.evaluate``, for any feature values: each may be None."""
    slots = policy.cache.get("defaulted")
    if slots is None:
        slots = policy.cache["defaulted"] = [
            slot for slot, feature in enumerate(policy.features) if feature.default is not None
        ]
    for slot in slots:
        if parameters[slot] is None:
            return verdicts_with_nulls(policy, parameters)
    return policy.evaluate(parameters)


def verdicts_with_nulls(policy: CompiledPolicy, parameters: Sequence[Any]) -> tuple[bool | None, ...]:
    """The same, but features that have a default may be None too."""
    function = policy.cache.get(verdicts_with_nulls)
    if function is None:
        function = policy.cache[verdicts_with_nulls] = compile_function(policy.conditions, policy.parameters)
    return cast(tuple[bool | None, ...], function(parameters))
