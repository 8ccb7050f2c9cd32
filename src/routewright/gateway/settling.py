"""Lets the callers of an event loop share one blocking wait, so that they do not take a thread each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from routewright.backends import run_blocking


class SharedWait:
    """Runs ``work`` in a thread for whoever asks: each gets a run that began after it asked, and shares it.

    One runs at a time in each event loop, and meanwhile those who come wait for the next.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._running: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}
        self._next: dict[asyncio.AbstractEventLoop, asyncio.Task[None]] = {}

    async def join(self, *, anew: bool = True) -> None:
        """Return when a run that began after this call has ended; raise what it raised.

        Without ``anew`` one that runs already will do.
        """
        loop = asyncio.get_running_loop()
        task = self._next.get(loop) or (None if anew else self._running.get(loop))
        if task is None:
            task = self._next[loop] = loop.create_task(self._run(loop, self._running.get(loop)))
        # If one caller is cancelled, the others still wait for it.
        await asyncio.shield(task)

    async def _run(self, loop: asyncio.AbstractEventLoop, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await asyncio.wait([before])
        task = self._running[loop] = self._next.pop(loop)
        try:
            await run_blocking(self._work)
        finally:
            if self._running.get(loop) is task:
                del self._running[loop]
