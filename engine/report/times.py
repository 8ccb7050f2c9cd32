"""Writes times as people and records read them, in UTC. No clock, no local zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso_time(at_us: int) -> str:
    """Microseconds since 1970 as an ISO 8601 time in UTC.

    >>> iso_time(1_767_225_600_000_000)
    '2026-01-01T00:00:00Z'
    """
    return (EPOCH + timedelta(microseconds=at_us)).isoformat().replace("+00:00", "Z")
