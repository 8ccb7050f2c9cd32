"""Tasks and states that differ from others in one thing, so that what does not tell them apart is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from routewright.engine.decision.task import MemoryState, ModelState, RequestFacts, Resident, State, Task

__all__ = ["varied"]

_LENGTHS = tuple(
    length for window in (8, 16, 32, 64) for length in (window // 3, window, window + 1, 2 * window + 1)
)
_FEATURES: dict[str, tuple[object, ...]] = {
    "urgent": (True, False, None),
    "private": (True, False, None),
    "sees": (True, False, None),
    "kind": ("code", "prose", None),
    "count": (0, 3, 9, None),
    "score": (0.0, 0.3, 0.7, 0.75, 1, None),
    "team": ("infra", "sales", "b", None),
    "tokens": (-2, 5, 9, 17, 40, 70, None),
}
_MODELS = ("small", "coder", "general", "large", "huge")


def varied(task: Task, state: State, random: Random, times: int) -> Iterator[tuple[Task, State]]:
    """The task and the state, and so many others with one thing changed in each, or two."""
    yield task, state
    for _ in range(times):
        changed = task, state
        for _ in range(1 + (random.random() < 0.4)):
            change = random.choice(
                (_other_features, _other_request, _other_request, _other_task, _other_model, _other_state)
            )
            changed = change(*changed, random)
        yield changed


def _other_features(task: Task, state: State, random: Random) -> tuple[Task, State]:
    name = random.choice(list(_FEATURES))
    features = {**task.features, name: random.choice(_FEATURES[name])}
    if random.random() < 0.3:
        del features[name]
    return replace(task, features=features), state


def _other_request(task: Task, state: State, random: Random) -> tuple[Task, State]:
    request = task.request
    length = random.choice(_LENGTHS)
    source = random.choice(("stated", "counted", "estimated"))
    possible: tuple[dict[str, Any], ...] = (
        {"prompt_tokens": length},
        {
            "prompt_tokens": length,
            "prompt_tokens_source": source,
            "tokenizer": random.choice(("qwen3", "llama3")) if source == "counted" else None,
        },
        {"max_output_tokens": random.choice((None, 1, 7, 20, 40, 70))},
        {"images": random.choice((None, 0, 1))},
        {"tools": random.choice((None, 0, 1))},
        {"json_schema": random.choice((None, False, True))},
        {"metadata": {"session": random.choice(("", "s"))}},
    )
    changed = random.choice(possible)
    facts = {name: getattr(request, name) for name in RequestFacts.__dataclass_fields__}
    if "prompt_tokens" in changed and len(changed) == 1:
        changed |= {"prompt_tokens_source": "stated", "tokenizer": None}
    return replace(task, request=RequestFacts(**{**facts, **changed})), state


def _other_task(task: Task, state: State, random: Random) -> tuple[Task, State]:
    return random.choice(
        (
            replace(task, operation=random.choice(("chat", "embed", "rerank"))),
            replace(task, pin=random.choice((None, *_MODELS))),
            replace(task, draw=random.random()),
        )
    ), state


def _other_model(task: Task, state: State, random: Random) -> tuple[Task, State]:
    id = random.choice(_MODELS)
    known = state.models.get(id, ModelState())
    possible: tuple[dict[str, Any], ...] = (
        {"health": random.choice((None, "healthy", "unhealthy"))},
        {"breaker": random.choice((None, "closed", "open", "half_open"))},
        {"breaker": "open", "breaker_until_us": state.at_us + random.randrange(100)},
        {"breaker": "open", "breaker_after": random.choice((None, "quota_exhausted"))},
        {"latency_ms": random.choice((None, 100.0, 400.0, 600.0, 5_000.0))},
        {"loaded": random.choice((None, True, False)), "load_ms": random.choice((None, 500, 5_000))},
        {"memory_bytes": random.choice((None, 10**9, 300 * 10**9))},
    )
    changed = random.choice(possible)
    models = {**state.models, id: replace(known, **changed)}
    return task, replace(state, models=models)


def _other_state(task: Task, state: State, random: Random) -> tuple[Task, State]:
    possible: tuple[dict[str, Any], ...] = (
        {"load": random.choice((None, 0.4, 0.6))},
        {
            "quota_used": {
                "calls": random.choice((0, 4, 5, 9, 10)),
                "money": random.choice((0, 3 * 10**9)),
            }
        },
        {"quota_used": {}},
        {"session_model": random.choice((None, *_MODELS))},
        {"at_us": state.at_us + random.randrange(24) * 3_600_000_000},
        {
            "memory": {
                "here": MemoryState(
                    random.choice((None, 5 * 10**9, 10**12)),
                    (Resident("a stranger", random.choice((None, 10**9))),),
                )
            }
        },
    )
    changed = random.choice(possible)
    return task, replace(state, **changed)
