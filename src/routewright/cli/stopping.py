"""What Ctrl-C does: it ends the process at once, or is raised in a command that has something to finish.

At once is from the first line on, while modules are loaded, and for commands that only read. Python would raise
KeyboardInterrupt there wherever it stands, in the middle of an import or of a library that does not expect it, and not
before a library written in C returns.

INVARIANT: until Ctrl-C is handled, nothing is loaded that Python has not loaded when it starts. That is why the modules
behind ``signal`` and ``threading`` are used, and nothing of ``typing`` and ``contextlib``.
"""

from __future__ import annotations

import _thread
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable
    from typing import NoReturn
else:
    import _signal as signal

_STOPPED = 130
"""The exit code STOPPED."""

_ending = _thread.allocate_lock()
_to_do: list[Callable[[], object]] = []
_woken_by: int | None = None


def stop_at_once() -> None:
    """From now on Ctrl-C ends the process at once. A process that was started deaf to Ctrl-C stays so."""
    global _woken_by
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return
    signal.signal(signal.SIGINT, _end)
    # While the main thread is in a library, its handler has to wait; this thread has not.
    listening, _woken_by = os.pipe()
    os.set_blocking(_woken_by, False)
    signal.set_wakeup_fd(_woken_by, warn_on_full_buffer=False)
    _thread.start_new_thread(_listen, (listening,))


def finish_first() -> None:
    """From now on Ctrl-C raises KeyboardInterrupt, as Python does it."""
    global _woken_by
    if _woken_by is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(-1)
        os.close(_woken_by)  # ends the thread
        _woken_by = None


def before_stopping(do: Callable[[], object]) -> None:
    """What is done first when the process is stopped: remove what would be left behind. May raise OSError."""
    _to_do.append(do)


def end(code: int, said: bytes = b"") -> NoReturn:
    """End the process without waiting for threads, after what is to be done first."""
    for do in reversed(_to_do):
        _try(do)
    _try(lambda: os.write(2, said))
    os._exit(code)


def _try(do: Callable[[], object]) -> None:
    try:
        do()
    except OSError:
        pass  # what cannot be removed or said keeps nobody


def _listen(listening: int) -> None:
    while (number := os.read(listening, 1)) != b"":
        if number[0] == signal.SIGINT:
            _end()
    os.close(listening)


def _end(*_: object) -> None:
    if not _ending.acquire(blocking=False):
        return  # the other thread is about to end the process
    end(_STOPPED, b"stopped\n")
