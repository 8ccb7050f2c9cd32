"""The gate for what a server says: JSON is read within bounds, texts are cleaned and cut, the key is taken out.

Knows no network. A server may be wrong, or hostile: whatever it sends is data of a bounded size when it leaves here.
Token counts are checked in ``untrusted_counts``.
"""

from __future__ import annotations

import json
import math
import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_COUNT",
    "MAX_ERROR_BYTES",
    "MAX_ID_CHARACTERS",
    "MAX_LISTS",
    "MAX_NAME_CHARACTERS",
    "MAX_VALUES",
    "MAX_WORDS_CHARACTERS",
    "SMALL_SIZES",
    "STREAM_BYTES",
    "STREAM_BYTES_PER_TOKEN",
    "TEXT_BYTES",
    "TEXT_BYTES_PER_TOKEN",
    "UNASKED_TOKENS",
    "UNKNOWN_DIMENSIONS",
    "VECTOR_BYTES_PER_NUMBER",
    "Gate",
    "Room",
    "Sizes",
    "TextIntake",
    "Unreadable",
    "chat_sizes",
    "count_of",
    "joined",
    "vector_sizes",
    "words",
]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""Of an answer that comes as one piece of JSON, and of one line of a stream, beside what was asked for."""

MAX_ERROR_BYTES: Final = 64 * 1024
"""Of the body of an error: what comes after it is not read."""

MAX_LISTS: Final = 2**17
"""Lists and objects in one piece of JSON: each takes a hundred bytes of memory, and only two on the wire."""

MAX_VALUES: Final = 2**18
"""Values in one piece of JSON, which its commas tell apart."""

STREAM_BYTES: Final = 16 * 1024 * 1024
STREAM_BYTES_PER_TOKEN: Final = 4 * 1024
"""Of a whole stream, with all that stands around its text: the second for each token asked for."""

TEXT_BYTES: Final = 1024 * 1024
TEXT_BYTES_PER_TOKEN: Final = 256
"""Of text, thoughts and arguments of tools together, in UTF-8: the second for each token asked for.

