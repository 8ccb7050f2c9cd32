"""Chat answers and token counts in the words of OpenAI's API, as ours: whole bodies, and the pieces of a stream.

Pure, and strict where it matters: what cannot be read raises Unreadable with a reason, and never becomes an empty
answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .. import wire
from ..protocol import FinishReason, StreamEvent, ToolCall, Usage
from ..wire import CALL_BYTES, NOT_COUNTED, ChatIntake, TextIntake, Unreadable, count_of, words

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


class ChatPieces(wire.ChatPieces):
    """A chat answer that grows piece by piece; a whole body is one piece."""

    def __init__(self, intake: ChatIntake | None = None) -> None:
        super().__init__(intake)
        self._refusal: TextIntake | None = None
        self._calls: dict[int, _CallPieces] = {}

    @property
    def refusal(self) -> str:
        """What the model says if it refuses to answer; otherwise empty."""
        return self._refusal.whole() if self._refusal is not None else ""

    def feed(self, piece: Any) -> list[StreamEvent]:
        """Take in a chunk of a stream, or a whole body; the events are what it adds. Raises Unreadable."""
        choices = piece.get("choices") if isinstance(piece, dict) else None
        if not isinstance(choices, list):
            raise Unreadable("no `choices` in it")
        self._note_model(piece.get("model"))
        if piece.get("usage") is not None:
            self.usage = read_usage(piece["usage"])
        if not choices:
            return []  # the last chunk of a stream holds the usage alone
        choice = choices[0]
        if not isinstance(choice, dict):
            raise Unreadable("a choice that is no object")
        said = choice.get("message") if "message" in choice else choice.get("delta")
        events = self._add(said) if isinstance(said, dict) else []
        reason = choice.get("finish_reason")
        if reason is not None:
            self.finished = _FINISH_REASONS.get(words(reason).lower())
            if self.finished is None:
                raise Unreadable(f"the finish reason `{words(reason)}`")
        return events

    def calls(self) -> Sequence[ToolCall]:
        """The calls of tools, by their index. Raises Unreadable."""
        return [self._calls[index].whole() for index in sorted(self._calls)]

    def _add(self, said: Mapping[str, Any]) -> list[StreamEvent]:
        # Two names are in use; a server that sends both says the same in both.
        thinking = said.get("reasoning_content") or said.get("reasoning")
        content = said.get("content")
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            content = "".join(text for text in texts if isinstance(text, str))
        if content is not None and not isinstance(content, str):
            raise Unreadable("content that is no text")
        events = self._texts(thinking if isinstance(thinking, str) else "", content or "")
        if isinstance(refusal := said.get("refusal"), str) and refusal:
            if self._refusal is None:
                self._refusal = self._intake.another()
            self._refusal.feed(refusal)
        calls = said.get("tool_calls")
        for position, call in enumerate(calls if isinstance(calls, list) else ()):
            if not isinstance(call, dict):
                raise Unreadable("a call of a tool that is no object")
            index = call.get("index")
            key = index if isinstance(index, int) else position
            if key not in self._calls:
                self._calls[key] = _CallPieces(key, self._intake)
            self._calls[key].take(call)
        self.begun = self.begun or bool(self._calls)
        return events


class _CallPieces:
    def __init__(self, index: int, intake: ChatIntake) -> None:
        intake.take(CALL_BYTES)
        self._intake, self._gate = intake, intake.gate
        self._id, self._name = self._gate.identifier(f"call_{index}"), ""
        self._pieces = intake.another()

    def take(self, call: Mapping[str, Any]) -> None:
        function = call.get("function")
        if isinstance(call.get("id"), str) and call["id"]:
            self._id = self._kept(self._gate.identifier(call["id"]), self._id)
        if not isinstance(function, dict):
            return
        if isinstance(function.get("name"), str):
            self._name = self._name or self._kept(self._gate.name(function["name"]), "")
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # already an object, as some servers send it
            self._pieces = self._intake.another()
            self._pieces.feed(json.dumps(self._gate.arguments(arguments), ensure_ascii=False))
        elif isinstance(arguments, str):
            self._pieces.feed(arguments)

    def _kept(self, text: str, before: str) -> str:
        """A name or id. It counts towards the size of the answer as text does, unless it is repeated."""
        if text != before:
            self._intake.take(len(text.encode()))
        return text

    def whole(self) -> ToolCall:
        if not self._name:
            raise Unreadable("a call of a tool without a name")
        self._pieces.rest()
        arguments = self._gate.parse_or_none(self._pieces.whole().encode() or b"{}")
        if not isinstance(arguments, dict):
            raise Unreadable(f"arguments of the tool `{self._name}` that are not a JSON object")
        return ToolCall(self._id, self._name, self._gate.arguments(arguments))


def read_usage(usage: Any) -> Usage:
    """The counts of a ``usage`` object, each token once.

    OpenAI counts cached tokens inside the prompt's and reasoning inside the completion's. Servers that count
    them beside are told by their own total.
    """
    if not isinstance(usage, dict):
        return NOT_COUNTED
    prompt, completion = count_of(usage.get("prompt_tokens")), count_of(usage.get("completion_tokens"))
    cached = count_of(_detail(usage, "prompt_tokens_details", "cached_tokens"))
    if cached is None:
        cached = count_of(usage.get("prompt_cache_hit_tokens"))
    reasoning = count_of(_detail(usage, "completion_tokens_details", "reasoning_tokens"))
    total = count_of(usage.get("total_tokens"))
    if prompt is not None and completion is None and total is not None:
        completion = max(0, total - prompt)  # embeddings say no more
    if prompt is not None and completion is not None:
        beside = 0 if total is None else total - prompt - completion
        if reasoning and (reasoning > completion or beside in (reasoning, reasoning + (cached or 0))):
            completion, beside = completion + reasoning, beside - reasoning
        if cached and (cached > prompt or beside == cached):
            prompt += cached
    return Usage(prompt, cached, completion, reasoning, "reported")


def _detail(usage: Mapping[str, Any], group: str, name: str) -> object:
    details = usage.get(group)
    return details.get(name) if isinstance(details, dict) else None
