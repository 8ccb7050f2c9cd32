"""Checks the token counts of a server against what its call can have used, and against what came of it. Pure.

A count that is impossible becomes unknown. One that is less than what came is raised to a lower bound, and the usage
is then marked ``lower_bound``: a limit in tokens or money must hold for a server that counts nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from .answer_sizes import Sizes, chat_sizes
from .draws import estimated_tokens
from .protocol import ChatRequest, EmbedRequest, RerankRequest, StreamEvent, TextDelta, ThinkingDelta, Usage
from .untrusted import Gate
from .untrusted_values import Room, TextIntake, count_of

__all__ = [
    "CALL_BYTES",
    "CHARACTERS_PER_TOKEN",
    "IMAGE_TOKENS",
    "INPUT_ROOM_TOKENS",
    "OUTPUT_ROOM_TOKENS",
    "UNASKED_OUTPUT_TOKENS",
    "UNKNOWN_OUTPUT_TOKENS",
    "ChatIntake",
    "checked_input",
    "estimated_usage",
]

CALL_BYTES: Final = 256
"""What a call of a tool takes of an answer's room, beside its name, id and arguments.

A stream must not begin a million of them.
"""

INPUT_ROOM_TOKENS: Final = 16_384
"""What a server may add to a prompt: its template, a system prompt of its own, what it searched for."""

IMAGE_TOKENS: Final = 32_768
"""More than any model in use makes of one picture."""

UNASKED_OUTPUT_TOKENS: Final = 262_144
"""What an answer can have whose length nobody bounded: twice the longest that a model in use writes."""

OUTPUT_ROOM_TOKENS: Final = 1_024
"""By how much an answer may be longer than was asked, or than its text shows."""

CHARACTERS_PER_TOKEN: Final = 8
"""At most so many characters make a token, in the mean of a text whose runs are shortened.

Measured, English prose has 4.5 with the best vocabularies, and all else less. A list of long words may reach 8.
"""

_ROOM_CHARACTERS: Final = 256
"""Short answers may be above the mean: a few long words."""

UNKNOWN_OUTPUT_TOKENS: Final = 4_096
"""What an answer is taken to need where neither request nor catalog bounds it."""

_LOOKED_AT_CHARACTERS: Final = 2**20
"""So much text is looked at closely: it makes more tokens than any model writes."""

_RUN: Final = re.compile(r"\s{5,}|(.)\1{4,}", re.DOTALL)
"""A run of blanks or a ruler may be one token, however long it is."""


class ChatIntake:
    """One chat as it comes in: its texts within the room that ``request`` gives, and its counts.

    ``asked_tokens`` is how long an answer the server was asked for; ``None``: nothing was said.
    """

    __slots__ = ("_asked", "_request", "_others", "_room", "gate", "sizes", "text", "thinking")

    def __init__(
        self, gate: Gate | None = None, request: ChatRequest | None = None, *, asked_tokens: object = None
    ) -> None:
        self.gate = gate or Gate()
        self._asked = count_of(asked_tokens) or None
        self._request = request or ChatRequest(())
        self.sizes: Sizes = chat_sizes(self._asked)
        self._room = Room(self.sizes.text)
        self.text, self.thinking = self.gate.text(self._room), self.gate.text(self._room)
        self._others: list[TextIntake] = []

    def another(self) -> TextIntake:
        """One more text of the same answer: arguments of a tool, a refusal."""
        text = self.gate.text(self._room)
        self._others.append(text)
        return text

    def rest(self) -> list[StreamEvent]:
        """What was held back until the end of the text: half a character, or what could have become the key."""
        events: list[StreamEvent] = []
        if thinking := self.thinking.rest():
            events.append(ThinkingDelta(thinking))
        if text := self.text.rest():
            events.append(TextDelta(text))
        return events

    def take(self, size: int) -> None:
        """Room for something of the answer that is kept elsewhere. Raises Unreadable when there is none."""
        self._room.take(size)

    @property
    def characters(self) -> int:
        """How much text came."""
        came = self.text.characters + self.thinking.characters
        return came + sum(text.characters for text in self._others) if self._others else came

    def checked(self, usage: Usage, *, truncated: bool = False) -> Usage:
        """The server's counts as far as they can be; ``truncated``: it has not read the whole prompt."""
        given, written, source = usage.input_tokens, usage.output_tokens, usage.source
        if given is not None and given > INPUT_ROOM_TOKENS and given > _most_input(self._request):
            given = None
        came = self.characters
        if written is not None and written > OUTPUT_ROOM_TOKENS:
            # A character has four bytes at most, and a byte is a token at most.
            asked = UNASKED_OUTPUT_TOKENS if self._asked is None else self._asked
            if written > max(asked, 4 * came) + OUTPUT_ROOM_TOKENS:
                written = None
        # Where nothing is said, a quota counts what it reserved: enough, unless more came than was asked for.
        least = written if written is not None else (self._asked or UNKNOWN_OUTPUT_TOKENS)
        if _too_few(least, came):
            shortened = _shortened(text.whole() for text in (self.text, self.thinking, *self._others))
            if _too_few(least, shortened):
                written, source = _tokens(shortened), "lower_bound"
        if (given is not None and not truncated) or source == "lower_bound":
            size = 0
            for message in self._request.messages:
                size += len(message.content)
            if _too_few(given or 0, size):
                shortened = _shortened(message.content for message in self._request.messages)
                if _too_few(given or 0, shortened):
                    given, source = _tokens(shortened), "lower_bound"
        if given is not usage.input_tokens or written is not usage.output_tokens:
            usage = replace(usage, input_tokens=given, output_tokens=written, source=source)
        return _within(usage)

    def spent(self, usage: Usage | None) -> Usage | None:
        """What a call has used that failed: as the server says, else as estimated from what came, if anything did."""
        came = self.characters
        if usage is not None:
            return self.checked(usage) if came else _within(usage)
        return estimated_usage(self._request, came) if came else None


