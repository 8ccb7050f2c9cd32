"""Stores that are closed before a fork, and opened again when they are next used, in both processes.

SQLite must not be carried across a fork: https://www.sqlite.org/howtocorrupt.html (section 2.6).
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that lets a fork happen between ``hold`` and ``let_go``."""

    def hold(self) -> None:
        """Close what must not be carried across, and keep everyone from using it."""

    def let_go(self, *, child: bool) -> None:
        """End what ``hold`` began; in the child no other thread exists."""


def close_before_forks(one: Forkable) -> None:
    """Hold ``one`` during every fork, for as long as it lives."""
    _known.add(one)


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()
_held: list[Forkable] = []


def _before() -> None:
    # In one order, so that two threads that fork at the same time do not wait for each other.
    for one in sorted(_known, key=id):
        one.hold()
        _held.append(one)


def _after(*, child: bool) -> None:
    while _held:
        _held.pop().let_go(child=child)


os.register_at_fork(
    before=_before,
    after_in_parent=lambda: _after(child=False),
    after_in_child=lambda: _after(child=True),
)
