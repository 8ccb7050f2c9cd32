"""Checks everything a server sends: JSON is parsed within bounds, texts are cleaned and cut, the key is removed.

Never touches the network. A server may be broken or hostile; whatever it sends leaves here as data of bounded size.
``counts`` checks token counts.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, Final

from .sizes import MAX_VALUES, SMALL_SIZES, Sizes
from .values import HIDDEN, Room, TextIntake, Unreadable, joined

MAX_NAME_CHARACTERS: Final = 1_024
"""Characters of the name of a model or tool. Some servers name models by file paths."""

MAX_ID_CHARACTERS: Final = 16_384
"""Characters of a tool call's id, which is sent back unchanged: some servers keep kilobytes of signatures in it."""

_MAX_DEPTH: Final = 100
"""How deep the arguments of a tool may be nested."""

_SHOWN_CHARACTERS: Final = 300

_LEAST_SECRET: Final = 8
_LEASTHIDDEN: Final = 4
"""A shorter key is not removed from messages: removing such short strings would make them unreadable."""
_NO_SECRETS: Final = frozenset(
    {
        *("anything", "dummy-key", "fake-key", "lm-studio", "lmstudio", "no-key-required", "no-key-needed"),
        *("none-needed", "not-needed", "not-required", "placeholder", "sk-no-key-required", "unused-key"),
        *("change-me", "changeme", "password", "token-abc123", "your-api-key"),
    }
)
"""Placeholders that people use where a program wants a key and the server does not. They are not removed from texts."""

_MOST_CLEANED: Final = 2**14
"""Values that are searched for the key; more would block other calls."""

_ESCAPED_LETTER: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u00([2-7][0-9A-Fa-f])")
"""An escaped printable ASCII character of JSON, after any number of escaped backslashes.

No possessive quantifiers: before Python 3.11.5 they match too much (https://github.com/python/cpython/issues/100061).
"""

_NOT_JSON: Final = object()
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


class Gate:
    """Checks the answers of one server that was given ``key``; no value that leaves here contains the key."""

    __slots__ = ("_key", "_secret")

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        secret = key is not None and len(key) >= _LEAST_SECRET and key.lower() not in _NO_SECRETS
        self._secret = key if secret else None

    def parse(self, raw: bytes, sizes: Sizes = SMALL_SIZES) -> Any:
        """The parsed JSON of ``raw`` (UTF-8), with the key removed from all its texts.

        Lone surrogates stay: the other half may begin the next piece. Raises Unreadable, whose message completes a
        sentence that begins with "the answer".
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
                value = self._clean(value, None)
        except Unreadable:
            raise
        except (ValueError, RecursionError):
            value = _NOT_JSON
        if value is _NOT_JSON:  # raised here because the decoder's own error holds the whole text
            raise Unreadable(f"is not JSON: `{self.shown(raw)}`")
        return value

    def parse_or_none(self, raw: bytes) -> Any:
        """The same; ``None`` if it cannot be read."""
        try:
            return self.parse(raw)
        except Unreadable:
            return None

    def shown(self, raw: bytes) -> str:
        """The beginning of ``raw`` for a message. It is cut after the key is removed: half a key would not be found."""
        return self.message(raw[:2_000].decode(errors="replace"))[:200]

    def message(self, text: str) -> str:
        """``text`` on one line for a message, shortened and without the key."""
        if self._key is not None and len(self._key) >= _LEASTHIDDEN:
            text = text.replace(self._key, HIDDEN)
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
        """A text that arrives in pieces."""
        return TextIntake(room, self._secret)

    def _name(self, text: str, most: int) -> str:
        if self._secret is not None:
            text = text.replace(self._secret, HIDDEN)
        if len(text) > most:
            text = text[: most - 1] + "…"
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else "\ufffd" for c in joined(text))

    def _holds_key(self, text: str) -> bool:
        """Whether the JSON contains the key, however it is escaped. Raises Unreadable for too many escapes."""
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
            text = _ESCAPED_LETTER.sub(lambda found: found[1] + chr(int(found[2], 16)), text)
        return secret in (text.replace("\\/", "/") if "/" in secret else text)

    def _clean(self, value: Any, depth: int | None) -> Any:
        """``value`` without the key; with a ``depth``, also fit to be the arguments of a tool."""
        if depth == 0:
            raise Unreadable(f"arguments of a tool nested more than {_MAX_DEPTH} deep")
        below = None if depth is None else depth - 1
        match value:
            case str():
                value = value if depth is None else joined(value)
                return value if self._secret is None else value.replace(self._secret, HIDDEN)
            case list():
                return [self._clean(part, below) for part in value]
            case dict():
                return {self._clean(name, below): self._clean(part, below) for name, part in value.items()}
            case float() if depth is not None and not math.isfinite(value):
                raise Unreadable("arguments of a tool with a number that JSON cannot hold")
            case _:
                return value
