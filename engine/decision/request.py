"""A task and its bound features in, what is known of its request out.

A feature with ``from: request.…`` speaks for the request: a task that gives it has said how long its prompt is,
or that it holds images. Where request and feature differ, the larger counts: a gate must not be opened by
saying less. A default is an assumption and says nothing of the request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from ..policy.compiled import CompiledPolicy
from ..policy.quantities import MAX_EXACT
from .decision import Source
from .task import RequestFacts, Task

__all__ = ["fact_slots", "request_facts"]

_GATING = ("prompt_tokens", "images", "tools", "json_schema")


def fact_slots(policy: CompiledPolicy) -> tuple[tuple[int, str], ...]:
    """The features that speak for a fact of the request that candidates are judged by, with the fact."""
    slots = policy.cache.get("fact_slots")
    if slots is None:
        slots = policy.cache["fact_slots"] = tuple(
            (slot, feature.derived.fact)
            for slot, feature in enumerate(policy.features)
            if feature.derived is not None and feature.derived.fact in _GATING
        )
    return cast(tuple[tuple[int, str], ...], slots)


def request_facts(
    policy: CompiledPolicy, task: Task, values: Sequence[Any], sources: Sequence[Source]
) -> RequestFacts:
    """The request's own facts, and those that given features state in its stead."""
    request = task.request
    for slot, fact in fact_slots(policy):
        if sources[slot] != "given":
            continue
        said: Any = values[slot]
        if fact == "json_schema":
            said = said or bool(request.json_schema)
        else:
            said = max(getattr(request, fact) or 0, min(math.ceil(said), MAX_EXACT))
        request = replace(request, **{fact: said})
    return request
