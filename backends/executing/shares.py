"""Shares the time until a task's deadline between a call and those that could still follow it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .work import Target

UNKNOWN_SHARE: Final = 10
"""Of a model of which nobody knows how long it takes, a tenth of the deadline is expected."""

KEPT: Final = 1.5
"""How many times what is known is kept: half of all calls take longer, and an answer goes on after its first token."""


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

    def kept(self, target: Target) -> float:
        """What is kept for ``target`` while others are asked."""
        known = self._known(target)
        return self._unknown_ms if known is None else KEPT * known

    def share(self, target: Target, behind: Sequence[Target], left_us: int) -> Share:
        """The part of ``left_us`` that ``target`` has while each of ``behind`` keeps the time that it needs.

        Where the time is not enough for all, each has an equal part, and the last of them keep none until that is what
        ``target`` needs. The next one keeps half then, unless that is less than either of the two usually takes.
        """
        left_ms = left_us / 1_000
        keeping = list(behind)
        while True:
            own_ms = left_ms - sum(map(self.kept, keeping))
            equal_ms = left_ms / (1 + len(keeping))
            if own_ms >= equal_ms or equal_ms >= self.kept(target):
                break
            if len(keeping) == 1 and equal_ms >= min(self._usual(target), self._usual(keeping[0])):
                break
            keeping.pop()
        return Share(left_ms, max(own_ms, equal_ms), self._usual(target))

    def _usual(self, target: Target) -> float:
        known = self._known(target)
        return self._unknown_ms if known is None else known

    def _known(self, target: Target) -> float | None:
        return self._observed.get(target.model_id, target.expected_ms)
