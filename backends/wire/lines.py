"""Splits bytes into lines as they arrive, and reads the data of server-sent events.

Knows no network. The format of events is https://html.spec.whatwg.org/multipage/server-sent-events.html,
read as servers of language models write it: one line of data for each event, lines ended by LF or CRLF.
"""

from __future__ import annotations

from typing import Final

from .sizes import MAX_BODY_BYTES

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class LineTooLong(ValueError):
    """A line is longer than allowed."""


class LineSplitter:
    """Cuts a stream of bytes into lines, wherever the pieces were cut."""

    def __init__(self, *, max_line_bytes: int = MAX_BODY_BYTES) -> None:
        self._rest: list[bytes] = []
        self._held = 0
        self._max = max_line_bytes
        self._first = True

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``, without their line ends; raises LineTooLong."""
        head, *tail = piece.split(b"\n")
        self._rest.append(head)
        self._held += len(head)
        if self._held > self._max:
            raise LineTooLong
        if not tail:
            return []
        lines = [b"".join(self._rest), *tail]
        last = lines.pop()
        self._rest, self._held = [last], len(last)
        if self._first:
            self._first = False
            lines[0] = lines[0].removeprefix(_BYTE_ORDER_MARK)
        return [line.removesuffix(b"\r") for line in lines]

    def rest(self) -> bytes:
        """What came after the last line end."""
        return b"".join(self._rest)


def event_data(line: bytes) -> bytes | None:
    """The data of a line of an event stream; ``None`` for comments, blank lines and other fields."""
    if not line.startswith(b"data:"):
        return None
    return line[5:].strip()
