"""One line on standard error that says how far something is, for whoever watches it; gone when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from .stopping import before_stopping
from .writer import writer

_PATIENCE_S: Final = 1.0
"""What is faster than this needs no such line."""
_EVERY_S: Final = 0.2


@contextmanager
def statement_progress(doing: str = "asking") -> Iterator[Callable[[float | None], None] | None]:
    """What takes the share of a statement that is done, from 0 to 1 or unknown; None where nobody watches."""
    with progress_line() as line:
        if line is None:
            yield None
            return

        def show(share: float | None) -> None:
            done = "" if share is None else f"{share:.0%} done, "
            line.show(f"{doing}: {done}{line.elapsed_s:.0f} s (Ctrl-C stops it)")

        yield show


@contextmanager
def stage_progress() -> Iterator[Callable[[str], None]]:
    """What takes the stage that some long work is in, and shows for how long it has taken."""
    with progress_line() as line:
        stage, ended = [""], threading.Event()

        def draw(line: ProgressLine) -> None:
            while not ended.wait(_EVERY_S):
                if stage[0]:
                    line.show(f"{stage[0]}: {line.elapsed_s:.0f} s")

        drawing = None if line is None else threading.Thread(target=draw, args=(line,), daemon=True)
        if drawing is not None:
            drawing.start()
        try:
            yield lambda text: stage.__setitem__(0, text)
        finally:
            ended.set()
            if drawing is not None:
                drawing.join()


@contextmanager
def progress_line() -> Iterator[ProgressLine | None]:
    """A line that says how far something is; None where nobody watches."""
    if not writer.watched:
        yield None
        return
    line = ProgressLine()
    before_stopping(line.clear)
    try:
        yield line
    finally:
        line.clear()


class ProgressLine:
    """A line that is drawn anew in its place."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._shown_s = 0.0

    @property
    def elapsed_s(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began_s

    def show(self, text: str) -> None:
        """Draw the line anew, now and then."""
        now = time.monotonic()
        if now - self._began_s < _PATIENCE_S or now - self._shown_s < _EVERY_S:
            return
        self._shown_s = now
        writer.passing(text)

    def clear(self) -> None:
        """Remove the line."""
        if self._shown_s:
            self._shown_s = 0.0
            writer.passing("")
