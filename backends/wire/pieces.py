"""Puts a chat answer together from the pieces that a server sends; the dialects say how a piece is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from ..phases import CallClock
from ..protocol import (
    ChatAnswer,
    FinishReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Timings,
    ToolCall,
    Usage,
)
from .counts import NOT_COUNTED, ChatIntake
from .failures import unreadable
from .values import Unreadable


class ChatPieces(ABC):
    """A chat answer that grows piece by piece. ``intake`` checks what the server sends.

    ``finished`` is the server's finish reason in our words, as soon as it is known. ``begun`` says whether anything of
    the answer has come: text, thinking, or a call of a tool.
    """

    def __init__(self, intake: ChatIntake | None = None) -> None:
        self.finished: FinishReason | None = None
        self.begun = False
        self.usage: Usage | None = None
        self.model_said: str | None = None
        self._intake = intake or ChatIntake()
        self._model: str | None = None

    @abstractmethod
    def feed(self, piece: Any, *, whole: bool = False) -> list[StreamEvent]:
        """Take in a piece, or the ``whole`` answer; the events are what it adds. Raises Unreadable."""

    @abstractmethod
    def calls(self) -> Sequence[ToolCall]:
        """The calls of tools, in order. Raises Unreadable."""

    def take(
        self, piece: Any, clock: CallClock, *, streamed: bool = True, whole: bool = False
    ) -> list[StreamEvent]:
        """The same for ``clock``, which is told of the tokens of a stream. Raises BackendError."""
        try:
            events = self.feed(piece, whole=whole)
        except Unreadable as error:
            raise unreadable(error, clock, self._intake.gate) from error
        if streamed and self.begun and (self.finished is None or clock.first_token_us is None):
            clock.token()
        return events

    def answer(self, timings: Timings, *, truncated: bool = False) -> ChatAnswer:
        """The answer so far, which must be finished. Raises Unreadable."""
        if self.finished is None:
            raise Unreadable("no finish reason")
        calls = tuple(self.calls())
        finished = self.finished
        # Ollama and some others end a call of a tool with `stop`, and vLLM a text with `tool_calls`.
        if finished in ("stop", "tool_calls"):
            finished = "tool_calls" if calls else "stop"
        return ChatAnswer(
            self._intake.text.whole(),
            finished,
            self._intake.checked(self.usage or NOT_COUNTED, truncated=truncated),
            self.model_said,
            timings,
            thinking=self._intake.thinking.whole() or None,
            tool_calls=calls,
            truncated=truncated,
        )

    def _note_model(self, name: object) -> None:
        if isinstance(name, str) and name and name != self._model:
            self._model, self.model_said = name, self._intake.gate.name(name)

    def _texts(self, thinking: str, content: str) -> list[StreamEvent]:
        """What can be shown of both."""
        events: list[StreamEvent] = []
        if thinking:
            self.begun = True
            if thinking := self._intake.thinking.feed(thinking):
                events.append(ThinkingDelta(thinking))
        if content:
            self.begun = True
            if content := self._intake.text.feed(content):
                events.append(TextDelta(content))
        return events


def own_name(said: str | None, asked: str, model: str) -> str | None:
    """The model that an answer names; ``model`` if that is the local-only name under which it was ``asked`` for."""
    return model if said == asked and asked.endswith(":local") else said
