"""What commands print: results to standard output, everything else to standard error.

Pretty (bold, colours, fitted to the window) on a terminal only; ``NO_COLOR``, ``TERM=dumb`` and ``--plain`` are
honoured. Control characters in what is printed are made visible: a prompt or a policy must not drive the
terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from .table import column_lines, fits, numeric_columns, stacked_lines
from .tree import wrapped_tree

if TYPE_CHECKING:
    from routewright.engine.decision.outline import Outline

__all__ = ["ReaderGone", "Writer", "writer"]

_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}
_ASCII = str.maketrans({"├": "|", "└": "`", "│": "|", "─": "-"})


class ReaderGone(Exception):
    """Whoever read our output has stopped reading."""


class Writer:
    """Writes to the standard streams as they are at the time of the call."""

    def __init__(self) -> None:
        self.plain = False

    @property
    def pretty(self) -> bool:
        """Whether results are for a terminal that may be given colours."""
        return self._for_terminal(sys.stdout)

    @property
    def attended(self) -> bool:
        """Whether somebody watches standard error: progress and remarks are for them alone."""
        return _is_terminal(sys.stderr)

    def text(self, text: str = "") -> None:
        """A result as it is, and a line end; safe for a terminal."""
        _write(sys.stdout, text.translate(_VISIBLE) + "\n")

    def piece(self, text: str) -> None:
        """A part of a result as it comes, without a line end; safe for a terminal."""
        _write(sys.stdout, text.translate(_VISIBLE))

    def raw(self, text: str) -> None:
        """A result that another program reads: every character as it is."""
        _write(sys.stdout, text)

    def heading(self, text: str) -> None:
        """A heading between results."""
        self._styled([("1", text)])

    def tree(self, outline: Outline, *, note: bool = False) -> None:
        """An outline as a tree; on a terminal its first line is bold, and lines are fitted to the window.

        As a ``note`` it is no result.
        """
        stream = sys.stderr if note else sys.stdout
        window = _window() if self._for_terminal(stream) else None
        for guides, text in wrapped_tree(outline, window):
            self._styled([("2", _drawable(guides, stream)), ("" if guides else "1", text)], stream)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table: fitted to the window on a terminal, else in columns as wide as they need."""
        clean = [[cell.translate(_VISIBLE).replace("\n", " ") for cell in row] for row in rows]
        if not self.pretty:
            for line in column_lines(header, clean):
                self.text(line)
        elif fits(header, clean, _window()):
            self._pretty_table(header, clean)
        else:
            for line in stacked_lines(header, clean):
                self._styled([("" if line.startswith(" ") else "1", line)])

    def note(self, text: str) -> None:
        """Something that is not a result, on standard error."""
        _write(sys.stderr, text.translate(_VISIBLE) + "\n")

    def remark(self, text: str) -> None:
        """A note that only somebody who watches needs: nothing is written where nobody does."""
        if self.attended:
            self.note(text)

    def _for_terminal(self, stream: TextIO | None) -> bool:
        dumb = os.environ.get("TERM") == "dumb"
        return _is_terminal(stream) and not (self.plain or dumb or os.environ.get("NO_COLOR"))

    def _styled(self, parts: Sequence[tuple[str, str]], stream: TextIO | None = None) -> None:
        """One line, of a result by default; each part with its style, the code of an escape sequence or nothing."""
        stream = stream or sys.stdout
        pretty = self._for_terminal(stream)
        line = ""
        for style, text in parts:
            text = text.translate(_VISIBLE)
            line += f"\x1b[{style}m{text}\x1b[0m" if pretty and style and text else text
        _write(stream, line + "\n")

    def _pretty_table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name, right in zip(header, numeric_columns(header, rows), strict=True):
            table.add_column(Text(name), overflow="fold", justify="right" if right else "left")
        for row in rows:
            table.add_row(*map(Text, row))
        console = Console(width=_window(), force_terminal=True)
        with console.capture() as lines:
            console.print(table)
        _write(sys.stdout, lines.get())


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _window() -> int:
    return shutil.get_terminal_size().columns


def _drawable(text: str, stream: TextIO | None) -> str:
    """The lines of a tree in ASCII where a stream can say no more."""
    try:
        "├└│─".encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return text.translate(_ASCII)
    return text


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
