"""Answers in the words of Ollama's API, as ours: the lines of a chat put together, embeddings, counts, times.

Pure, and strict where it matters: what cannot be read raises Unreadable, and never becomes an empty answer.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..protocol import (
    ChatAnswer,
    ChatRequest,
    FinishReason,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    Timings,
    ToolCall,
    Usage,
)
from ..wire import CALL_BYTES, ChatIntake, Unreadable, count_of, words

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "": "stop",  # `done` alone, as older servers end: the answer came to its end
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "content_filter": "content_filter",
}

# The best vocabularies reach 4 to 5 bytes a token on English prose, and less on all else. Runs of one character,
# such as indents and rulers, can be a token however long they are, and are shortened before they are measured.
_MOST_BYTES_PER_TOKEN: Final = 6
_BYTES_PER_TOKEN_IN_WINDOW: Final = 5
_RUN: Final = re.compile(r"(.)\1{4,}", re.DOTALL)


class ChatPieces:
    """A chat answer that grows line by line. ``intake`` checks what the server sends.

    ``finished`` is set by the line with ``done``, ``begun`` by the first text, thinking or call of a tool.
    """

    def __init__(self, intake: ChatIntake | None = None) -> None:
        self.finished: FinishReason | None = None
        self.begun = False
        self.usage: Usage | None = None
        self.load_us: int | None = None
        self.model_said: str | None = None
        self._intake = intake or ChatIntake()
        self._model: str | None = None
        self._calls: list[ToolCall] = []

    def feed(self, line: Any) -> list[StreamEvent]:
        """Take in a line; the events are what it adds. Raises Unreadable."""
        if not isinstance(line, Mapping):
            raise Unreadable("a line that is no object")
        done = line.get("done", False)
        if not isinstance(done, bool):
            raise Unreadable("`done` that is neither true nor false")
        self._note_model(line)
        message = line.get("message", {} if done else None)
        if not isinstance(message, Mapping):
            raise Unreadable("a line without a `message`")
        events: list[StreamEvent] = []
        if thinking := _text(message, "thinking"):
            self.begun = True
            if thinking := self._intake.thinking.feed(thinking):
                events.append(ThinkingDelta(thinking))
        if content := _text(message, "content"):
            self.begun = True
            if content := self._intake.text.feed(content):
                events.append(TextDelta(content))
        calls = message.get("tool_calls") or ()
        if not isinstance(calls, list | tuple):
            raise Unreadable("`tool_calls` that are no list")
        for call in calls:
            self._calls.append(_tool_call(call, len(self._calls), self._intake))
        self.begun = self.begun or bool(self._calls)
        if done:
            self._finish(line)
            events += self._intake.rest()
        return events

    def answer(self, timings: Timings, *, truncated: bool) -> ChatAnswer:
        """The finished answer."""
        # INVARIANT: only called when `finished` is set, and with it the usage.
        assert self.finished is not None and self.usage is not None
        # Ollama ends a call of a tool with `stop`.
        reason = "tool_calls" if self._calls and self.finished == "stop" else self.finished
        return ChatAnswer(
            self._intake.text.whole(),
            reason,
            self._intake.checked(self.usage, truncated=truncated),
            self.model_said,
            timings,
            thinking=self._intake.thinking.whole() or None,
            tool_calls=tuple(self._calls),
            truncated=truncated,
        )

    def _note_model(self, line: Mapping[str, Any]) -> None:
        # A stub answers under its own name; `remote_model` is what really ran.
        for name in ("remote_model", "model"):
            model = line.get(name)
            if isinstance(model, str) and model:
                if model != self._model:
                    self._model, self.model_said = model, self._intake.gate.name(model)
                break

    def _finish(self, line: Mapping[str, Any]) -> None:
        reason = line.get("done_reason") or ""
        if reason in ("load", "unload"):
            raise Unreadable(f"the server only had to {reason} the model, and did not answer")
        if not isinstance(reason, str) or reason not in _FINISH_REASONS:
            raise Unreadable(f"the `done_reason` `{words(reason)}`")
        self.usage = count_usage(line, said_something=self.begun)
        self.load_us = load_us(line)
        self.finished = _FINISH_REASONS[reason]


def count_usage(body: Mapping[str, Any], *, said_something: bool) -> Usage:
    """The counts of a last line or an embedding.

    The server leaves out what is 0. A prompt of no tokens does not exist, so its count is then unknown; an
    answer of no tokens does, but only where nothing was said.
    """
    prompt, output = count_of(body.get("prompt_eval_count")), count_of(body.get("eval_count"))
    if not output:
        output = None if said_something or not prompt else 0
    return Usage(prompt or None, None, output, None, "reported")


def load_us(body: Mapping[str, Any]) -> int | None:
    """How long loading took: ``load_duration`` is in nanoseconds, and left out when 0. ``None``: not said."""
    loading = count_of(body.get("load_duration"))
    if loading is None:
        return 0 if count_of(body.get("total_duration")) else None
    return loading // 1_000


def was_truncated(request: ChatRequest, body: Mapping[str, Any], usage: Usage) -> bool:
    """Whether the server must have left out part of the prompt: it counts fewer tokens than the text has.

    A server does not say so. With the window known, a prompt that fills it whole, or that cannot have fitted,
    counts too. What is only slightly too long cannot be noticed.
    """
    count = usage.input_tokens
    if count is None:
        return False
    texts = [message.content for message in request.messages]
    if _bytes(texts) <= count * _BYTES_PER_TOKEN_IN_WINDOW:
        size = 0  # as most often: it need not be looked at closely
    else:
        size = _bytes([_RUN.sub(r"\1\1\1\1", text) for text in texts])
    options = body.get("options")
    window = options.get("num_ctx") if isinstance(options, Mapping) else None
    if isinstance(window, int) and (count >= window or size > window * _BYTES_PER_TOKEN_IN_WINDOW):
        return True
    return size > count * _MOST_BYTES_PER_TOKEN


def read_vectors(body: Any, count: int) -> tuple[tuple[float, ...], ...]:
    """The vectors of ``/api/embed``, one for each text. Raises Unreadable."""
    vectors = body.get("embeddings") if isinstance(body, Mapping) else None
    if not isinstance(vectors, list):
        raise Unreadable("no `embeddings` in it")
    if len(vectors) != count:
        raise Unreadable(f"{len(vectors)} vectors for {count} texts")
    read = tuple(_vector(vector) for vector in vectors)
    if len({len(vector) for vector in read}) > 1:
        raise Unreadable("vectors of different lengths")
    return read


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode(errors="replace")) for text in texts)


def _vector(numbers: Any) -> tuple[float, ...]:
    if not isinstance(numbers, Sequence) or isinstance(numbers, str) or not numbers:
        raise Unreadable("a vector that is no list of numbers")
    try:
        finite = math.isfinite(math.fsum(numbers))
    except (TypeError, ValueError, OverflowError):
        finite = False
    if not finite:
        raise Unreadable("a vector that is no list of numbers")
    return tuple(map(float, numbers))


def _text(message: Mapping[str, Any], name: str) -> str:
    text = message.get(name)
    if text is not None and not isinstance(text, str):
        raise Unreadable(f"`{name}` that is no text")
    return text or ""


def _tool_call(call: Any, index: int, intake: ChatIntake) -> ToolCall:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise Unreadable("a call of a tool without a name")
    gate, name = intake.gate, intake.gate.name(function["name"])
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, Mapping):
        raise Unreadable(f"arguments of the tool `{name}` that are not an object")
    arguments = gate.arguments(arguments or {})
    given = call.get("id")
    id = gate.identifier(given) if isinstance(given, str) and given else f"call_{index}"
    intake.take(CALL_BYTES + len(name.encode()) + len(id.encode()))
    intake.another().feed(json.dumps(arguments, ensure_ascii=False))
    return ToolCall(id, name, arguments)
