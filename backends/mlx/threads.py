"""Threads for models: each runs what it is given in order, and outlives the model that it was made for.

MLX keeps something for every thread that used it, and never gives it back; so threads are used again rather than
made anew. It also must be told in each thread that the thread ends: a process in which one just ends may abort. So
threads are daemons of our own, ended when their owner is closed or collected, or when the interpreter exits.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_EXIT_WAIT_S: Final = 5.0
"""How long an exiting interpreter waits for work: a token takes far less, and a load may take far more."""


class ModelThread:
    """Runs work in the order it was submitted; ``ended`` is called in the thread as its last act."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._ending = False
        self._thread = threading.Thread(target=_serve, args=(self._jobs, ended), name="mlx", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[P, T], *args: P.args, **words: P.kwargs) -> Future[T]:
        """What ``work`` returns or raises, later. Cancelling the future leaves the queue.

        Raises RuntimeError once the thread is to end.
        """
        future: Future[T] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work(*args, **words)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._ending:
                raise RuntimeError("the thread takes no more work")
            self._jobs.put(run)
        return future

    def end(self) -> None:
        """End after the work that is there already."""
        with self._lock:
            self._ending = True
            self._jobs.put(None)

    def join(self, timeout_s: float | None = None) -> None:
        # An owner may be collected in one of its own threads.
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)


class ModelThreads:
    """Gives out threads, and takes them back to give them out again."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._all: list[ModelThread] = []
        self._free: list[ModelThread] = []
        # Runs also when the interpreter exits.
        weakref.finalize(self, _end, self._all, _EXIT_WAIT_S)

    def take(self) -> ModelThread:
        """A thread that nobody else has."""
        if self._free:
            return self._free.pop()
        thread = ModelThread(self._ended)
        self._all.append(thread)
        return thread

    def give_back(self, thread: ModelThread) -> None:
        """For a thread that has nothing left to do but what it was given already."""
        self._free.append(thread)

    def end(self) -> None:
        """End all threads, and wait until they have."""
        _end(self._all, None)


def _serve(jobs: SimpleQueue[Callable[[], None] | None], ended: Callable[[], None]) -> None:
    """No reference to a job, and so to no model, is kept while the next is waited for."""
    while (job := jobs.get()) is not None:
        job()
        del job
    ended()


def _end(threads: list[ModelThread], timeout_s: float | None) -> None:
    ending, threads[:] = list(threads), []
    for thread in ending:
        thread.end()
    for thread in ending:
        thread.join(timeout_s)
