"""How canaries have ended: by the digests of control and candidate, so that another policy or share begins anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from .store import StateStore

Ending = Literal["abort", "promote"]

_KEPT = "SELECT control || ' ' || candidate, since_us, looked_us, verdict, reason, ended_us FROM canaries"


class CanaryEnd(NamedTuple):
    """That a canary has ended: how, by which conditions, and when, in microseconds since 1970, UTC."""

    verdict: Ending
    reason: str
    at_us: int


@dataclass(frozen=True, slots=True)
class KeptCanary:
    """What is kept of a canary: decisions from ``since_us`` on count, ``looked_us`` is when it was last judged."""

    since_us: int = 0
    looked_us: int = 0
    end: CanaryEnd | None = None


class Canaries:
    """The canaries of one state store. Times are arguments, in microseconds since 1970, UTC.

    ``control`` and ``candidate`` are digests. All methods raise StateError.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def get(self, control: str, candidate: str) -> KeptCanary:
        """What is kept of a canary; a change by another process shows within some milliseconds."""
        return self._store.known(_KEPT, _kept).get(f"{control} {candidate}", KeptCanary())

    def claim_look(self, control: str, candidate: str, *, at_us: int, every_us: int) -> KeptCanary | None:
        """Whether the caller is to judge it now: what is kept then; None if it has ended, or was judged within
        ``every_us`` by any process.
        """
        with self._store.change() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO canaries (control, candidate, since_us, looked_us) VALUES (?, ?, 0, 0)",
                (control, candidate),
            )
            # A clock that was set back must not keep it from being judged.
            claimed = connection.execute(
                "UPDATE canaries SET looked_us = :at WHERE control = :control AND candidate = :candidate"
                " AND verdict IS NULL AND abs(:at - looked_us) >= :every RETURNING since_us",
                {"at": at_us, "control": control, "candidate": candidate, "every": every_us},
            ).fetchall()
        return KeptCanary(int(claimed[0][0]), at_us) if claimed else None

    def end(self, control: str, candidate: str, end: CanaryEnd, *, since_us: int) -> bool:
        """End it, as judged by the decisions from ``since_us`` on; False if it had ended, or was begun anew."""
        with self._store.change() as connection:
            done = connection.execute(
                "UPDATE canaries SET verdict = ?, reason = ?, ended_us = ?"
                " WHERE control = ? AND candidate = ? AND verdict IS NULL AND since_us = ?",
                (*end, control, candidate, since_us),
            )
            return done.rowcount == 1

    def begin_anew(self, control: str, candidate: str, *, at_us: int) -> None:
        """Let it go on, by the decisions from ``at_us`` on."""
        with self._store.change() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO canaries (control, candidate, since_us, looked_us) VALUES (?, ?, ?, 0)",
                (control, candidate, at_us),
            )


def _kept(
    since_us: int, looked_us: int, verdict: str | None, reason: str | None, ended_us: int | None
) -> KeptCanary:
    if verdict is None or reason is None or ended_us is None:
        return KeptCanary(since_us, looked_us)
    return KeptCanary(since_us, looked_us, CanaryEnd(cast(Ending, verdict), reason, ended_us))
