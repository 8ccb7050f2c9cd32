"""Reads what a server says it has in memory (``GET /api/ps``). Pure.

https://github.com/ollama/ollama/blob/main/docs/api.md#list-running-models
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from routewright.engine.policy import MAX_EXACT

from ..protocol import InMemory
from ..wire import Gate, words

MAX_RUNNING: Final = 256
"""Models that a server has in memory at most. Real ones have a few; each is in every record of a decision."""


def running_models(said: Mapping[str, Any], gate: Gate) -> tuple[InMemory, ...] | None:
    """The models in memory; what expires first comes first. None for what is no list of models, or too long a one.

    An entry without a name is left out: nobody could say what it is.
    """
    entries = said.get("models")
    if not isinstance(entries, list) or len(entries) > MAX_RUNNING:
        return None
    named = [entry for entry in entries if isinstance(entry, Mapping) and isinstance(_name(entry), str)]
    named.sort(key=lambda entry: words(entry.get("expires_at")))
    return tuple(InMemory(gate.name(_name(entry)), _size(entry.get("size"))) for entry in named)


def _name(entry: Mapping[str, Any]) -> Any:
    return entry.get("name") or entry.get("model")


def _size(size: object) -> int | None:
    return size if type(size) is int and 0 < size <= MAX_EXACT else None
