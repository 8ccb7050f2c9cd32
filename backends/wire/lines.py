"""Splits bytes into lines as they arrive, and lines into server-sent events. Knows no network.

The format of events is https://html.spec.whatwg.org/multipage/server-sent-events.html. What servers do beside it:

- The last event may end without a blank line. The standard drops it, and so does OpenAI's client; but half an object
  is not JSON, so what can be read has come whole.
- There may be no blank line between two events. JSON has no ``}`` that a ``{`` or ``[`` follows, so a line of data
  that would bring them together begins the next event.
- A line without ``data:`` may hold an error, or the whole stream may be one answer. What cannot be a field is data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from .sizes import MAX_BODY_BYTES
from .values import Unreadable

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_FIELD: Final = re.compile(rb"([A-Za-z][\w.-]*)[ \t]*(?:\Z|:)")

_EVENTS: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|error|event|id|retry|)[ \t]*:")
"""How a stream of events begins."""


_DONE: Final = b"[DONE]"

_LINE_BYTES: Final = 16
"""What a line takes of an event's room besides its bytes: an event could have millions of lines otherwise."""


class LineTooLong(ValueError):
    """A line is longer than allowed."""


class LineSplitter:
    """Cuts a stream of bytes into lines, wherever the pieces were cut. A line ends with LF, CR or both."""

    def __init__(self, *, max_line_bytes: int = MAX_BODY_BYTES) -> None:
        self._rest: list[bytes] = []
        self._held = 0
        self._max = max_line_bytes
        self._first = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The lines that end in ``piece``, without their line ends; raises LineTooLong."""
        if self._after_cr and piece:
            piece, self._after_cr = piece.removeprefix(b"\n"), False
        if not piece:
            return []
        lines = piece.splitlines()
        self._rest.append(lines[0])
        self._held += len(lines[0])
        if self._held > self._max:
            raise LineTooLong
        self._after_cr = piece.endswith(b"\r")
        ended = self._after_cr or piece.endswith(b"\n")
        if len(lines) == 1 and not ended:
            return []
        lines[0] = self.rest()
        self._first = False
        self._rest = [] if ended else [lines.pop()]
        self._held = 0 if ended else len(self._rest[0])
        return lines

    def rest(self) -> bytes:
        """What came after the last line end."""
        rest = b"".join(self._rest)
        return rest.removeprefix(_BYTE_ORDER_MARK) if self._first else rest


class Event(NamedTuple):
    """An event: its name, empty if the server gives none, and its data. ``bare`` is data without ``data:``."""

    name: str
    data: bytes
    bare: bool = False


class EventReader:
    """Puts the lines of a stream together to events, none with more than ``most`` bytes of data."""

    def __init__(self, most: int = MAX_BODY_BYTES) -> None:
        self._most = most
        self._name = ""
        self._lines: list[bytes] = []
        self._size = 0
        self._bare = False

    def feed(self, line: bytes) -> Event | None:
        """The event that ends with ``line``, or before it. Raises Unreadable for an event that is too large."""
        if not line:
            return self.rest() if self._lines or self._name else None
        if line.startswith(b"data:"):
            return self._take(line[5:].strip(), bare=False)
        if line.startswith(b":"):
            return None
        field = _FIELD.match(line)
        name = field[1].lower() if field else b""
        value = line[field.end() :].strip() if field else line.strip()
        if name == b"event":
            ended = self.rest() if self._name and self._lines else None
            self._name = value.decode(errors="replace").lower()
            return ended
        if name in (b"data", b"error"):
            ended = self._take(value, bare=False)
            if name == b"error":  # older llama.cpp writes a field where others write an event of that name
                self._name = "error"
            return ended
        if field and not self._bare and (name in (b"id", b"retry") or b"{" not in value):
            return None
        return self._take(line.strip(), bare=True)

    def rest(self) -> Event | None:
        """The event that is not ended yet, if it has data."""
        lines = self._lines
        event = None
        if lines:
            event = Event(self._name, lines[0] if len(lines) == 1 else b"\n".join(lines), self._bare)
        self._name, self._lines, self._size, self._bare = "", [], 0, False
        return event

    def _take(self, data: bytes, *, bare: bool) -> Event | None:
        """The event that the next line of data ends, if it ends one."""
        if not data:
            return None
        ended = None
        if self._lines and _opens(data) and (self._lines[-1].endswith(b"}") or self._lines == [_DONE]):
            ended = self.rest()
        if not self._lines:
            self._bare = bare
        self._lines.append(data)
        self._size += len(data) + _LINE_BYTES
        if self._size > self._most:
            raise Unreadable("an event that does not end")
        return self.rest() if data == _DONE and len(self._lines) == 1 and ended is None else ended


def events_in(body: bytes) -> Iterator[Event]:
    """The events of a whole body; none if it is not a stream of events."""
    if not _EVENTS.match(body):
        return
    lines, events = LineSplitter(max_line_bytes=len(body)), EventReader((1 + _LINE_BYTES) * len(body))
    for line in (*lines.feed(body), lines.rest(), b""):
        if (event := events.feed(line)) is not None:
            yield event


def _opens(value: bytes) -> bool:
    return value.startswith((b"{", b"["))
