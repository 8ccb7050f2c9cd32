"""Shares the time until a task's deadline between a call and those that could still follow it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from .work import Target

UNKNOWN_SHARE: Final = 10
"""Of a model of which nobody knows how long it takes, a tenth of the deadline is expected."""


class Share(NamedTuple):
    """The milliseconds of one call: until the deadline, its own part of these, and what its model usually takes."""

    left_ms: float
    own_ms: float
    usual_ms: float


class UsualTimes:
    """How long models usually take: as observed, else as the catalog expects, else a tenth of the deadline.

    ``observed`` is by model id, the mean time to the first token. All in milliseconds.
    """

    def __init__(self, observed: Mapping[str, float], deadline_ms: int) -> None:
        self._observed, self._unknown_ms = observed, deadline_ms / UNKNOWN_SHARE

    def of(self, target: Target) -> float:
        """What ``target`` usually takes."""
        found = self._observed.get(target.model_id, target.expected_ms)
        return self._unknown_ms if found is None else found

    def share(self, target: Target, behind: Collection[Target], left_us: int) -> Share:
        """The part of ``left_us`` that ``target`` has while each of ``behind`` keeps what it usually takes.

        It has an equal part at least: the time may not be enough for all.
        """
        left_ms = left_us / 1_000
        own_ms = max(left_ms - sum(map(self.of, behind)), left_ms / (1 + len(behind)))
        return Share(left_ms, own_ms, self.of(target))
