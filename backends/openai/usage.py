"""What a call used, in the words of OpenAI's API and its relatives, as ours: token counts, and costs that are named.

Pure. What cannot be true is unknown.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final

from ..protocol import Usage
from ..wire import NOT_COUNTED, count_of

_MOST_USD: Final = 1_000_000
"""No call costs more. A number above it is none, or in another unit."""


def read_usage(usage: Any) -> Usage:
    """The counts of a ``usage`` object, each token once.

    OpenAI counts cached tokens inside the prompt's and reasoning inside the completion's. Servers that count them
    beside are told by their own total. What a total has above both, and nothing in the object explains, is thinking
    that is billed as output: Gemini's endpoint says no more of it.
    """
    if not isinstance(usage, dict):
        return NOT_COUNTED
    prompt, completion = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
    cached = count_of(_detail(usage, "prompt_tokens_details", "cached_tokens"))
    if cached is None:
        cached = count_of(usage.get("prompt_cache_hit_tokens"))
    reasoning = count_of(_detail(usage, "completion_tokens_details", "reasoning_tokens"))
    total = count_of(usage.get("total_tokens"))
    if prompt is not None and completion is None and total is not None and total >= prompt:
        completion = total - prompt  # embeddings say no more
    if prompt is not None and completion is not None:
        beside = 0 if total is None else total - prompt - completion
        if reasoning and (reasoning > completion or beside in (reasoning, reasoning + (cached or 0))):
            completion, beside = completion + reasoning, beside - reasoning
        if cached and (cached > prompt or beside == cached):
            prompt, beside = prompt + cached, beside - cached
        if beside > 0:
            completion = None if reasoning else completion + beside
    return Usage(prompt, cached, completion, reasoning, "reported", _billed_nano(usage))


def read_timings(timings: Any) -> Usage | None:
    """The counts of llama.cpp's ``timings``, for answers without ``usage``; None if there are none.

    ``prompt_n`` leaves out what was read from the cache: without ``cache_n`` the prompt's count is unknown.
    """
    if not isinstance(timings, dict) or (completion := count_of(timings.get("predicted_n"))) is None:
        return None
    evaluated, cached = count_of(timings.get("prompt_n")), count_of(timings.get("cache_n"))
    prompt = None if evaluated is None or cached is None else evaluated + cached
    return Usage(prompt, cached, completion, None, "reported")


def merged(before: Usage | None, now: Usage) -> Usage:
    """What two reports of one stream say together: the later one, except where it says nothing or 0."""
    if before is None:
        return now
    pairs = ((getattr(before, field.name), getattr(now, field.name)) for field in fields(Usage))
    return Usage(*(later or (later if earlier is None else earlier) for earlier, later in pairs))


def _billed_nano(usage: Mapping[str, Any]) -> int | None:
    """The cost that OpenRouter names (https://openrouter.ai/docs/use-cases/usage-accounting), in 10⁻⁹ US dollars.

    With somebody's own key at the provider, ``cost`` is the fee alone and the provider charges the rest. Other servers
    have a ``cost`` in units of their own, and one of 0 is what stands there if nobody counts.
    """
    details, own_key = usage.get("cost_details"), usage.get("is_byok")
    if not isinstance(details, dict) and not isinstance(own_key, bool):
        return None
    parts = [usage.get("cost")]
    if own_key:
        parts.append(_detail(usage, "cost_details", "upstream_inference_cost"))
    nano = 0
    for part in parts:
        if isinstance(part, bool) or not isinstance(part, int | float) or not 0 <= part <= _MOST_USD:
            return None
        nano += math.ceil(round(part * 1e9, 3))
    return nano or None


def _detail(usage: Mapping[str, Any], group: str, name: str) -> object:
    details = usage.get(group)
    return details.get(name) if isinstance(details, dict) else None
