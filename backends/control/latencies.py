"""Observed latencies: an exponentially weighted mean of the time to the first token of each model.

Cold starts are left out: loading is not slowness. Fewer than ``MIN_SAMPLES`` say nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from .store import StateStore

__all__ = ["MIN_SAMPLES", "WEIGHT", "Latencies"]

MIN_SAMPLES = 5
"""Below this many a mean is not told."""

WEIGHT = 0.2
"""How much the newest sample counts."""

FORGET_AFTER_US = 3_600_000_000
"""A mean that is older than an hour is not told: the server may be another one by now."""


class Latencies:
    """The latencies of one state store. Times are arguments, in microseconds since 1970, UTC."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._version: tuple[int, int] | None = None
        self._known: dict[str, tuple[float, int, int]] = {}

    def all(self, *, at_us: int) -> Mapping[str, float]:
        """The mean of each model that has enough recent samples, in milliseconds."""
        version = self._store.version()
        if version != self._version:
            rows = self._store.read("SELECT model, mean_ms, samples, updated_us FROM latencies")
            self._known = {row[0]: row[1:] for row in rows}  # type: ignore[misc]  # the columns' types are the table's
            self._version = version
        return {
            model: mean
            for model, (mean, samples, updated_us) in self._known.items()
            if samples >= MIN_SAMPLES and at_us - updated_us < FORGET_AFTER_US
        }

    def observed(self, model: str, first_token_ms: float, *, at_us: int) -> None:
        """Take a sample of a call that was not a cold start."""
        with self._store.change() as connection:
            connection.execute(
                "INSERT INTO latencies VALUES (?, ?, 1, ?) ON CONFLICT (model) DO UPDATE SET"
                " mean_ms = mean_ms + ? * (excluded.mean_ms - mean_ms),"
                " samples = samples + 1, updated_us = excluded.updated_us",
                (model, first_token_ms, at_us, WEIGHT),
            )
