"""What a server says in one value: a text that comes in pieces, words, a count. All are of a bounded size. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

from routewright.engine.policy import MAX_EXACT

HIDDEN: Final = "[key]"
"""What stands in place of the key."""

MAX_WORDS_CHARACTERS: Final = 4_096
"""Characters of a server's error message that are searched for its meaning."""

MAX_COUNT: Final = MAX_EXACT
"""The greatest whole number that JSON, Python and the ledger agree on."""

_DIGITS: Final = len(str(MAX_COUNT))

_PIECES: Final = 1_024


class Unreadable(ValueError):
    """An answer that breaks the protocol or is too large; the message says what is wrong with it."""


class Room:
    """The bytes of text that all parts of one answer together may still have."""

    __slots__ = ("left", "most")

    def __init__(self, most: int) -> None:
        self.left = self.most = most

    def take(self, size: int) -> None:
        """Raises Unreadable if there is no room for it."""
        self.left -= size
        if self.left < 0:
            raise Unreadable(f"more than {self.most} bytes of text, too many for what was asked")


class TextIntake:
    """A text of an answer that arrives in pieces: halves of a character are joined, and the key is removed.

    A possible beginning of either is held back until the next piece or the end.
    """

    __slots__ = ("_chunks", "_held", "_pieces", "_room", "_secret", "characters")

    def __init__(self, room: Room, secret: str | None) -> None:
        self._room, self._secret = room, secret
        self._held = ""
        self._chunks: list[str] = []
        self._pieces: list[str] = []
        self.characters = 0

    def feed(self, piece: str) -> str:
        """The text that is certain now, perhaps empty. Raises Unreadable when the text has no more room."""
        secret = self._secret
        if self._held or not piece.isascii() or (secret is not None and secret[0] in piece):
            piece = self._certain(self._held + piece)
        return self._take(piece)

    def rest(self) -> str:
        """The text held back, once no other piece can follow."""
        if not self._held:
            return ""
        held, self._held = self._held, ""
        return self._take(joined(held))

    def whole(self) -> str:
        """All of the text so far, except what is held back."""
        return "".join([*self._chunks, *self._pieces])

    def _take(self, piece: str) -> str:
        self._room.take(len(piece) if piece.isascii() else len(piece.encode()))
        self.characters += len(piece)
        self._pieces.append(piece)
        if len(self._pieces) == _PIECES:
            # A million texts of two characters take fifty times the memory of one.
            self._chunks.append("".join(self._pieces))
            self._pieces.clear()
        return piece

    def _certain(self, text: str) -> str:
        held = len(text)
        secret = self._secret
        if secret is not None:
            text = text.replace(secret, HIDDEN)
            held = start = len(text)
            start = max(0, start - len(secret) + 1)
            while (start := text.find(secret[0], start)) >= 0:
                if secret.startswith(text[start:]):
                    held = start
                    break
                start += 1
        if text[held - 1 : held] and "\ud800" <= text[held - 1] <= "\udbff":
            held -= 1
        self._held = text[held:]
        return joined(text[:held])


def joined(text: str) -> str:
    """``text`` with surrogate pairs joined into characters, and U+FFFD for each lone surrogate.

    >>> joined("a\\ud83d\\ude00b\\ude00") == "a\\U0001f600b\\ufffd"
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def given(**fields: object) -> dict[str, Any]:
    """The fields of a request that have a value."""
    return {name: value for name, value in fields.items() if value is not None}


def words(value: object) -> str:
    """A field of a server's answer as text, to search or to quote: shortened, and empty for lists and objects."""
    if isinstance(value, str):
        return value[:MAX_WORDS_CHARACTERS]
    return str(value)[:MAX_WORDS_CHARACTERS] if isinstance(value, bool | int | float) else ""


def count_of(value: object) -> int | None:
    """``value`` as a whole number from 0 to ``MAX_COUNT``, the largest that can be recorded; otherwise ``None``.

    Some servers write ``12.0`` or ``"12"``.
    """
    if value is None:
        return None
    if isinstance(value, str) and len(value) <= _DIGITS and value.isascii() and value.isdecimal():
        value = int(value)
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
        return value
    return None


def vectors_of(lists: Iterable[Any]) -> tuple[tuple[float, ...], ...]:
    """Vectors of one length from lists of JSON. Raises Unreadable."""
    vectors = tuple(_vector(numbers) for numbers in lists)
    if len({len(vector) for vector in vectors}) > 1:
        raise Unreadable("vectors of different lengths")
    return vectors


def _vector(numbers: Any) -> tuple[float, ...]:
    try:
        # `math.fsum` looks at every number once: at types and at infinities, without a loop of ours.
        if isinstance(numbers, list) and numbers and math.isfinite(math.fsum(numbers)):
            return tuple(map(float, numbers))
    except (TypeError, ValueError, OverflowError):
        pass
    raise Unreadable("a vector that is no list of numbers")
