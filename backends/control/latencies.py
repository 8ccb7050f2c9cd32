"""Observed latencies and load times: an exponentially weighted mean for each model.

A latency is the time to the first token without cold starts: loading is not slowness, and has a mean of its own. Few
samples say nothing, and so does a mean that is old: the server may be another one by now.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from .store import StateStore

COLD_LOAD_US = 500_000
"""A call that loaded its model for longer is a cold start, which says nothing of the model's latency. Ollama reports
some milliseconds of loading for a model that is in memory, too."""

MIN_SAMPLES = 5
"""Below this many a mean latency is not told."""

WEIGHT = 0.2
"""How much the newest latency counts, once it is less than its share of all."""

FORGET_AFTER_US = 3_600_000_000
"""After an hour without a sample the mean latency begins anew."""

LOAD_WEIGHT = 0.5
"""How much the newest load counts: loads are few, and differ by what else is in memory."""

FORGET_LOADS_AFTER_US = 7 * 86_400_000_000
"""After a week without a load the mean begins anew."""


class _Row(NamedTuple):
    mean_ms: float
    samples: int
    updated_us: int


_BOTH = " UNION ALL ".join(
    f"SELECT '{table}' || model, mean_ms, samples, updated_us FROM {table}"
    for table in ("latencies", "loads")
)
"""Every decision needs both, and under a quota every call changes the store, so that they are read anew."""


class _Means:
    """The means of one table of a state store. Times are arguments, in microseconds since 1970, UTC."""

    _table: ClassVar[str]
    _min_samples: ClassVar[int]
    _weight: ClassVar[float]
    _forget_after_us: ClassVar[int]

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def all(self, *, at_us: int) -> Mapping[str, float]:
        """The mean of each model that has enough recent samples, in milliseconds. Raises StateError."""
        rows = self._store.known(_BOTH, _Row)
        if not rows:  # of servers that say nothing of their tokens or loads, nothing is known
            return {}
        own = len(self._table)
        return {
            key[own:]: row.mean_ms
            for key, row in rows.items()
            if key.startswith(self._table)
            and row.samples >= self._min_samples
            and at_us - row.updated_us < self._forget_after_us
        }

    def observed(self, model: str, sample_ms: float, *, at_us: int) -> None:
        """Take a sample. Raises StateError."""
        with self._store.change() as connection:
            row = connection.execute(
                f"SELECT mean_ms, samples, updated_us FROM {self._table} WHERE model = ?", (model,)
            ).fetchone()
            mean, samples, updated_us = row or (0.0, 0, at_us)
            if at_us - updated_us >= self._forget_after_us:
                samples = 0
            samples += 1
            mean += max(self._weight, 1 / samples) * (sample_ms - mean)
            if not row:
                old = at_us - self._forget_after_us
                connection.execute(f"DELETE FROM {self._table} WHERE updated_us <= ?", (old,))
            connection.execute(
                f"INSERT OR REPLACE INTO {self._table} VALUES (?, ?, ?, ?)", (model, mean, samples, at_us)
            )


class Latencies(_Means):
    """How long models took to their first token; a sample is of a call that was not a cold start."""

    _table = "latencies"
    _min_samples, _weight, _forget_after_us = MIN_SAMPLES, WEIGHT, FORGET_AFTER_US


class LoadTimes(_Means):
    """How long loading models took; a sample is a cold start."""

    _table = "loads"
    _min_samples, _weight, _forget_after_us = 1, LOAD_WEIGHT, FORGET_LOADS_AFTER_US
