"""Forked children of a test: cheap, as what is loaded stays loaded, and killed in the end."""

from __future__ import annotations

import os
import signal
import traceback
import warnings
from collections.abc import Callable

__all__ = ["Child", "Tell"]

Tell = Callable[[bytes], object]


class Child:
    """A process that does ``work``, which gets what tells bytes to the test."""

    def __init__(self, work: Callable[[Tell], object]) -> None:
        self._told, tell = os.pipe()
        with warnings.catch_warnings():
            # Of a fork beside threads, from Python 3.12 on: the ledger sees to its own.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                work(lambda byte: os.write(tell, byte))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        os.close(tell)
        self._gone = False

    def heard(self, size: int = 1) -> bytes:
        """The next that it told; empty if it is gone."""
        return os.read(self._told, size)

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        os.close(self._told)

    def kill(self) -> None:
        """SIGKILL, unless it has ended before."""
        if not self._gone:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()

    def wait(self) -> int:
        """Wait until it has ended; its exit status, negative for a signal."""
        self._gone = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
