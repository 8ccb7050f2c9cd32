"""Chat answers in the words of OpenAI's API, as ours: whole bodies, and the pieces of a stream.

Pure, and strict where it matters: what cannot be read raises Unreadable with a reason, and never becomes an empty
answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from .. import wire
from ..protocol import FinishReason, StreamEvent, ToolCall
from ..wire import ChatIntake, TextIntake, Unreadable, words
from .calls import CallPieces
from .usage import merged, read_timings, read_usage

# What servers say beside OpenAI's own four reasons. Reasons that mean a failure are not here on purpose.
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
}

_USAGE_FIELDS: Final = ("usage", "timings", "x_groq")


class ChatPieces(wire.ChatPieces):
    """A chat answer that grows piece by piece; a whole body is one piece.

    ``resumed`` says that something came after a finish reason: this server's reasons do not tell when it has ended.
    """

    def __init__(self, intake: ChatIntake | None = None) -> None:
        super().__init__(intake)
        self.resumed = False
        self._refusal: TextIntake | None = None
        self._calls = CallPieces(self._intake)
        self._choice: object = None
        self._early: FinishReason | None = None
        self._timed = False

    @property
    def refusal(self) -> str:
        """What the model says if it refuses to answer; otherwise empty."""
        return self._refusal.whole() if self._refusal is not None else ""

    def feed(self, piece: Any, *, whole: bool = False) -> list[StreamEvent]:
        """Take in a chunk of a stream, or a ``whole`` body; the events are what it adds. Raises Unreadable."""
        choices = piece.get("choices") if isinstance(piece, dict) else None
        if not isinstance(choices, list):
            if not isinstance(piece, dict) or whole or not _is_aside(piece):
                raise Unreadable("no `choices` in it")
            choices = []
        self._note_model(piece.get("model"))
        choice = self._choose(choices)
        self._note_usage(piece, choice)
        if choice is None:
            return []  # the last chunk of a stream holds the usage alone
        events = self._add(self._said(choice, whole))
        self._finish(choice.get("finish_reason"))
        return events

    def end(self) -> None:
        """The server says that the stream is over: a finish reason that came before the last of the text counts."""
        if self.finished is None:
            self.finished = self._early

    def calls(self) -> Sequence[ToolCall]:
        """The calls of tools, by their index. One that the answer's length has cut is left out. Raises Unreadable."""
        calls = self._calls.whole(cut=self.finished == "length")
        if self.finished == "tool_calls" and not calls and not self._intake.text.characters:
            raise Unreadable("the finish reason `tool_calls`, and no call of a tool")
        return calls

    def _choose(self, choices: Sequence[Any]) -> Mapping[str, Any] | None:
        """The choice that is ours. One is asked for; if a server gives more, the answer is that of the first."""
        for choice in choices:
            if not isinstance(choice, dict):
                raise Unreadable("a choice that is no object")
            index = choice.get("index") or 0
            if self._choice is None:
                self._choice = index
            if index == self._choice:
                return choice
        return None

    def _said(self, choice: Mapping[str, Any], whole: bool) -> Mapping[str, Any]:
        """What a choice says. Some servers repeat in each chunk, as a ``message``, all that came so far."""
        message, delta = choice.get("message"), choice.get("delta")
        if whole or (not isinstance(delta, dict) and not self.begun):
            said = message if isinstance(message, dict) else delta
        else:
            said = delta
        return said if isinstance(said, dict) else {}

    def _add(self, said: Mapping[str, Any]) -> list[StreamEvent]:
        # Two names are in use; a server that sends both says the same in both.
        thinking = said.get("reasoning_content") or said.get("reasoning")
        content = said.get("content")
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "".join(text for text in texts if isinstance(text, str))
        if content is not None and not isinstance(content, str):
            raise Unreadable("content that is no text")
        thinking = thinking if isinstance(thinking, str) else ""
        calls = said.get("tool_calls")
        calls = calls if isinstance(calls, list) else []
        if isinstance(function := said.get("function_call"), dict):  # before there were several
            calls = [*calls, {"function": function}]
        if self.finished is not None and (content or thinking or calls):
            self._early, self.finished, self.resumed = self.finished, None, True
        events = self._texts(thinking, content or "")
        if isinstance(refusal := said.get("refusal"), str) and refusal:
            if self._refusal is None:
                self._refusal = self._intake.another()
            self._refusal.feed(refusal)
        for position, call in enumerate(calls):
            if not isinstance(call, dict):
                raise Unreadable("a call of a tool that is no object")
            self._calls.take(call, position)
            self.begun = True
        return events

    def _finish(self, reason: object) -> None:
        """Note a finish reason. Servers write an empty one before the real one, and a bare ``stop`` after it."""
        if reason is None or reason == "":
            return
        finished = _FINISH_REASONS.get(words(reason).lower())
        if finished is None:
            raise Unreadable(f"the finish reason `{words(reason)}`")
        if finished != "stop" or self.finished is None:
            self.finished = finished

    def _note_usage(self, piece: Mapping[str, Any], choice: Mapping[str, Any] | None) -> None:
        """Note what a chunk says of the usage: beside the choices, inside one (Moonshot), or in a field of Groq's."""
        groq = piece.get("x_groq")
        usage = piece.get("usage") or (choice or {}).get("usage")
        usage = usage or (groq.get("usage") if isinstance(groq, dict) else None)
        if isinstance(usage, dict):
            self.usage = merged(None if self._timed else self.usage, read_usage(usage))
            self._timed = False
        elif (self.usage is None or self._timed) and (timed := read_timings(piece.get("timings"))):
            self.usage, self._timed = timed, True


def _is_aside(piece: Mapping[str, Any]) -> bool:
    """Whether an event without choices is none of the answer: a ping, or the usage alone.

    Anything else may be a part of the answer that was damaged on its way.
    """
    if "type" in piece:
        return True
    return not any(
        isinstance(value, list | dict) and name not in _USAGE_FIELDS for name, value in piece.items()
    )
