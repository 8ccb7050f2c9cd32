"""Reads the lines of a JSONL file, each as its text or as what is wrong with it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from routewright.engine.report import TaskError

from .writer import writer

MAX_LINE_BYTES = 1024 * 1024
"""A longer line is refused without being read into memory."""

_PROGRESS_FROM_BYTES = 100_000


def task_lines(path: Path, *, progress: bool) -> Iterator[tuple[int, str | TaskError]]:
    """The lines that are not blank, with their numbers from 1; ``-`` is standard input.

    With ``progress`` a bar is shown to who watches, for a long file. Raises TaskError for a file that cannot be
    read; a line that cannot be read is passed on as one.
    """
    try:
        with _opened(path, progress=progress) as (file, advance):
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                advance(len(line))
                if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                    _skip_rest(file, advance)
                    yield number, TaskError(f"the line is longer than {MAX_LINE_BYTES // 1024} KiB")
                    continue
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                except UnicodeDecodeError:
                    yield number, TaskError("the line is not UTF-8 text")
                    continue
                if text.strip():
                    yield number, text
    except OSError as error:
        raise TaskError(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None


def _skip_rest(file: BinaryIO, advance: Callable[[int], None]) -> None:
    while rest := file.readline(MAX_LINE_BYTES):
        advance(len(rest))
        if rest.endswith(b"\n"):
            return


@contextmanager
def _opened(path: Path, *, progress: bool) -> Iterator[tuple[BinaryIO, Callable[[int], None]]]:
    """The open file, and what to call with the number of bytes read."""
    if str(path) == "-":
        if sys.stdin is None:
            raise TaskError("standard input is closed")
        yield sys.stdin.buffer, lambda size: None
        return
    with path.open("rb") as file:
        size = path.stat().st_size
        if not progress or size < _PROGRESS_FROM_BYTES or not writer.attended or writer.plain:
            yield file, lambda size: None
            return
        from rich.console import Console
        from rich.progress import Progress

        # Only what goes to standard error is written above the bar: results go where they always go.
        with Progress(console=Console(stderr=True), transient=True, redirect_stdout=False) as bars:
            bar = bars.add_task("deciding", total=size)
            yield file, lambda size: bars.advance(bar, size)
