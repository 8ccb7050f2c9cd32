"""The verdicts of a policy's conditions, also where a feature with a default was given as null.

The function that a policy is compiled to takes it that features with defaults have values, which is what makes it
fast. Where one has none, a second function is made once, and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..condition.bytecode import compile_function
from ..policy.compiled import CompiledPolicy

__all__ = ["verdicts_of", "verdicts_with_nulls"]


def verdicts_of(policy: CompiledPolicy, parameters: Sequence[Any]) -> tuple[bool | None, ...]:
    """What ``policy.evaluate`` gives, for any values of the features: each of them may be None."""
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
    """The same, with None for features that have a default as well."""
    function = policy.cache.get(verdicts_with_nulls)
    if function is None:
        function = policy.cache[verdicts_with_nulls] = compile_function(policy.conditions, policy.parameters)
    return cast(tuple[bool | None, ...], function(parameters))
