"""What is decided about: a task, and the state that deciding may know beyond it. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from ..policy.base import Operation

__all__ = ["NO_REQUEST", "Breaker", "Health", "ModelState", "RequestFacts", "State", "Task"]

Health = Literal["healthy", "unhealthy"]
Breaker = Literal["closed", "open", "half_open"]

_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What is known of a request without its text. None where it is not known.

    ``messages``, ``images`` and ``tools`` are counts; ``prompt_tokens`` and ``max_output_tokens`` are tokens.
    """

    prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    messages: int | None = None
    images: int | None = None
    tools: int | None = None
    json_schema: bool | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: _NOTHING)


NO_REQUEST = RequestFacts()


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work to route.

    ``pin`` is a model that the caller insists on. ``draw`` is the random number, at least 0 and below 1, that
    ``choose: split`` without a key needs: who calls draws it, so that the decision stays a pure function.
    """

    features: Mapping[str, object] = field(default_factory=dict)
    operation: Operation = "chat"
    request: RequestFacts = NO_REQUEST
    pin: str | None = None
    draw: float | None = None


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is known of one model now; None where nothing is."""

    health: Health | None = None
    breaker: Breaker | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True)
class State:
    """What the decision may know beyond the task.

    ``at_us`` is the time in microseconds since 1970, UTC. ``load`` is from 0 to 1. ``models`` holds the models
    of which something is known, by id. ``quota_used`` holds, by control, what is used of a quota in its own
    unit (money in nano-units), already read for the task's own team or user where the quota is for each.
    """

    at_us: int
    load: float | None = None
    models: Mapping[str, ModelState] = field(default_factory=dict)
    quota_used: Mapping[str, int] = field(default_factory=dict)
