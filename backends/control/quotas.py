"""Quotas: reserve before an attempt, settle with the actual after it, release what was not used.

Exact under concurrency and across processes: what is used and what is reserved never exceed the limit. A
reservation of a process that died lapses when its lease expires. Usage belongs to a control's name, so it
survives changes of a policy. What is counted is attempts: a failed call that was made counts as a request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Literal

from .store import StateStore
from .windows import Period, Window, window_of

__all__ = ["Admission", "Lease", "QuotaLimit", "QuotaUse", "Quotas", "Refusal"]

Unit = Literal["requests", "tokens", "concurrent", "cost"]

_ALWAYS = Window("", 0, 2**62)
"""The window of calls at the same time, which have no period."""


@dataclass(frozen=True, slots=True)
class QuotaLimit:
    """A limit that an attempt must keep: ``limit`` in the control's unit, less what is held in reserve.

    ``key`` tells teams or users apart where the control is for each; else it is empty. ``amount`` is what the
    attempt reserves: 1 for requests and calls at once, an estimate for tokens and money (nano-units).
    """

    control: str
    unit: Unit
    limit: int
    amount: int
    per: Period | None = None
    timezone: str = "UTC"
    key: str = ""


@dataclass(frozen=True, slots=True)
class Lease:
    """A reservation under every limit that binds one attempt, each in the window that it was made in."""

    id: str
    limits: tuple[QuotaLimit, ...]
    windows: tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that has no room, what is taken of it, and when its window ends (None: when a call ends)."""

    limit: QuotaLimit
    taken: int
    until_us: int | None


Admission = Lease | Refusal


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What is used and reserved of a control in its present window."""

    control: str
    key: str
    window: str
    used: int
    reserved: int
    until_us: int | None


class Quotas:
    """The quotas of one state store. Times are arguments, in microseconds since 1970, UTC."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def reserve(
        self, lease_id: str, limits: Sequence[QuotaLimit], *, at_us: int, expires_us: int
    ) -> Admission:
        """Reserve under all of ``limits`` at once, or under none: then the first that has no room.

        ``lease_id`` is unique; ``expires_us`` is when the reservation lapses if nobody settles it.
        """
        if not limits:
            return Lease(lease_id, (), ())
        windows = tuple(_window(limit, at_us) for limit in limits)
        with self._store.change() as connection:
            connection.execute("DELETE FROM leases WHERE expires_us <= ?", (at_us,))
            for limit, window in zip(limits, windows, strict=True):
                taken = _used(connection, limit, window) + _reserved(connection, limit, window)
                if taken + limit.amount > limit.limit:
                    until = None if limit.unit == "concurrent" else window.end_us
                    return Refusal(limit, taken, until)
            for limit, window in zip(limits, windows, strict=True):
                connection.execute(
                    "INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)",
                    (lease_id, limit.control, limit.key, window.name, limit.amount, expires_us),
                )
        return Lease(lease_id, tuple(limits), windows)

    def settle(self, lease: Lease, actual: Mapping[Unit, int | None]) -> None:
        """End the reservation and count what was really used; None where nobody knows: the reserved amount.

        A lease that has expired meanwhile is counted all the same: the attempt was made.
        """
        if not lease.limits:
            return
        with self._store.change() as connection:
            connection.execute("DELETE FROM leases WHERE lease = ?", (lease.id,))
            for limit, window in zip(lease.limits, lease.windows, strict=True):
                amount = actual.get(limit.unit)
                amount = limit.amount if amount is None else amount
                if limit.unit == "concurrent" or amount == 0:
                    continue
                connection.execute(
                    "INSERT INTO quota_used VALUES (?, ?, ?, ?, ?) ON CONFLICT (control, key, window)"
                    " DO UPDATE SET amount = amount + excluded.amount",
                    (limit.control, limit.key, window.name, amount, window.end_us),
                )

    def release(self, lease: Lease) -> None:
        """End the reservation of an attempt that was not made."""
        if lease.limits:
            with self._store.change() as connection:
                connection.execute("DELETE FROM leases WHERE lease = ?", (lease.id,))

    def use(self, limit: QuotaLimit, *, at_us: int) -> QuotaUse:
        """What is taken of a control now."""
        window = _window(limit, at_us)
        rows = self._store.read(
            "SELECT (SELECT amount FROM quota_used WHERE control = ?1 AND key = ?2 AND window = ?3),"
            " (SELECT sum(amount) FROM leases WHERE control = ?1 AND key = ?2 AND window = ?3 AND expires_us > ?4)",
            (limit.control, limit.key, window.name, at_us),
        )
        used, reserved = (int(str(value or 0)) for value in rows[0])
        until = None if limit.unit == "concurrent" else window.end_us
        return QuotaUse(limit.control, limit.key, window.name, used, reserved, until)

    def forget_before(self, at_us: int) -> int:
        """Drop the counts of windows that ended before ``at_us``; how many there were."""
        with self._store.change() as connection:
            return connection.execute("DELETE FROM quota_used WHERE ends_us < ?", (at_us,)).rowcount


def _window(limit: QuotaLimit, at_us: int) -> Window:
    return _ALWAYS if limit.per is None else window_of(at_us, limit.per, limit.timezone)


def _used(connection: Connection, limit: QuotaLimit, window: Window) -> int:
    row = connection.execute(
        "SELECT amount FROM quota_used WHERE control = ? AND key = ? AND window = ?",
        (limit.control, limit.key, window.name),
    ).fetchone()
    return 0 if row is None else int(row[0])


def _reserved(connection: Connection, limit: QuotaLimit, window: Window) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(amount), 0) FROM leases WHERE control = ? AND key = ? AND window = ?",
        (limit.control, limit.key, window.name),
    ).fetchone()
    return int(row[0])