def checked_input(usage: Usage, request: EmbedRequest | RerankRequest) -> Usage:
    """The counts of vectors or scores, of which the prompt's alone can be checked; unknown where they cannot be.

    A server may cut texts that are too long, so there is no lower bound but that something was read.
    """
    given, written = usage.input_tokens, usage.output_tokens
    if given is not None and (given == 0 or given > INPUT_ROOM_TOKENS and given > _most_input(request)):
        given = None
    if written is not None and written > OUTPUT_ROOM_TOKENS:
        written = None
    return _within(replace(usage, input_tokens=given, output_tokens=written))


def estimated_usage(request: ChatRequest, characters: int) -> Usage:
    """The tokens of a chat whose server counted nothing, and of which so many characters came."""
    prompt = sum(estimated_tokens(message.content) for message in request.messages)
    return Usage(prompt, 0, -(-characters // 4), None, "estimated")


def _within(usage: Usage) -> Usage:
    """Parts that are more than the whole are unknown."""
    cached, reasoning = usage.cached_input_tokens, usage.reasoning_tokens
    if cached and (usage.input_tokens is None or cached > usage.input_tokens):
        usage = replace(usage, cached_input_tokens=None)
    if reasoning and (usage.output_tokens is None or reasoning > usage.output_tokens):
        usage = replace(usage, reasoning_tokens=None)
    return usage


def _most_input(request: ChatRequest | EmbedRequest | RerankRequest) -> int:
    """The most tokens that a request can have: each byte may be one, and templates write tools at length."""
    images = 0
    match request:
        case ChatRequest():
            texts: list[str] = []
            for message in request.messages:
                texts += [message.content, *(_json(call.arguments) for call in message.tool_calls)]
                images += len(message.images)
            texts += [*map(_json, request.tools), _json(request.json_schema)]
        case EmbedRequest():
            texts = list(request.texts)
        case RerankRequest():
            # The query is read again with every document.
            texts = [*request.documents, *[request.query] * len(request.documents)]
    size = sum(len(text.encode(errors="replace")) for text in texts)
    return INPUT_ROOM_TOKENS + 2 * size + IMAGE_TOKENS * images


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _too_few(tokens: int, characters: int) -> bool:
    """Whether so many tokens cannot be so many characters."""
    return characters > 0 if tokens == 0 else tokens * CHARACTERS_PER_TOKEN + _ROOM_CHARACTERS < characters


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def _shortened(texts: Iterable[str]) -> int:
    """The characters of ``texts``, runs shortened."""
    looked_at = "".join(texts)[:_LOOKED_AT_CHARACTERS]
    return len(_RUN.sub("....", looked_at))
