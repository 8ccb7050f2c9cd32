"""Work that blocks, without keeping an event loop from other work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_blocking(function: Callable[[], T]) -> T:
    """What ``function()`` returns, run in a thread.

    When the interpreter ends, functions registered with ``atexit`` run after it has stopped to start threads; then it
    runs here, since nothing else has a turn to wait for.
    """
    if threading.main_thread().is_alive():
        return await asyncio.to_thread(function)
    return function()
