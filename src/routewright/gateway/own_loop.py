"""The event loop of a gateway's own, for callers without one: scripts, and web views that run in threads."""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import closing
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

_END_S: Final = 10.0
"""How long the end of the loop is waited for."""


class OwnLoop:
    """One event loop in a thread, which all calls share: any number of threads may call at once.

    The thread starts with the first call. It ends with ``finish``, or when nothing refers to this any more. A process
    that was forked starts its own, as threads do not survive a fork.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything has been run in this process that ``finish`` has not ended."""
        return self._thread is not None and self._thread.process == os.getpid()

    def run(self, start: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``start()``. Raises RuntimeError where an event loop is running."""
        _check_no_loop()
        call = self._begun(start)
        try:
            return call.result()
        finally:
            call.stop()

    def pieces(
        self, start: Callable[[Callable[[str], None]], Coroutine[Any, Any, T]]
    ) -> Generator[str, None, T]:
        """The texts that ``start(give)`` gives, as they come, and then its result as the generator's.

        Closing it early stops the work. Raises RuntimeError where an event loop is running.
        """
        _check_no_loop()
        given: SimpleQueue[str | None] = SimpleQueue()
        call = self._begun(lambda: start(given.put))
        call.ended.add_done_callback(lambda _: given.put(None))
        try:
            while (piece := given.get()) is not None:
                yield piece
            return call.result()
        finally:
            call.stop()

    def run_telling(
        self, start: Callable[[Callable[[str], None]], Coroutine[Any, Any, T]], tell: Callable[[str], None]
    ) -> T:
        """The result of ``start(give)``, whose texts are told in this thread. What ``tell`` raises stops the work."""
        with closing(self.pieces(start)) as pieces:
            while True:
                try:
                    piece = next(pieces)
                except StopIteration as ended:
                    result: T = ended.value
                    return result
                tell(piece)

    def finish(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run ``last()`` and end the loop, with what still runs in it. May be called when the interpreter ends."""
        if not self.is_open:
            _check_no_loop()
            asyncio.run(last())  # no thread has to be started for that
            return
        try:
            self.run(last)
        finally:
            self._end()

    def _end(self) -> None:
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                thread.end()
        if thread is not None:
            thread.wait()

    def _begun(self, start: Callable[[], Coroutine[Any, Any, T]]) -> _Call[T]:
        # INVARIANT: a call begins before the end of its loop, or in a new one. Another would never end.
        with self._lock:
            if self._thread is None or not self.is_open:
                self._thread = _LoopThread()
                # When the interpreter ends, whoever closes the gateway then still needs the loop.
                weakref.finalize(self, self._thread.end).atexit = False
            return _Call(self._thread.loop, start)


class _LoopThread:
    """A thread with a running event loop. It knows nothing of who uses it."""

    def __init__(self) -> None:
        self.process = os.getpid()
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=_run, args=[started], name="routewright", daemon=True)
        self._thread.start()
        self.loop, self._ended = started.result()

    def end(self) -> None:
        """Let the loop end; another process has none that could."""
        if self.process == os.getpid() and not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._ended.set)

    def wait(self) -> None:
        """Wait until it has ended."""
        if self.process == os.getpid():
            self._thread.join(_END_S)


def _run(started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    loop = asyncio.new_event_loop()
    try:
        loop.run_until_complete(_serve(started))
    finally:
        loop.close()


async def _serve(started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    """Keep the loop running until its event is set, then end it as ``asyncio.run`` does."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    started.set_result((loop, ended))
    await ended.wait()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await loop.shutdown_asyncgens()
    if threading.main_thread().is_alive():  # else no thread can be started, and this starts one
        await loop.shutdown_default_executor()


class _Call(Generic[T]):
    """A coroutine that runs in a loop's thread; ``ended`` gets its result."""

    def __init__(self, loop: asyncio.AbstractEventLoop, start: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self.ended: Future[T] = Future()
        self._loop = loop
        self._start = start
        self._task: asyncio.Task[T] | None = None
        self._loop.call_soon_threadsafe(self._begin)

    def result(self) -> T:
        """Its result, or what it raises."""
        return self.ended.result()

    def stop(self) -> None:
        """Cancel it, unless it has ended, and wait until it has: what was done is on record then."""
        if not self.ended.done():
            self._loop.call_soon_threadsafe(self._cancel)
            self.ended.exception()

    def _begin(self) -> None:
        try:
            self._task = self._loop.create_task(self._start())
        except BaseException as error:
            self.ended.set_exception(error)
        else:
            self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, task: asyncio.Task[T]) -> None:
        if task.cancelled():
            self.ended.set_exception(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.ended.set_exception(error)
        else:
            self.ended.set_result(task.result())


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return  # there is none, as it should be
    raise RuntimeError(
        "an event loop is running here, and would stand still meanwhile: "
        "write `async with`, and call the method without `_sync`"
    )
