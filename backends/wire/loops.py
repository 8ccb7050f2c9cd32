"""Keeps what belongs to an event loop, such as connections, for as long as the loop is open."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final, Generic, NamedTuple, Protocol, TypeVar


class Closable(Protocol):
    """Something that has to be let go of with its loop."""

    async def close(self) -> None:
        """Let go of everything, in the loop that it belongs to."""

    def drop(self) -> None:
        """Let go of everything after the loop was closed: nothing can be awaited there any more."""


T = TypeVar("T", bound=Closable)


class _Kept(NamedTuple, Generic[T]):
    one: T
    holder: AsyncGenerator[None, None]


_OF_PARENTS: Final[list[object]] = []
"""What a forked process has from its parent: kept, since even its destructors would do harm."""


class PerLoop(Generic[T]):
    """One ``make()`` for each event loop, made when it is first asked for there. Safe to use from many threads.

    A loop closes its asynchronous generators before it ends (``loop.shutdown_asyncgens``, which ``asyncio.run`` and
    ``asyncio.Runner`` call), and each one is held by such a generator. What belonged to a loop that was closed without
    that is dropped when another loop asks for its own. A process that was forked has none of its parent's.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        # INVARIANT: an entry leaves with its loop, since the loop is its key and its value refers to the loop.
        self._kept: dict[asyncio.AbstractEventLoop, _Kept[T]] = {}
        self._process = os.getpid()

    def __len__(self) -> int:
        """The number of loops for which something is kept."""
        return len(self._kept)

    def here(self) -> T:
        """The one of the running loop."""
        self._leave_to_parent()
        loop = asyncio.get_running_loop()
        kept = self._kept.get(loop)
        if kept is None:
            self._drop_closed()
            one = self._make()
            kept = self._kept[loop] = _Kept(one, _held(self._kept, loop, one))
            # It runs to its `yield` without waiting, and the loop knows it from then on.
            with suppress(StopIteration):
                kept.holder.asend(None).send(None)
        return kept.one

    async def close(self) -> None:
        """Close the one of the running loop, and have other loops that are running close theirs."""
        self._leave_to_parent()
        kept = self._kept.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept.holder.aclose()
        self._drop_closed()
        for loop, other in list(self._kept.items()):
            if loop.is_running():
                with suppress(RuntimeError):  # closed just now, which has closed it too
                    loop.call_soon_threadsafe(loop.create_task, other.holder.aclose())

    def _leave_to_parent(self) -> None:
        if self._process != os.getpid():
            # Closing any of it here would take its sockets out of what the parent's loop waits for.
            _OF_PARENTS.append(self._kept)
            self._kept, self._process = {}, os.getpid()

    def _drop_closed(self) -> None:
        for loop in list(self._kept):
            if loop.is_closed():
                kept = self._kept.pop(loop, None)
                if kept is not None:  # else another thread has dropped it
                    kept.one.drop()


async def _held(
    kept: dict[asyncio.AbstractEventLoop, _Kept[T]], loop: asyncio.AbstractEventLoop, one: T
) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        kept.pop(loop, None)
        await one.close()
