"""Work of a thread handed to an event loop, item by item, and stopped when nobody listens any more."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from typing import Generic, TypeVar

from ..phases import CallClock
from .threads import ModelThread

T = TypeVar("T")


class Work(Generic[T]):
    """What ``make(stopped=…)`` yields, made in ``thread`` when its turn comes.

    ``stop`` may be called from anywhere and at any time; work that waits for its turn is then never begun.
    ``done`` is called once the thread has let go of it, at once if it never began.
    """

    def __init__(self, make: Callable[..., Generator[T, None, None]]) -> None:
        self._make = make
        self._stopped = threading.Event()
        self._job: Future[None] | None = None

    async def items(
        self, thread: ModelThread, clock: CallClock, done: Callable[[], None]
    ) -> AsyncGenerator[T, None]:
        """The items; raises what ``make`` raised, and ``timeout.<phase>`` by ``clock``.

        Until the thread begins, the call waits for its turn.
        """
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[T, ...] | BaseException | None] = asyncio.Queue()

        def hand_over(item: tuple[T, ...] | BaseException | None) -> None:
            try:
                loop.call_soon_threadsafe(arrived.put_nowait, item)
            except RuntimeError:  # the loop is closed: nobody listens
                self._stopped.set()

        def drive() -> None:
            try:
                hand_over(())  # its turn has come
                with closing(self._make(stopped=self._stopped.is_set)) as made:
                    for item in made:
                        hand_over((item,))
                        if self._stopped.is_set():
                            break
                hand_over(None)
            except BaseException as error:
                forget_locals(error)
                hand_over(error)

        self._job = thread.submit(drive)
        self._job.add_done_callback(lambda _: done())
        clock.enter("turn")
        try:
            while (item := await clock.wait(arrived.get())) is not None:
                if isinstance(item, BaseException):
                    raise item
                if not item:
                    clock.enter("first_token")
                else:
                    yield item[0]
        finally:
            self.stop()

    def stop(self) -> None:
        """Let the work end at the next token, or not begin."""
        self._stopped.set()
        if self._job is not None:
            self._job.cancel()


def forget_locals(error: BaseException | None) -> None:
    """Clear the frames that an error holds, and drop the references to them.

    They would keep a model in memory for as long as the error is referenced, and its generators could be closed in
    another thread, which MLX does not allow. Clearing is not enough: from Python 3.13 on a frame refers to its
    callers, including those of the model's thread that were still running.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
