"""Breakers: a model that keeps failing is left alone for a while, then tried by one call.

closed ─ failures ─▶ open ─ time ─▶ half open, one probe at a time ─ success ─▶ closed
                      ▲                        │
                      └────────── failure ─────┘

Opening again never shortens a deadline, and calls that were under way when a breaker opened neither close it nor
prolong it. Whether a model is the last eligible one, and so tried all the same, is for those to say who know the
plan. Shared by the processes of one machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Literal, NamedTuple

from routewright.engine.decision import HARD_FAILURES

from .store import StateStore

BreakerState = Literal["closed", "open", "half_open"]

Pass = Literal["free", "probe"]
"""A call may be made: as any other, or as the one that tries a model that has failed."""

_CLOCK_SLACK_US = 5_000_000
"""A breaker that opened later than this from now did so before the clock was put back."""


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """``failures`` in a row open a breaker for ``open_ms``; each time again twice as long, up to ``most_ms``."""

    failures: int = 3
    open_ms: int = 10_000
    most_ms: int = 300_000
    probe_ms: int = 60_000
    """After this time a probe that nobody reported on counts as lost, and another may be made."""
    forget_ms: int = 86_400_000
    """So long after the last failure, and after the breaker may be tried again, the failures are forgotten."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What is known of a model's failures. ``until_us`` is when it may be tried again.

    ``error_class`` is that of the failure which keeps the breaker open, else of the last one.
    """

    model: str
    state: BreakerState
    failures: int
    until_us: int | None
    error_class: str | None

    @property
    def holds(self) -> bool:
        """Whether the model is left alone, while the breaker is open, even where it is the last one."""
        return self.error_class in HARD_FAILURES


class _Row(NamedTuple):
    failures: int
    failed_us: int
    openings: int
    opened_us: int | None
    until_us: int | None
    error_class: str

    def breaker(self, model: str, at_us: int) -> Breaker:
        return Breaker(model, self.state(at_us), self.failures, self.until_us, self.error_class)

    def state(self, at_us: int) -> BreakerState:
        if self.until_us is None or self.opened_us is None:
            return "closed"
        return "open" if at_us < self.until_us and not self._clock_went_back(at_us) else "half_open"

    def is_news(self, began_us: int, at_us: int) -> bool:
        """Whether the outcome of a call that began then says anything after the last opening."""
        return self.opened_us is None or began_us >= self.opened_us or self._clock_went_back(at_us)

    def _clock_went_back(self, at_us: int) -> bool:
        return self.opened_us is not None and self.opened_us > at_us + _CLOCK_SLACK_US


_COLUMNS = ", ".join(_Row._fields)
_ALL = f"SELECT model, {_COLUMNS} FROM breakers"


class Breakers:
    """The breakers of one state store. Times are arguments, in microseconds since 1970, UTC.

    ``began_us`` is when the call began that is reported; without it, now. All methods raise StateError.
    """

    def __init__(self, store: StateStore, settings: BreakerSettings | None = None) -> None:
        self._store = store
        self._settings = settings or BreakerSettings()

    def all(self, *, at_us: int) -> Mapping[str, Breaker]:
        """Every model that has failed since it last succeeded; all others are closed."""
        rows = self._rows()
        if not rows:  # mostly nothing has failed, and every call asks several times
            return {}
        return {
            model: row.breaker(model, at_us)
            for model, row in rows.items()
            if not self._is_forgotten(row, at_us)
        }

    def admit(self, model: str, *, at_us: int) -> Pass | None:
        """Whether a call may be made now, None if not; in the half-open state only one at a time may.

        Who is given a probe reports it: with ``succeeded``, ``failed`` or ``released``.
        """
        row = self._rows().get(model)
        if row is None or self._is_forgotten(row, at_us) or (state := row.state(at_us)) == "closed":
            return "free"
        if state == "open":
            return None
        with self._store.change() as connection:
            row = _read(connection, model)
            if row is None or row.state(at_us) == "closed":
                return "free"
            if row.state(at_us) == "open":
                return None
            probe_us = self._settings.probe_ms * 1000
            # A probe that would end later than one that begins now was made before the clock was put back.
            probe = connection.execute(
                "UPDATE breakers SET probe_until_us = :until WHERE model = :model AND (probe_until_us IS NULL"
                " OR probe_until_us <= :at OR probe_until_us > :until + :slack)",
                {"until": at_us + probe_us, "model": model, "at": at_us, "slack": _CLOCK_SLACK_US},
            )
            return "probe" if probe.rowcount == 1 else None

    def succeeded(self, model: str, *, at_us: int, began_us: int | None = None) -> None:
        """Close the breaker. Costs nothing while the model has not failed."""
        if model not in self._rows():
            return
        with self._store.change() as connection:
            row = _read(connection, model)
            began_us = at_us if began_us is None else began_us
            if row is not None and (row.state(at_us) == "closed" or row.is_news(began_us, at_us)):
                connection.execute("DELETE FROM breakers WHERE model = ?", (model,))

    def failed(
        self,
        model: str,
        *,
        at_us: int,
        error_class: str,
        cool_ms: int | None = None,
        began_us: int | None = None,
    ) -> Breaker:
        """Count a failure; ``cool_ms`` opens the breaker for that long at once (a quota that is used up, say)."""
        settings = self._settings
        with self._store.change() as connection:
            row = _read(connection, model)
            if row is None or self._is_forgotten(row, at_us):
                self._forget(connection, at_us)
                row = _Row(0, at_us, 0, None, None, error_class)
            state = row.state(at_us)
            failures, openings, wait_ms = row.failures + 1, row.openings, cool_ms
            is_news = row.is_news(at_us if began_us is None else began_us, at_us)
            if (state == "closed" and failures >= settings.failures) or (state == "half_open" and is_news):
                wait_ms = max(cool_ms or 0, min(settings.open_ms * 2 ** min(openings, 30), settings.most_ms))
                openings += 1
            opened_us, until_us = row.opened_us, row.until_us
            if wait_ms is not None:
                # INVARIANT: a deadline is never shortened while the breaker is open.
                kept_us = until_us if until_us is not None and state == "open" else at_us
                opened_us, until_us = at_us, max(kept_us, at_us + wait_ms * 1000)
            if state == "open" and until_us == row.until_us:
                # What keeps it open is what it says: a call that fails meanwhile has other reasons.
                error_class = row.error_class
            row = _Row(failures, at_us, openings, opened_us, until_us, error_class)
            connection.execute(
                f"INSERT INTO breakers (model, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (model)"
                " DO UPDATE SET failures = excluded.failures, failed_us = excluded.failed_us,"
                " openings = excluded.openings, until_us = excluded.until_us, error_class = excluded.error_class,"
                " probe_until_us = CASE WHEN excluded.opened_us IS opened_us THEN probe_until_us END,"
                " opened_us = excluded.opened_us",
                (model, *row),
            )
        return row.breaker(model, at_us)

    def released(self, model: str) -> None:
        """Give back a probe that was not made, or that says nothing of the model."""
        if model in self._rows():
            with self._store.change() as connection:
                connection.execute("UPDATE breakers SET probe_until_us = NULL WHERE model = ?", (model,))

    def close(self, model: str) -> None:
        """Forget its failures: somebody has mended what they came of."""
        if model in self._rows():
            with self._store.change() as connection:
                connection.execute("DELETE FROM breakers WHERE model = ?", (model,))

    def _rows(self) -> Mapping[str, _Row]:
        return self._store.known(_ALL, _Row)

    def _is_forgotten(self, row: _Row, at_us: int) -> bool:
        return max(row.failed_us, row.until_us or 0) + self._settings.forget_ms * 1000 <= at_us

    def _forget(self, connection: Connection, at_us: int) -> None:
        old_us = at_us - self._settings.forget_ms * 1000
        connection.execute("DELETE FROM breakers WHERE max(failed_us, coalesce(until_us, 0)) <= ?", (old_us,))


def _read(connection: Connection, model: str) -> _Row | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM breakers WHERE model = ?", (model,)).fetchone()
    return None if row is None else _Row(*row)
