"""Vectors, scores and models in the words of OpenAI's API and its relatives, as ours. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..protocol import ModelListing
from ..wire import Gate, Unreadable, count_of, vectors_of

_LARGEST: Final = sys.float_info.max
"""JSON integers may be larger; infinities and NaN are never below it."""


def read_vectors(body: Any, count: int) -> tuple[tuple[float, ...], ...]:
    """The vectors of an ``/embeddings`` body in the order of the texts. Raises Unreadable."""
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, list):
        raise Unreadable("no `data` in it")
    placed = _by_index(data, count, "vectors")
    return vectors_of(entry.get("embedding") for entry in placed)


def read_scores(body: Any, count: int, *, logits: bool = False) -> tuple[float, ...]:
    """The scores of a ``/rerank`` body in the order of the documents, each from 0 to 1. Raises Unreadable.

    Both shapes are read: ``{"results": [{"index", "relevance_score"}]}``, and the bare list of
    ``{"index", "score"}``. Some models give logits: scores outside 0 to 1 go through the logistic function, all
    of them, as do all of a server known for it (``logits``).
    """
    results = body
    if isinstance(body, Mapping):
        results = body.get("results", body.get("data"))
    if not isinstance(results, list):
        raise Unreadable("no `results` in it")
    scores = []
    for entry in _by_index(results, count, "scores"):
        score = entry.get("relevance_score", entry.get("score"))
        if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) <= _LARGEST:
            raise Unreadable("a score that is no number")
        scores.append(float(score))
    if logits or any(not 0 <= score <= 1 for score in scores):
        return tuple(_logistic(score) for score in scores)
    return tuple(scores)


def read_listings(body: Any, gate: Gate | None = None) -> tuple[ModelListing, ...]:
    """The models of a ``/models`` body, in its order, their names as they pass ``gate``. Raises Unreadable."""
    name = (gate or Gate()).name
    entries = body.get("data") if isinstance(body, Mapping) else body
    if not isinstance(entries, list):
        raise Unreadable("no `data` in it")
    named = [entry for entry in entries if isinstance(entry, Mapping) and isinstance(entry.get("id"), str)]
    return tuple(ModelListing(name(entry["id"]), _loaded(entry), _size(entry)) for entry in named)


def _by_index(entries: Sequence[Any], count: int, what: str) -> list[Mapping[str, Any]]:
    placed: dict[int, Mapping[str, Any]] = {}
    for position, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise Unreadable(f"{what} that are not objects")
        index = entry.get("index", position)
        if isinstance(index, int):
            placed[index] = entry
    if len(entries) != count or set(placed) != set(range(count)):
        raise Unreadable(f"{len(entries)} {what} for {count} texts, or not one for each")
    return [placed[index] for index in range(count)]


def _loaded(entry: Mapping[str, Any]) -> bool | None:
    """llama.cpp alone says: with a status where it holds several models, with facts of the one it has otherwise."""
    status = entry.get("status")
    if isinstance(status, Mapping):
        return status.get("value") == "loaded"
    return True if isinstance(entry.get("meta"), Mapping) else None


def _size(entry: Mapping[str, Any]) -> int | None:
    meta = entry.get("meta")
    size = meta.get("size") if isinstance(meta, Mapping) else None
    return count_of(size)


def _logistic(score: float) -> float:
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    grown = math.exp(score)
    return grown / (1 + grown)
