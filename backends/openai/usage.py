"""Token counts in the words of OpenAI's API and its relatives, as ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..protocol import Usage
from ..wire import NOT_COUNTED, count_of


def read_usage(usage: Any) -> Usage:
    """The counts of a ``usage`` object, each token once.

    OpenAI counts cached tokens inside the prompt's and reasoning inside the completion's. Servers that count
    them beside are told by their own total.
    """
    if not isinstance(usage, dict):
        return NOT_COUNTED
    prompt, completion = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
    cached = count_of(_detail(usage, "prompt_tokens_details", "cached_tokens"))
    if cached is None:
        cached = count_of(usage.get("prompt_cache_hit_tokens"))
    reasoning = count_of(_detail(usage, "completion_tokens_details", "reasoning_tokens"))
    total = count_of(usage.get("total_tokens"))
    if prompt is not None and completion is None and total is not None:
        completion = max(0, total - prompt)  # embeddings say no more
    if prompt is not None and completion is not None:
        beside = 0 if total is None else total - prompt - completion
        if reasoning and (reasoning > completion or beside in (reasoning, reasoning + (cached or 0))):
            completion, beside = completion + reasoning, beside - reasoning
        if cached and (cached > prompt or beside == cached):
            prompt += cached
    return Usage(prompt, cached, completion, reasoning, "reported")


def _detail(usage: Mapping[str, Any], group: str, name: str) -> object:
    details = usage.get(group)
    return details.get(name) if isinstance(details, dict) else None
