"""Writes times as people and records read them, in UTC. No clock, no local zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000))

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(at_us: int) -> str:
    """Microseconds since 1970 as an ISO 8601 time in UTC.

    >>> iso_time(1_767_225_600_000_000)
    '2026-01-01T00:00:00Z'
    """
    return (EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")


def duration_text(ms: float) -> str:
    """Milliseconds as a policy writes a duration.

    >>> duration_text(120_000), duration_text(90_000), duration_text(2_500), duration_text(40)
    ('2m', '90s', '2.5s', '40ms')
    """
    for unit, size in _UNITS:
        if ms >= size and (unit == "s" or ms % size == 0):
            return f"{ms / size:g}{unit}"
    return f"{ms:g}ms"
