"""Works out what is known of a task's request.

A feature with ``from: request.…`` speaks for the request: a task that gives it has said how long its prompt is,
or that it holds images. Where request and feature differ, the larger counts: a gate must not be opened by
saying less. A default is an assumption and says nothing of the request.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..policy import MAX_EXACT, CompiledPolicy
from .task import RequestFacts, Source, Task


def request_facts(
    policy: CompiledPolicy, task: Task, values: Sequence[Any], sources: Sequence[Source]
) -> RequestFacts:
    """The request's own facts, and those that given features state in its stead."""
    request = task.request
    said: dict[str, Any] = {}
    for slot, fact in policy.stated:
        value = values[slot]
        # A feature given as null says nothing about the request, which may still have the value.
        if sources[slot] == "given" and value is not None:
            if fact == "json_schema":
                said[fact] = value or bool(said.get(fact, request.json_schema))
            else:
                whole = value if type(value) is int else min(math.ceil(value), MAX_EXACT)
                known = said.get(fact, getattr(request, fact)) or 0
                if fact == "prompt_tokens" and whole >= known:
                    # What was counted or estimated is no more than that: the caller's word counts.
                    said |= {"prompt_tokens_source": "stated", "tokenizer": None}
                said[fact] = max(known, whole)
    if not said:
        return request
    # All at once: `replace` takes several times as long, and some policies have such a feature in every task.
    return RequestFacts(
        said.get("prompt_tokens", request.prompt_tokens),
        request.max_output_tokens,
        request.messages,
        said.get("images", request.images),
        said.get("tools", request.tools),
        said.get("json_schema", request.json_schema),
        request.metadata,
        said.get("prompt_tokens_source", request.prompt_tokens_source),
        said.get("tokenizer", request.tokenizer),
    )
