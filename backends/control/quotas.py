"""Quotas: reserve before an attempt, settle with the actual after it, release what was not used.

Exact under concurrency and across processes: what is used and what is reserved never exceed the limit, unless an
attempt uses more than it reserved. A lease that expires without being settled or released counts as used with what it
reserved, as its process may have made the call; only its place among the calls at once is free again. Usage belongs to
a name, so it survives changes of a policy. What is counted is attempts: a failed call that was made is a request.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Literal

from routewright.engine.policy import MAX_EXACT

from .errors import StateError
from .keys import QuotaKey, key_of, stored_key
from .store import StateStore
from .windows import Period, Window, window_of

Unit = Literal["requests", "tokens", "concurrent", "cost"]

_ALWAYS = Window("", -(2**62), 2**62)
"""The window of what has no period, such as calls at the same time."""

_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US

KEEP_US: Mapping[Period | None, int] = {
    "minute": 2 * _HOUR_US,
    "hour": 2 * _DAY_US,
    "day": 32 * _DAY_US,
    "week": 32 * _DAY_US,
    "month": 32 * _DAY_US,
    None: _HOUR_US,
}
"""How long counts outlive their window: until the next longer one has ended too, for a control that changes.

A lease that nobody ended is forgotten with the counts that it makes; one without a period, so long after it expired.
"""

# What counts in a window: rows that overlap it and in which something was still used since it began. Where period
# and zone stay the same that is one row. Where they change, it is too much rather than too little, for one window.
_USED = (
    "FROM quota_used WHERE control = :control AND unit = :unit {key}"
    " AND end_us > :start AND start_us < :end AND last_us >= :start"
)
_LEASED = (
    "FROM leases WHERE control = :control AND unit = :unit {key} AND end_us > :start AND start_us < :end"
)
_RESERVES = "expires_us > :at"
_LAPSED = "expires_us <= :at AND expires_us >= :start AND unit <> 'concurrent'"
# The leases are looked through once for both: as many calls are under way, so many there are.
_OF_LEASES = (
    f"CASE WHEN {_LAPSED} THEN amount ELSE 0 END AS used,"
    f" CASE WHEN {_RESERVES} THEN amount ELSE 0 END AS reserved"
)
_TAKEN = (
    f"SELECT (SELECT coalesce(sum(amount), 0) {_USED}) + coalesce(sum(used), 0), coalesce(sum(reserved), 0)"
    f" FROM (SELECT {_OF_LEASES} {_LEASED})"
).replace("{key}", "AND key = :key")
_TAKEN_BY_KEY = (
    f"SELECT key, sum(used), sum(reserved) FROM (SELECT key, amount AS used, 0 AS reserved {_USED}"
    f" UNION ALL SELECT key, {_OF_LEASES} {_LEASED} AND ({_RESERVES} OR {_LAPSED})) GROUP BY key ORDER BY key"
).replace("{key}", "")
_COUNTERS = (
    "SELECT control FROM quota_used WHERE forget_us > :at"
    " UNION SELECT control FROM leases WHERE forget_us > :at AND expires_us <= :at AND unit <> 'concurrent'"
    " ORDER BY control"
)


@dataclass(frozen=True, slots=True)
class QuotaLimit:
    """A limit that an attempt must keep: ``limit`` in the control's unit, less what is held in reserve.

    ``control`` is its name for people, ``counted_as`` the name that its use is counted under, by default the same.
    ``amount`` is what the attempt reserves: 1 for requests and calls at once, an estimate for tokens and money
    (nano-units of ``currency``). ``key`` is whose use counts, such as ``("team", "research")``, if the control has
    ``for_each``; otherwise it is empty.
    """

    control: str
    unit: Unit
    limit: int
    amount: int
    per: Period | None = None
    timezone: str = "UTC"
    key: QuotaKey = ()
    currency: str | None = None
    counted_as: str | None = None

    @property
    def counter(self) -> str:
        """The name that its use is counted under."""
        return self.counted_as or self.control


@dataclass(frozen=True, slots=True)
class Lease:
    """A reservation under every limit that binds one attempt, each in the window that the attempt began in."""

    id: str
    limits: tuple[QuotaLimit, ...]
    windows: tuple[Window, ...]
    at_us: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The limit that has no room, and what is taken of it: used and reserved.

    ``until_us`` is when its window ends; there may be room before, when other attempts end. None where only that
    helps, and where the attempt needs more than the whole limit.
    """

    limit: QuotaLimit
    taken: int
    until_us: int | None


