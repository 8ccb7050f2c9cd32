"""How long each part of a call and of a task may take where a policy writes nothing.

These limits are the engine's: no digest covers them, and a record marks them as defaults. A limit that is written is
the author's, and makes another policy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

_SECOND: Final = 1_000
_MINUTE: Final = 60 * _SECOND

Holds = Literal["always", "where models load", "in streams"]


class DefaultWait(NamedTuple):
    """A limit in milliseconds, and for which calls it holds."""

    ms: int
    holds: Holds


DEFAULT_TIMEOUTS: Final[Mapping[str, DefaultWait]] = {
    "connect": DefaultWait(10 * _SECOND, "always"),
    "load": DefaultWait(10 * _MINUTE, "where models load"),
    "first_token": DefaultWait(2 * _MINUTE, "in streams"),
    "idle": DefaultWait(2 * _MINUTE, "in streams"),
    "total": DefaultWait(15 * _MINUTE, "always"),
}
"""By the key of `timeouts`. The wait in our own queue is limited by that for a first token, and by the total.

An answer that nobody reads piece by piece has no tokens to wait for, and is not streamed for the sake of a default. A
server that does not say when it loads gets the time for loading beside that for a first token: where an author has
limited the first token, no default makes that longer.
"""

DEFAULT_DEADLINE_MS: Final = 20 * _MINUTE
"""For all calls of a task together."""


def default_timeouts(written: Mapping[str, int | None], *, streamed: bool, may_load: bool) -> dict[str, int]:
    """The limits in milliseconds, by phase, that a call gets beside those that are ``written``."""
    loads = may_load and written.get("first_token") is None
    holds: dict[Holds, bool] = {"always": True, "where models load": loads, "in streams": streamed}
    return {
        phase: wait.ms
        for phase, wait in DEFAULT_TIMEOUTS.items()
        if holds[wait.holds] and written.get(phase) is None
    }
