"""Puts calls of tools together from the pieces in which OpenAI-compatible servers send them. Pure.

By the standard the first piece of a call has its ``index``, ``id`` and name, and each further piece the ``index`` and
some of the arguments, which are JSON in a text. Servers differ, so a call is told from the one before it as follows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from ..protocol import ToolCall
from ..wire import CALL_BYTES, ChatIntake, Unreadable, count_of

_MARKS: Final = re.compile(r'\\.?|["{}]', re.DOTALL)


class CallPieces:
    """The calls of one answer. ``intake`` bounds and cleans what the server sends."""

    def __init__(self, intake: ChatIntake) -> None:
        self._intake = intake
        self._calls: list[_Call] = []
        self._open: dict[int, _Call] = {}
        self._by_id: dict[tuple[int | None, str], _Call] = {}

    def take(self, piece: Mapping[str, Any], position: int) -> None:
        """Take in a piece, the one at ``position`` in its chunk. Raises Unreadable."""
        function = piece.get("function")
        function = function if isinstance(function, dict) else {}
        id, name, arguments = (_text(piece.get("id")), _text(function.get("name")), function.get("arguments"))
        given = count_of(piece.get("index"))
        index = position if given is None else given
        known = self._by_id.get((given, id))
        call = known or self._open.get(index)
        if call is None or (known is None and call.is_before(id, name, arguments)):
            call = _Call(index, self._intake)
            self._calls.append(call)
        self._open[index] = call
        if call.named(id, name):
            self._by_id[given, id] = call
        call.add(arguments)

    def whole(self, *, cut: bool) -> list[ToolCall]:
        """The calls, by their index. Raises Unreadable for one that is not whole.

        ``cut`` says that the answer ended at its greatest length. The call that the server was writing then is left
        out: nobody knows what it would have been.
        """
        calls = self._calls
        if cut and calls and not calls[-1].is_whole():
            calls = calls[:-1]
        calls = sorted(calls, key=lambda call: call.index)
        return [call.whole(position) for position, call in enumerate(calls)]


class _Call:
    def __init__(self, index: int, intake: ChatIntake) -> None:
        intake.take(CALL_BYTES)
        self.index = index
        self._intake, self._gate = intake, intake.gate
        self._id = self._name = ""
        self._raw_id = self._raw_name = ""
        self._arguments = intake.another()
        self._braces = _Braces()

    def is_before(self, id: str, name: str, arguments: object) -> bool:
        """Whether a piece with this index begins another call.

        Only one with a name does: vLLM has sent each piece with an id of its own. Another id is another call (Ollama
        gives all calls one index). Without ids (Gemini), another name is, or more arguments after whole ones.
        """
        if not name:
            return False
        if id and self._raw_id:
            return True
        return bool(self._raw_name) and (name != self._raw_name or self._has_more(arguments))

    def named(self, id: str, name: str) -> bool:
        """Note id and name where they are new; whether the id is now this call's."""
        if name and not self._raw_name:
            self._raw_name, self._name = name, self._kept(self._gate.name(name))
        if not id or (self._raw_id and not name):
            return False
        if id != self._raw_id:
            self._raw_id, self._id = id, self._kept(self._gate.identifier(id))
        return True

    def add(self, arguments: object) -> None:
        """Take in arguments, unless they repeat what came before as a whole."""
        if isinstance(arguments, dict):  # already an object, as some servers send it
            text = json.dumps(self._gate.arguments(arguments), ensure_ascii=False)
            self._arguments, self._braces = self._intake.another(), _Braces()
        elif isinstance(arguments, str) and not self._repeats(arguments):
            text = arguments
        else:
            return
        self._arguments.feed(text)
        self._braces.feed(text)

    def is_whole(self) -> bool:
        """Whether nothing is missing. Arguments that never began count as missing."""
        return bool(self._name) and self._braces.closed and self._parsed() is not None

    def whole(self, position: int) -> ToolCall:
        """The call; Unreadable if it is none."""
        if not self._name:
            raise Unreadable("a call of a tool without a name")
        arguments = self._parsed()
        if arguments is None:
            raise Unreadable(f"arguments of the tool `{self._name}` that are not a JSON object")
        return ToolCall(self._id or self._gate.identifier(f"call_{position}"), self._name, arguments)

    def _parsed(self) -> Mapping[str, Any] | None:
        self._arguments.rest()
        arguments = self._gate.parse_or_none(self._arguments.whole().encode() or b"{}")
        return self._gate.arguments(arguments) if isinstance(arguments, dict) else None

    def _has_more(self, arguments: object) -> bool:
        """Whether arguments come that do not belong to these, which are whole."""
        if not self._braces.closed or arguments in (None, ""):
            return False
        if isinstance(arguments, dict):
            return bool(self._gate.arguments(arguments) != self._parsed())
        return isinstance(arguments, str) and bool(arguments.strip()) and not self._repeats(arguments)

    def _repeats(self, arguments: str) -> bool:
        """Whether whole arguments come once more, perhaps with other blanks."""
        if not self._braces.closed or 2 * len(arguments) < self._arguments.characters:
            return False
        parsed = self._gate.parse_or_none(arguments.encode(errors="replace"))
        return isinstance(parsed, dict) and self._gate.arguments(parsed) == self._parsed()

    def _kept(self, text: str) -> str:
        """A name or id, which counts towards the size of the answer as text does."""
        self._intake.take(len(text.encode()))
        return text


class _Braces:
    """Follows the braces of a JSON text that comes in pieces, to tell when its object is closed without parsing it."""

    __slots__ = ("_depth", "_escaped", "_in_text", "_opened")

    def __init__(self) -> None:
        self._depth = 0
        self._escaped = self._in_text = self._opened = False

    @property
    def closed(self) -> bool:
        """Whether an object was opened, and all that was opened is closed."""
        return self._opened and self._depth == 0

    def feed(self, piece: str) -> None:
        """Take in the next piece."""
        if self._escaped and piece:
            piece, self._escaped = piece[1:], False
        for mark in _MARKS.findall(piece):
            if mark[0] == "\\":
                self._escaped = len(mark) == 1
            elif mark == '"':
                self._in_text = not self._in_text
            elif not self._in_text:
                self._depth += 1 if mark == "{" else -1
                self._opened = True


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
