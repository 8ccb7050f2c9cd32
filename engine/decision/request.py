"""Works out what is known of a task's request.

A feature with ``from: request.…`` speaks for the request: a task that gives it has said how long its prompt is,
or that it holds images. Where request and feature differ, the larger counts: a gate must not be opened by
saying less. A default is an assumption and says nothing of the request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..policy import MAX_EXACT, CompiledPolicy
from .task import NO_REQUEST, PromptTokensSource, Source, Task


class StatedFacts(NamedTuple):
    """What candidates are judged by: ``RequestFacts`` without what no gate asks for, made for every decision."""

    prompt_tokens: int | None
    prompt_tokens_source: PromptTokensSource | None
    tokenizer: str | None
    max_output_tokens: int | None
    images: int | None
    tools: int | None
    json_schema: bool | None


def request_facts(
    policy: CompiledPolicy, task: Task, values: Sequence[Any], sources: Sequence[Source]
) -> StatedFacts:
    """The request's own facts, and those that given features state in its stead."""
    request = task.request
    if request is NO_REQUEST:
        stated = _NOTHING_STATED
    else:
        stated = StatedFacts(
            request.prompt_tokens,
            request.prompt_tokens_source,
            request.tokenizer,
            request.max_output_tokens,
            request.images,
            request.tools,
            request.json_schema,
        )
    said: dict[str, Any] = {}
    for slot, fact in policy.stated:
        value = values[slot]
        # A feature given as null says nothing about the request, which may still have the value.
        if sources[slot] == "given" and value is not None:
            if fact == "json_schema":
                said[fact] = value or bool(said.get(fact, stated.json_schema))
            else:
                whole = value if type(value) is int else min(math.ceil(value), MAX_EXACT)
                known = said.get(fact, getattr(stated, fact)) or 0
                if fact == "prompt_tokens" and whole >= known:
                    # What was counted or estimated is no more than that: the caller's word counts.
                    said |= {"prompt_tokens_source": "stated", "tokenizer": None}
                said[fact] = max(known, whole)
    return stated._replace(**said) if said else stated


_NOTHING_STATED = StatedFacts(None, None, None, None, None, None, None)
