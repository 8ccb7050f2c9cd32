"""Vectors, scores and models in the words of OpenAI's API and its relatives, as ours. Pure."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..wire import SMALL_SIZES, Gate, Sizes, Unreadable, vectors_of

_LARGEST: Final = sys.float_info.max
"""JSON integers may be larger; infinities and NaN are never below it."""

_ESCAPED_BYTES: Final = 12
"""The most bytes that a character takes in JSON: an escape for each half of a surrogate pair."""


def read_vectors(body: Any, count: int) -> tuple[tuple[float, ...], ...]:
    """The vectors of an ``/embeddings`` body in the order of the texts. Raises Unreadable."""
    data = body.get("data") if isinstance(body, Mapping) else None
    if not isinstance(data, list):
        raise Unreadable("no `data` in it")
    placed = _by_index(data, count, "vectors")
    return vectors_of(entry.get("embedding") for entry in placed)


def score_sizes(documents: Sequence[str]) -> Sizes:
    """How large a ``/rerank`` body may be: some servers return the documents even if not asked to."""
    characters = sum(map(len, documents))
    return SMALL_SIZES._replace(
        body=SMALL_SIZES.body + _ESCAPED_BYTES * characters,
        lists=SMALL_SIZES.lists + 4 * len(documents),
        values=SMALL_SIZES.values + characters,
    )


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


def read_tags(body: Any, gate: Gate | None = None) -> list[str]:
    """The models of a ``/models`` body, in its order, their names as they pass ``gate``. Raises Unreadable."""
    name = (gate or Gate()).name
    entries = body.get("data") if isinstance(body, Mapping) else body
    if not isinstance(entries, list):
        raise Unreadable("no `data` in it")
    ids = [entry.get("id") for entry in entries if isinstance(entry, Mapping)]
    return [name(id) for id in ids if isinstance(id, str)]


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


def _logistic(score: float) -> float:
    if score >= 0:
        return 1 / (1 + math.exp(-score))
    grown = math.exp(score)
    return grown / (1 + grown)
