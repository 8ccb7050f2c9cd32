"""Answers in the words of Ollama's API, as ours: the lines of a chat put together, embeddings, counts, times.

Pure, and strict where it matters: what cannot be read raises Unreadable, and never becomes an empty answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .. import wire
from ..protocol import ChatRequest, FinishReason, StreamEvent, ToolCall, Usage
from ..wire import CALL_BYTES, ChatIntake, Unreadable, count_of, vectors_of, words

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


class ChatPieces(wire.ChatPieces):
    """A chat answer that grows line by line, to the one with ``done``. ``load_us`` is what that line says of it."""

    def __init__(self, intake: ChatIntake | None = None) -> None:
        super().__init__(intake)
        self.load_us: int | None = None
        self._calls: list[ToolCall] = []

    def feed(self, piece: Any, *, whole: bool = False) -> list[StreamEvent]:
        """Take in a line; the events are what it adds. Raises Unreadable."""
        if not isinstance(piece, Mapping):
            raise Unreadable("a line that is no object")
        done = piece.get("done", False)
        if not isinstance(done, bool):
            raise Unreadable("`done` that is neither true nor false")
        self._note_model(named_model(piece))
        message = piece.get("message", {} if done else None)
        if not isinstance(message, Mapping):
            raise Unreadable("a line without a `message`")
        events = self._texts(_text(message, "thinking"), _text(message, "content"))
        calls = message.get("tool_calls") or ()
        if not isinstance(calls, list | tuple):
            raise Unreadable("`tool_calls` that are no list")
        for call in calls:
            self._calls.append(_tool_call(call, len(self._calls), self._intake))
        self.begun = self.begun or bool(self._calls)
        if done:
            self._finish(piece)
            events += self._intake.rest()
        return events

    def calls(self) -> Sequence[ToolCall]:
        """The calls of tools, in order."""
        return self._calls

    def _finish(self, line: Mapping[str, Any]) -> None:
        reason = line.get("done_reason") or ""
        if reason in ("load", "unload"):
            raise Unreadable(f"the server only had to {reason} the model, and did not answer")
        if not isinstance(reason, str) or reason not in _FINISH_REASONS:
            raise Unreadable(f"the `done_reason` `{words(reason)}`")
        self.usage = count_usage(line, said_something=self.begun)
        self.load_us = load_us(line)
        self.finished = _FINISH_REASONS[reason]


def named_model(said: Mapping[str, Any]) -> str | None:
    """The model that an answer names. A stub answers under its own name; ``remote_model`` is what really ran."""
    names = (said.get("remote_model"), said.get("model"))
    return next((name for name in names if isinstance(name, str) and name), None)


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
    return vectors_of(vectors)


def _bytes(texts: Sequence[str]) -> int:
    return sum(len(text.encode(errors="replace")) for text in texts)


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
    if arguments is None or arguments == "":
        arguments = {}
    elif isinstance(arguments, str):  # as OpenAI writes them
        arguments = gate.parse_or_none(arguments.encode(errors="replace"))
    if not isinstance(arguments, Mapping):
        raise Unreadable(f"arguments of the tool `{name}` that are not an object")
    arguments = gate.arguments(arguments)
    given = call.get("id")
    id = gate.identifier(given) if isinstance(given, str) and given else f"call_{index}"
    intake.take(CALL_BYTES + len(name.encode()) + len(id.encode()))
    intake.another().feed(json.dumps(arguments, ensure_ascii=False))
    return ToolCall(id, name, arguments)
