"""Runs a gateway's coroutines for scripts, which have no event loop of their own."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class ScriptLoop:
    """One event loop for all calls of a script: connections and loaded models belong to the loop they began in."""

    def __init__(self) -> None:
        self._runner: asyncio.Runner | None = None
        self._forgotten: weakref.finalize[..., ScriptLoop] | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything has been run that ``close`` has not ended."""
        return self._runner is not None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The result of ``coroutine``. Raises RuntimeError inside a running event loop."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass  # there is none, as it should be
        else:
            coroutine.close()
            raise RuntimeError(
                "an event loop is running here: await the method without `_sync`, or use `async with`"
            )
        if self._runner is None:
            self._runner = asyncio.Runner()
            # A loop whose gateway is forgotten without being closed ends with it.
            self._forgotten = weakref.finalize(self, _drop, self._runner)
        return self._runner.run(coroutine)

    def close(self) -> None:
        """End the loop."""
        if self._runner is not None:
            self._runner.close()
        if self._forgotten is not None:
            self._forgotten.detach()
        self._runner = None


def _drop(runner: asyncio.Runner) -> None:
    """Close a loop that nobody uses any more.

    It may be dropped in any thread, one of the loop's own too: closing the runner would wait for that thread for ever.
    """
    loop = runner.get_loop()
    if not loop.is_running():
        loop.close()