@dataclass(frozen=True, slots=True)
class QuotaUse:
    """What is used and reserved of a control in its present window."""

    control: str
    key: QuotaKey
    window: str
    used: int
    reserved: int
    until_us: int | None

    @property
    def taken(self) -> int:
        """What nobody else can have: the number to decide with."""
        return min(self.used + self.reserved, MAX_EXACT)


class Quotas:
    """The quotas of one state store. Times are arguments, in microseconds since 1970, UTC."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def reserve(
        self, lease_id: str, limits: Sequence[QuotaLimit], *, at_us: int, expires_us: int
    ) -> Lease | Refusal:
        """Reserve under all of ``limits`` at once, or under none: then the first that has no room.

        ``lease_id`` is unique; ``expires_us`` is when the reservation lapses if nobody renews or ends it: what it
        reserved then counts as used. Raises StateError.
        """
        if not limits:
            return Lease(lease_id, (), (), at_us)
        windows = tuple(_window(limit, at_us) for limit in limits)
        forget_us = max(expires_us, *map(_forget_us, limits, windows, repeat(expires_us)))
        with self._store.change() as connection:
            connection.execute("DELETE FROM leases WHERE forget_us <= ?", (at_us,))
            for limit, window in zip(limits, windows, strict=True):
                if not 0 <= limit.amount <= MAX_EXACT:
                    raise StateError(f"control `{limit.control}` cannot reserve {limit.amount} {limit.unit}")
                used, reserved = connection.execute(_TAKEN, _names(limit, window, at_us)).fetchone()
                if used + reserved + limit.amount > limit.limit:
                    return Refusal(limit, used + reserved, _room_at(limit, window))
            rows = (
                (
                    *(limit.counter, _unit(limit), stored_key(limit.key), expires_us, lease_id),
                    *(window.start_us, window.end_us, limit.amount, forget_us),
                )
                for limit, window in zip(limits, windows, strict=True)
            )
            try:
                connection.executemany("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            except sqlite3.IntegrityError:
                raise StateError(f"lease `{lease_id}` reserves twice under one control") from None
        return Lease(lease_id, tuple(limits), windows, at_us)

    def renew(self, lease: Lease, *, expires_us: int) -> bool:
        """Let a reservation hold until then, and never less long than it does: its attempt is still under way.

        Returns whether there was one: it is gone once it has ended. One that has lapsed is a reservation again,
        also among the calls at once, room or not, since its attempt is being made. Raises StateError.
        """
        if not lease.limits:
            return False
        forget_us = max(expires_us, *map(_forget_us, lease.limits, lease.windows, repeat(expires_us)))
        with self._store.change() as connection:
            renewed = connection.execute(
                "UPDATE leases SET expires_us = max(expires_us, ?), forget_us = max(forget_us, ?) WHERE lease = ?",
                (expires_us, forget_us, lease.id),
            )
            return renewed.rowcount > 0

    def settle(self, lease: Lease, actual: Mapping[Unit, int | None]) -> bool:
        """End the reservation and count what was really used; None where nobody knows: the reserved amount.

        Counts in the window that the attempt began in. Where the lease has lapsed meanwhile, this replaces what it
        counted. Returns whether it counted: a lease that is settled or released already counts no more, nor
        does one whose counts would be forgotten (``KEEP_US``). Raises StateError.
        """
        if not lease.limits:
            return False
        with self._store.change() as connection:
            # INVARIANT: whoever deletes the rows counts, so a lease counts once. They outlive their expiry, and
            # all rows of a lease are forgotten together.
            if not connection.execute("DELETE FROM leases WHERE lease = ?", (lease.id,)).rowcount:
                return False
            for limit, window in zip(lease.limits, lease.windows, strict=True):
                amount = actual.get(limit.unit)
                if amount is None or amount < 0:
                    amount = limit.amount
                if limit.unit != "concurrent" and amount > 0:
                    _count(connection, limit, window, min(amount, MAX_EXACT), lease.at_us)
        return True

    def release(self, lease: Lease) -> None:
        """End the reservation of an attempt that was not made; nothing if it has ended. Raises StateError."""
        if lease.limits:
            with self._store.change() as connection:
                connection.execute("DELETE FROM leases WHERE lease = ?", (lease.id,))

    def use(self, limit: QuotaLimit, *, at_us: int) -> QuotaUse:
        """What is taken of a control now, for the key of ``limit``; lapsed leases count as used. Raises StateError."""
        window = _window(limit, at_us)
        ((used, reserved),) = self._store.read(_TAKEN, _names(limit, window, at_us))
        return _quota_use(limit, limit.key, window, used, reserved)

    def use_by_key(self, limit: QuotaLimit, *, at_us: int) -> tuple[QuotaUse, ...]:
        """What is taken of a control now by each key that took something, in their order. Raises StateError."""
        window = _window(limit, at_us)
        rows = self._store.read(_TAKEN_BY_KEY, _names(limit, window, at_us))
        return tuple(
            _quota_use(limit, key_of(str(key)), window, used, reserved) for key, used, reserved in rows
        )

    def counters(self, *, at_us: int) -> Sequence[str]:
        """The names under which something was counted that is not forgotten yet, sorted. Raises StateError."""
        rows = self._store.read(_COUNTERS, {"at": at_us})
        return [str(name) for (name,) in rows]


def _count(
    connection: sqlite3.Connection, limit: QuotaLimit, window: Window, amount: int, at_us: int
) -> None:
    key = (limit.counter, _unit(limit), stored_key(limit.key), window.end_us)
    # A count stops at what a decision record can hold.
    found = connection.execute(
        "UPDATE quota_used SET amount = min(amount + ?, ?), last_us = max(last_us, ?)"
        " WHERE control = ? AND unit = ? AND key = ? AND end_us = ?",
        (amount, MAX_EXACT, at_us, *key),
    )
    if not found.rowcount:
        connection.execute("DELETE FROM quota_used WHERE forget_us <= ?", (at_us,))
        row = (*key, window.start_us, amount, at_us, _forget_us(limit, window, window.end_us))
        connection.execute("INSERT INTO quota_used VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)


def _forget_us(limit: QuotaLimit, window: Window, without_period_us: int) -> int:
    return (without_period_us if limit.per is None else window.end_us) + KEEP_US[limit.per]


def _window(limit: QuotaLimit, at_us: int) -> Window:
    return _ALWAYS if limit.per is None else window_of(at_us, limit.per, limit.timezone)


def _unit(limit: QuotaLimit) -> str:
    return limit.unit if limit.currency is None else f"{limit.unit} {limit.currency}"


def _names(limit: QuotaLimit, window: Window, at_us: int) -> Mapping[str, object]:
    return {
        "control": limit.counter,
        "unit": _unit(limit),
        "key": stored_key(limit.key),
        "start": window.start_us,
        "end": window.end_us,
        "at": at_us,
    }


def _room_at(limit: QuotaLimit, window: Window) -> int | None:
    return None if limit.per is None or limit.amount > limit.limit else window.end_us


def _quota_use(limit: QuotaLimit, key: QuotaKey, window: Window, used: object, reserved: object) -> QuotaUse:
    assert isinstance(used, int) and isinstance(reserved, int)
    until_us = None if limit.per is None else window.end_us
    return QuotaUse(limit.control, key, window.name, used, reserved, until_us)