The best vocabularies reach five bytes a token on prose; a single token may be a run of a hundred blanks.
"""

UNASKED_TOKENS: Final = 16_384
"""What a call is taken to ask for that does not bound its answer: there is room for a million tokens of prose."""

VECTOR_BYTES_PER_NUMBER: Final = 32
"""A double has 17 digits, a sign, a point and an exponent: 25 bytes with the comma, and blanks."""

UNKNOWN_DIMENSIONS: Final = 16_384
"""How long a vector may be where nobody said: four times the longest in use."""

MAX_NAME_CHARACTERS: Final = 1_024
"""Of the name of a model or a tool. Servers name models by file paths, too."""

MAX_ID_CHARACTERS: Final = 16_384
"""Of the id of a tool call, which is sent back as it came: some servers keep signatures of kilobytes in it."""

MAX_WORDS_CHARACTERS: Final = 4_096
"""Of what a server says about a failure: so much is searched for what it means."""

MAX_COUNT: Final = 2**53 - 1
"""The greatest whole number that JSON, Python and the ledger agree on."""

_MAX_DEPTH: Final = 100
"""How deep the arguments of a tool may be nested."""

_SHOWN_CHARACTERS: Final = 300

_LEAST_SECRET: Final = 8
_LEAST_HIDDEN: Final = 4
"""A shorter key stays in messages: nobody can read one that lacks a letter."""
_NO_SECRETS: Final = frozenset(
    {
        *("anything", "dummy-key", "fake-key", "lm-studio", "lmstudio", "no-key-required", "no-key-needed"),
        *("none-needed", "not-needed", "not-required", "placeholder", "sk-no-key-required", "unused-key"),
        *("change-me", "changeme", "password", "token-abc123", "your-api-key"),
    }
)
"""What people write where a program wants a key and the server does not. A text that has such a word keeps it."""

_MOST_CLEANED: Final = 2**14
"""Looking through more values for the key would hold up everybody else."""

_ESCAPED_LETTER: Final = re.compile(
    r"((?:[^\\]++|\\(?!u00[2-7])(?:u.{4}|.))++)|\\u00([2-7][0-9A-Fa-f])", re.DOTALL
)
"""Either a stretch of JSON without escaped printable ASCII, or one such character."""

_PIECES: Final = 1_024
_HIDDEN: Final = "[key]"
_NOT_JSON: Final = object()
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Unreadable(ValueError):
    """An answer that is not what the protocol promises, or too large; the text says what is wrong with it."""


class Sizes(NamedTuple):
    """How large an answer may be: the bytes of a piece of JSON, its lists and objects, its values; the bytes of a
    whole stream, and those of its text.
    """

    body: int = MAX_BODY_BYTES
    lists: int = MAX_LISTS
    values: int = MAX_VALUES
    stream: int = STREAM_BYTES
    text: int = TEXT_BYTES


SMALL_SIZES: Final = Sizes()
"""Of answers whose size does not depend on what was asked."""


@lru_cache
def chat_sizes(asked_tokens: int | None) -> Sizes:
    """For a chat of at most ``asked_tokens`` of output; ``None``: the request does not bound it."""
    tokens = UNASKED_TOKENS if asked_tokens is None else asked_tokens
    text = TEXT_BYTES_PER_TOKEN * tokens
    return Sizes(
        body=MAX_BODY_BYTES + text,
        stream=STREAM_BYTES + STREAM_BYTES_PER_TOKEN * tokens,
        text=TEXT_BYTES + text,
    )


def vector_sizes(texts: int, dimensions: object) -> Sizes:
    """For the vectors of so many texts; what is no positive number of dimensions is unknown."""
    known = isinstance(dimensions, int) and not isinstance(dimensions, bool) and dimensions > 0
    numbers = texts * (dimensions if known and isinstance(dimensions, int) else UNKNOWN_DIMENSIONS)
    return Sizes(
        MAX_BODY_BYTES + VECTOR_BYTES_PER_NUMBER * numbers, MAX_LISTS + 4 * texts, MAX_VALUES + numbers
    )


class Gate:
    """What one server says, which was given ``key``: no value that leaves here holds it."""

    __slots__ = ("_key", "_secret")

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        secret = key is not None and len(key) >= _LEAST_SECRET and key.lower() not in _NO_SECRETS
        self._secret = key if secret else None

    def parse(self, raw: bytes, sizes: Sizes = SMALL_SIZES) -> Any:
        """JSON in UTF-8, the key taken out of all its texts.

        Lone surrogates stay: the other half may be at the beginning of the next piece. Raises Unreadable, whose text
        goes on after "the answer".
        """
        if len(raw) > sizes.lists:
            if raw.count(b"[") + raw.count(b"{") > sizes.lists:
                raise Unreadable(f"has more than {sizes.lists} lists and objects")
            if raw.count(b",") > sizes.values:
                raise Unreadable(f"has more than {sizes.values} values")
        value: Any = _NOT_JSON
        try:
            text = raw.removeprefix(_BYTE_ORDER_MARK).decode("utf-8", "surrogatepass")
            value = json.loads(text)
            if self._secret is not None and self._holds_key(text):
                if text.count(",") + text.count("[") + text.count("{") > _MOST_CLEANED:
                    raise Unreadable("repeats the key that the server was given")
                value = self._without_key(value)
        except Unreadable:
            raise
        except (ValueError, RecursionError):
            value = _NOT_JSON
        if value is _NOT_JSON:  # raised here, as the decoder's own error holds the whole text
            raise Unreadable(f"is not JSON: `{self.shown(raw)}`")
        return value

    def parse_or_none(self, raw: bytes) -> Any:
        """The same, ``None`` for what cannot be read."""
        try:
            return self.parse(raw)
        except Unreadable:
            return None

    def shown(self, raw: bytes) -> str:
        """The beginning of what came, fit for a message. Cut after the key was looked for: half of it is not found."""
        return self.message(raw[:2_000].decode(errors="replace"))[:200]

    def message(self, text: str) -> str:
        """``text`` in one line, shortened, without the key: fit for a message."""
        if self._key is not None and len(self._key) >= _LEAST_HIDDEN:
            text = text.replace(self._key, _HIDDEN)
        text = " ".join("".join(c if c.isprintable() else " " for c in text[:2_000]).split())
        return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"

    def name(self, text: str) -> str:
        """The name of a model or a tool: no control characters or lone surrogates, at most ``MAX_NAME_CHARACTERS``."""
        return self._name(text, MAX_NAME_CHARACTERS)

    def identifier(self, text: str) -> str:
        """The id of a call, likewise, at most ``MAX_ID_CHARACTERS``."""
        return self._name(text, MAX_ID_CHARACTERS)

    def arguments(self, value: Any) -> Any:
        """The arguments of a tool: every text whole, without lone surrogates. Raises Unreadable for deep nesting."""
        return self._clean(value, _MAX_DEPTH)

    def text(self, room: Room) -> TextIntake:
        """A text that comes piece by piece."""
        return TextIntake(room, self._secret)

    def _name(self, text: str, most: int) -> str:
        if self._secret is not None:
            text = text.replace(self._secret, _HIDDEN)
        if len(text) > most:
            text = text[: most - 1] + "…"
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else "\ufffd" for c in joined(text))

    def _holds_key(self, text: str) -> bool:
        """Whether JSON holds the key, however it is written; raises Unreadable for what hides too much of its text."""
        secret = self._secret
        assert secret is not None
        if secret in text:
            return True
        if "\\" not in text:
            return False
        if '"' in secret or "\\" in secret:
            return True
        hidden = sum(text.count(f"\\u00{digit}") for digit in "234567") if "\\u00" in text else 0
        if hidden > MAX_VALUES:
            raise Unreadable(f"has more than {MAX_VALUES} letters written as escapes")
        if hidden:
            text = _ESCAPED_LETTER.sub(lambda found: found[1] or chr(int(found[2], 16)), text)
        return secret in (text.replace("\\/", "/") if "/" in secret else text)

    def _without_key(self, value: Any) -> Any:
        match value:
            case str():
                return value.replace(self._secret, _HIDDEN) if self._secret is not None else value
            case list():
                return [self._without_key(part) for part in value]
            case dict():
                return {self._without_key(name): self._without_key(part) for name, part in value.items()}
            case _:
                return value

    def _clean(self, value: Any, depth: int) -> Any:
        if depth == 0:
            raise Unreadable(f"arguments of a tool nested more than {_MAX_DEPTH} deep")
        match value:
            case str():
                value = joined(value)
                return value if self._secret is None else value.replace(self._secret, _HIDDEN)
            case list():
                return [self._clean(part, depth - 1) for part in value]
            case dict():
                return {
                    self._clean(name, depth - 1): self._clean(part, depth - 1) for name, part in value.items()
                }
            case float() if not math.isfinite(value):
                raise Unreadable("arguments of a tool with a number that JSON cannot hold")
            case _:
                return value


class Room:
    """How many bytes of text one answer may still have, in all its parts together."""

    __slots__ = ("left", "most")

    def __init__(self, most: int) -> None:
        self.left = self.most = most

    def take(self, size: int) -> None:
        """Raises Unreadable when there is no room for it."""
        self.left -= size
        if self.left < 0:
            raise Unreadable(f"more than {self.most} bytes of text, too many for what was asked")


class TextIntake:
    """A text of an answer that comes piece by piece: halves of a character are joined, and the key is taken out.

    What may be the beginning of either is held back until the next piece, or the end.
    """

    __slots__ = ("_chunks", "_held", "_pieces", "_room", "_secret", "characters")

    def __init__(self, room: Room, secret: str | None) -> None:
        self._room, self._secret = room, secret
        self._held = ""
        self._chunks: list[str] = []
        self._pieces: list[str] = []
        self.characters = 0

    def feed(self, piece: str) -> str:
        """What of the text is certain now; may be empty. Raises Unreadable when the text has no more room."""
        secret = self._secret
        if self._held or not piece.isascii() or (secret is not None and secret[0] in piece):
            piece = self._certain(self._held + piece)
        return self._take(piece)

    def rest(self) -> str:
        """What was held back: there is no other half."""
        if not self._held:
            return ""
        held, self._held = self._held, ""
        return self._take(joined(held))

    def whole(self) -> str:
        """All of the text so far, but for what is held back."""
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
            text = text.replace(secret, _HIDDEN)
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
    """``text`` with surrogate pairs as the characters that they mean, and U+FFFD for each surrogate that is alone.

    >>> joined("a\\ud83d\\ude00b\\ude00") == "a\\U0001f600b\\ufffd"
    True
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def words(value: object) -> str:
    """What a server says in a field that holds words, to search or to quote: cut, and empty for lists and objects."""
    if isinstance(value, str):
        return value[:MAX_WORDS_CHARACTERS]
    return str(value)[:MAX_WORDS_CHARACTERS] if isinstance(value, bool | int | float) else ""


def count_of(value: object) -> int | None:
    """``value`` if it is a whole number from 0 to ``MAX_COUNT``, the most that can be recorded; else ``None``."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT:
        return value
    return None
