"""Decision ids: UUIDs of version 7 (RFC 9562, section 5.7), made from a time and random bits that are given."""

from __future__ import annotations

from random import Random

from routewright.engine.report import TaskError


def uuid7(at_us: int, random: Random) -> str:
    """A UUIDv7 for a time in microseconds since 1970: ids sort by time to the millisecond.

    The same time and the same state of ``random`` give the same id. Raises TaskError for a time before 1970,
    which such an id cannot hold.
    """
    if at_us < 0:
        raise TaskError("ids and records hold times from 1970 on")
    milliseconds = (at_us // 1000) & (1 << 48) - 1
    drawn = random.getrandbits(74)
    bits = milliseconds << 80 | 0x7 << 76 | drawn >> 62 << 64 | 0b10 << 62 | drawn & (1 << 62) - 1
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
