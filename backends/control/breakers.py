"""Breakers: a model that keeps failing is left alone for a while, then tried by one call.

closed ─ failures ─▶ open ─ time ─▶ half open, one probe at a time ─ success ─▶ closed
                      ▲                        │
                      └────────── failure ─────┘

Opening again never shortens a deadline. Whether a model is the last eligible one, and so tried all the same, is
the executor's business: it knows the plan. Shared by the processes of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from .store import StateStore

__all__ = ["Breaker", "BreakerSettings", "BreakerState", "Breakers"]

BreakerState = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """``failures`` in a row open a breaker for ``open_ms``; each time again twice as long, up to ``most_ms``."""

    failures: int = 3
    open_ms: int = 10_000
    most_ms: int = 300_000
    probe_ms: int = 60_000
    """After this time a probe that nobody reported on counts as lost, and another may be made."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of a model's failures. ``until_us`` is when it may be tried again."""

    model: str
    state: BreakerState
    failures: int
    until_us: int | None
    error_class: str | None


class Breakers:
    """The breakers of one state store. Times are arguments, in microseconds since 1970, UTC."""

    def __init__(self, store: StateStore, settings: BreakerSettings | None = None) -> None:
        self._store = store
        self._settings = settings or BreakerSettings()
        self._known: dict[str, tuple[int, int | None, int | None, str | None]] = {}
        self._version: tuple[int, int] | None = None

    def all(self, *, at_us: int) -> Mapping[str, Breaker]:
        """Every model that has failed since it last succeeded; all others are closed."""
        version = self._store.version()
        if version != self._version:
            rows = self._store.read(
                "SELECT model, failures, until_us, probe_until_us, error_class FROM breakers"
            )
            self._known = {row[0]: row[1:] for row in rows}  # type: ignore[misc]  # the columns' types are the table's
            self._version = version
        return {
            model: Breaker(model, _state(until, at_us), failures, until, error_class)
            for model, (failures, until, _, error_class) in self._known.items()
        }

    def admit(self, model: str, *, at_us: int) -> bool:
        """Whether a call may be made now; in the half-open state only one at a time may."""
        known = self.all(at_us=at_us).get(model)
        if known is None or known.state == "closed":
            return True
        if known.state == "open":
            return False
        with self._store.change() as connection:
            probe = connection.execute(
                "UPDATE breakers SET probe_until_us = ? WHERE model = ?"
                " AND until_us <= ? AND coalesce(probe_until_us, 0) <= ?",
                (at_us + self._settings.probe_ms * 1000, model, at_us, at_us),
            )
            return probe.rowcount == 1

    def succeeded(self, model: str, *, at_us: int) -> None:
        """Close the breaker. Costs nothing while the model has not failed."""
        if model in self.all(at_us=at_us):
            with self._store.change() as connection:
                connection.execute("DELETE FROM breakers WHERE model = ?", (model,))

    def failed(self, model: str, *, at_us: int, error_class: str, cool_ms: int | None = None) -> Breaker:
        """Count a failure; ``cool_ms`` opens the breaker for that long at once (a quota that is used up, say)."""
        settings = self._settings
        with self._store.change() as connection:
            row = connection.execute(
                "SELECT failures, until_us FROM breakers WHERE model = ?", (model,)
            ).fetchone()
            failures, until = (1, None) if row is None else (row[0] + 1, row[1])
            wait_ms = cool_ms
            if wait_ms is None and failures >= settings.failures:
                times = min(failures - settings.failures, 30)
                wait_ms = min(settings.open_ms * 2**times, settings.most_ms)
            if wait_ms is not None:
                # INVARIANT: a deadline is never shortened.
                until = max(until or 0, at_us + wait_ms * 1000)
            connection.execute(
                "INSERT INTO breakers VALUES (?, ?, ?, ?, NULL, ?) ON CONFLICT (model) DO UPDATE SET"
                " failures = excluded.failures, opened_us = excluded.opened_us,"
                " until_us = excluded.until_us, probe_until_us = NULL, error_class = excluded.error_class",
                (model, failures, at_us, until, error_class),
            )
        return Breaker(model, _state(until, at_us), failures, until, error_class)

    def released(self, model: str) -> None:
        """Give back a probe that was not made."""
        with self._store.change() as connection:
            connection.execute("UPDATE breakers SET probe_until_us = NULL WHERE model = ?", (model,))


def _state(until_us: int | None, at_us: int) -> BreakerState:
    if until_us is None:
        return "closed"
    return "open" if at_us < until_us else "half_open"
