"""Observed latencies: an exponentially weighted mean of the time to the first token of each model.

Cold starts are left out: loading is not slowness. Fewer than ``MIN_SAMPLES`` say nothing, and so does a mean
that is old: the server may be another one by now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .store import StateStore

MIN_SAMPLES = 5
"""Below this many a mean is not told."""

WEIGHT = 0.2
"""How much the newest sample counts, once it is less than its share of all."""

FORGET_AFTER_US = 3_600_000_000
"""After an hour without a sample the mean begins anew."""


class _Row(NamedTuple):
    mean_ms: float
    samples: int
    updated_us: int


class Latencies:
    """The latencies of one state store. Times are arguments, in microseconds since 1970, UTC."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def all(self, *, at_us: int) -> Mapping[str, float]:
        """The mean of each model that has enough recent samples, in milliseconds. Raises StateError."""
        rows = self._store.known("SELECT model, mean_ms, samples, updated_us FROM latencies", _Row)
        return {
            model: row.mean_ms
            for model, row in rows.items()
            if row.samples >= MIN_SAMPLES and at_us - row.updated_us < FORGET_AFTER_US
        }

    def observed(self, model: str, first_token_ms: float, *, at_us: int) -> None:
        """Take a sample of a call that was not a cold start. Raises StateError."""
        with self._store.change() as connection:
            row = connection.execute(
                "SELECT mean_ms, samples, updated_us FROM latencies WHERE model = ?", (model,)
            ).fetchone()
            mean, samples, updated_us = row or (0.0, 0, at_us)
            if at_us - updated_us >= FORGET_AFTER_US:
                samples = 0
            samples += 1
            mean += max(WEIGHT, 1 / samples) * (first_token_ms - mean)
            if not row:
                old = at_us - FORGET_AFTER_US
                connection.execute("DELETE FROM latencies WHERE updated_us <= ?", (old,))
            connection.execute(
                "INSERT OR REPLACE INTO latencies VALUES (?, ?, ?, ?)", (model, mean, samples, at_us)
            )
