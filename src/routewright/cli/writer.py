"""What commands print: results to standard output, everything else to standard error.

Pretty (colours, fitted to the window) on a terminal only; ``NO_COLOR`` and ``--plain`` are honoured. Control
characters in what is printed are made visible: a prompt or a policy must not drive the terminal.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Writer", "writer"]

_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class Writer:
    """Writes to the standard streams as they are at the time of the call."""

    def __init__(self) -> None:
        self.plain = False

    @property
    def pretty(self) -> bool:
        """Whether results may be coloured."""
        return not self.plain and sys.stdout.isatty() and not os.environ.get("NO_COLOR")

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
        if self.pretty:
            self._console().print(f"[bold]{_literal(text)}[/bold]", highlight=False)
        else:
            self.text(text)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table: fitted to the window on a terminal, else in columns with two blanks between them."""
        clean = [[cell.translate(_VISIBLE).replace("\n", " ") for cell in row] for row in rows]
        if self.pretty:
            self._pretty_table(header, clean)
            return
        widths = [max(map(len, column)) for column in zip(header, *clean, strict=True)] if header else []
        for row in (header, ["-" * width for width in widths], *clean):
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.text("  ".join(cells).rstrip())

    def note(self, text: str) -> None:
        """Something that is not a result, on standard error."""
        _write(sys.stderr, text.translate(_VISIBLE) + "\n")

    def _console(self) -> Console:
        from rich.console import Console

        return Console(file=sys.stdout, soft_wrap=False)

    def _pretty_table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for name in header:
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        self._console().print(table)


def _write(stream: TextIO, text: str) -> None:
    # What the stream cannot say (an ASCII terminal, half a surrogate pair) is shown, not a crash.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
    stream.flush()


def _literal(text: str) -> str:
    from rich.markup import escape

    return escape(text.translate(_VISIBLE))


writer = Writer()
"""The one writer of the process."""
