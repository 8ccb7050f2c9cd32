"""What commands print: results to standard output, everything else to standard error.

Pretty output (bold, colours, fitted to the window) is for terminals only; ``NO_COLOR``, ``TERM=dumb`` and ``--plain``
are honoured. Printed text may come from anyone and must control neither the terminal nor a CI system that reads the
log: invisible characters are written as escapes, in JSON as JSON's own.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO, TextIO

from routewright.engine.report import (
    escape_answer,
    escape_commands,
    escape_flat,
    escape_json,
    escape_line,
    wrapped_tree,
)

from .table import (
    GAP,
    column_lines,
    fitted_widths,
    natural_widths,
    numeric_columns,
    row_lines,
    stacked_lines,
)

if TYPE_CHECKING:
    from routewright.engine.report import ReportTree


_READERS = ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION")
"""Variables of CI systems that run some lines of their log as commands."""

_SEVERITY = re.compile(r"\b(?:error|note)(?:\[[a-z0-9-]+\])?:")

_ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-"})


class ReaderGone(Exception):
    """Whoever read our output has stopped reading."""


class Writer:
    """Writes to the standard streams as they are at the time of the call."""

    def __init__(self) -> None:
        self.plain = False
        self._held = ""

    @property
    def pretty(self) -> bool:
        """Whether results are for a terminal that may be given colours."""
        return self._for_terminal(sys.stdout)

    @property
    def on_terminal(self) -> bool:
        """Whether results are for a terminal, with colours or without."""
        return _is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb"

    def says(self, text: str) -> bool:
        """Whether standard output can say every character of ``text``."""
        return _says(text, sys.stdout)

    @property
    def attended(self) -> bool:
        """Whether somebody watches standard error: progress and remarks are for them alone."""
        return _is_terminal(sys.stderr)

    @property
    def watched(self) -> bool:
        """Whether standard error is a terminal on which a line can be drawn again."""
        return self._for_terminal(sys.stderr)

    def passing(self, text: str) -> None:
        """Draw a line on the terminal of standard error in place of the last one that was drawn so."""
        _write(sys.stderr, f"\r{_line(text)[: _window() - 1]}\x1b[K")

    def text(self, text: str = "") -> None:
        """Print one line of a result."""
        _write(sys.stdout, _line(text) + "\n")

    def lines(self, text: str) -> None:
        """Print several lines of a result; text from outside in them must already be on one line."""
        _write(sys.stdout, _lines(text))

    def piece(self, text: str) -> None:
        """Print a part of a model's answer as it arrives, keeping its lines and tabs."""
        if _in_build():
            # Only a whole line shows whether it is a command, and nobody watches a CI log letter by letter.
            whole, end, self._held = (self._held + text).rpartition("\n")
            text = escape_commands(whole) + end
        _write(sys.stdout, escape_answer(text))

    def end_answer(self) -> None:
        """End the last line of an answer."""
        held, self._held = self._held, ""
        _write(sys.stdout, escape_commands(escape_answer(held)) + "\n")

    def json(self, text: str) -> None:
        """Print a result as JSON, including its line end."""
        _write(sys.stdout, escape_json(text))

    def json_value(self, value: object) -> None:
        """Print a value as JSON; in ASCII where the stream cannot say all of it."""
        text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
        if not _says(text, sys.stdout):
            text = json.dumps(value, indent=2, default=str)
        self.json(text + "\n")

    def csv(self, text: str) -> None:
        """Print a result as CSV with escaped cells; in a CI log its lines are not commands either."""
        _write(sys.stdout, escape_commands(text) if _in_build() else text)

    def bytes(self, file: BinaryIO) -> None:
        """Print a file as it is, which must not go to a terminal."""
        try:
            sys.stdout.flush()
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise ReaderGone from None

    def heading(self, text: str) -> None:
        """A heading between results."""
        self._styled([("1", text)])

    def tree(self, tree: ReportTree, *, note: bool = False) -> None:
        """An outline as a tree; on a terminal its first line is bold, and lines are fitted to the window.

        As a ``note`` it is no result.
        """
        stream = sys.stderr if note else sys.stdout
        window = _window() if self._for_terminal(stream) else None
        for guides, text in wrapped_tree(tree, window):
            self._styled([("2", _drawable(guides, stream)), ("" if guides else "1", text)], stream)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table: fitted to the window on a terminal, else in columns as wide as they need."""
        self.begin_table(header, rows)

    def room_beside(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
        """How wide a further column of a table may be; below 0 if the table has no room itself."""
        return _window() - sum(natural_widths(header, rows)) - GAP * len(header)

    def begin_table(
        self, header: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> Callable[[Sequence[str]], None]:
        """Print a table, and return what prints one more row of it, in columns as wide as those of ``rows``."""
        clean = [list(map(escape_flat, row)) for row in rows]
        header = list(map(escape_flat, header))
        widths = fitted_widths(header, clean, _window()) if self.pretty else natural_widths(header, clean)
        if widths is None:
            return self._begin_stacked(header, clean)
        right = numeric_columns(header, clean)
        style = "1"
        for line in column_lines(header, clean, widths):
            if not line.strip("- "):
                style = "2"
            self._styled([(style, line)])
            style = "" if style == "2" else style

        def add(row: Sequence[str]) -> None:
            for line in row_lines(list(map(escape_flat, row)), widths, right):
                self._styled([("", line)])

        return add

    def _begin_stacked(
        self, header: Sequence[str], rows: Sequence[Sequence[str]]
    ) -> Callable[[Sequence[str]], None]:
        """A table for a narrow window: one cell a line."""
        count = 0

        def add(row: Sequence[str]) -> None:
            nonlocal count
            count += 1
            clean = list(map(escape_flat, row))
            for line in stacked_lines(header, [clean], _window(), first_number=count):
                self._styled([("" if line.startswith(" ") else "1", line)])

        for row in rows:
            add(row)
        return add

    def note(self, text: str) -> None:
        """Print one line that is not a result to standard error."""
        _write(sys.stderr, _line(text) + "\n")

    def notes(self, text: str) -> None:
        """Print several lines that are not a result to standard error, as `lines` does."""
        _write(sys.stderr, _lines(text))

    def problems(self, text: str, *, note: bool = False) -> None:
        """Print rendered problems; on a terminal, what is wrong stands out from its source and its help.

        As a ``note`` they are no result.
        """
        for line in text.split("\n"):
            self._styled(_problem_parts(line), sys.stderr if note else sys.stdout)

    def remark(self, text: str) -> None:
        """A note that only somebody who watches needs: nothing is written where nobody does."""
        if self.attended:
            self.note(text)

    def status(self, text: str) -> None:
        """Show a line below all others until the next ``status``, to who watches standard error."""
        if self.attended and self._for_terminal(sys.stderr):
            _write(sys.stderr, f"\r\x1b[K{_line(text)[: _window() - 1]}")

    def _for_terminal(self, stream: TextIO | None) -> bool:
        dumb = os.environ.get("TERM") == "dumb"
        return _is_terminal(stream) and not (self.plain or dumb or os.environ.get("NO_COLOR"))

    def _styled(self, parts: Sequence[tuple[str, str]], stream: TextIO | None = None) -> None:
        """One line, of a result by default; each part with its style, the code of an escape sequence or nothing."""
        stream = stream or sys.stdout
        pretty = self._for_terminal(stream)
        line = ""
        for style, text in parts:
            text = escape_line(text)
            line += f"\x1b[{style}m{text}\x1b[0m" if pretty and style and text else text
        _write(stream, escape_commands(line) + "\n")


def _problem_parts(line: str) -> Sequence[tuple[str, str]]:
    """A line of a rendered problem, each part with its style."""
    if (found := _SEVERITY.search(line)) is not None:
        before, severity, rest = line[: found.start()], found[0], line[found.end() :]
        return [("", before), ("1;31" if severity.startswith("error") else "1;34", severity), ("1", rest)]
    if line.startswith("  = help:"):
        return [("36", line)]
    if line.startswith("  | "):
        return [("31" if not line.strip(" |^") else "2", line)]
    return [("", line)]


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number of things, each of them ``one``; ``many`` are them, where that takes more than an ``s``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _in_build() -> bool:
    return any(map(os.environ.get, _READERS))


def _line(text: str) -> str:
    return escape_commands(escape_line(text))


def _lines(text: str) -> str:
    return "".join(_line(line) + "\n" for line in text.split("\n"))


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _window() -> int:
    return shutil.get_terminal_size().columns


def _drawable(text: str, stream: TextIO | None) -> str:
    """The lines of a tree in ASCII where a stream can say no more."""
    return text if _says("├└│─", stream) else text.translate(_ASCII)


def _says(text: str, stream: TextIO | None) -> bool:
    """Whether the stream's encoding has the characters of ``text``."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None:  # closed by whoever started the process
        return
    # What the stream cannot say (an ASCII terminal, half a surrogate pair) is shown, not a crash.
    encoding = stream.encoding or "utf-8"
    try:
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        raise ReaderGone from None


writer = Writer()
"""The one writer of the process."""


def show_warnings() -> None:
    """Print the warnings of the logger ``routewright`` from now on, each once however often this is called."""
    logger = logging.getLogger("routewright")
    if not any(isinstance(handler, _OnStandardError) for handler in logger.handlers):
        logger.addHandler(_OnStandardError(logging.WARNING))


class _OnStandardError(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        # What the ledger logs is among its notices, which commands print when they end.
        if not record.name.startswith("routewright.ledger"):
            with suppress(ReaderGone, OSError):  # a warning that nobody reads stops nothing
                writer.note(f"warning: {record.getMessage()}")
