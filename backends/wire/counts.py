"""Checks a server's token counts against what its call can have used and what it produced. Pure.

An impossible count becomes unknown. One that is less than the answer shows is raised to a lower bound, and the usage
is then marked ``lower_bound``: a limit in tokens or money must hold even if a server counts nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ..protocol import ChatRequest, EmbedRequest, RerankRequest, StreamEvent, TextDelta, ThinkingDelta, Usage
from ..seeded import estimated_tokens
from .sizes import Sizes, chat_sizes
from .untrusted import Gate
from .values import Room, TextIntake, count_of

NOT_COUNTED: Final = Usage(None, None, None, None, "reported")
"""The usage of an answer whose server counts nothing."""

NOTHING_ASKED: Final = Usage(0, None, 0, None, "reported")
"""The usage of a call for no texts, which no server gets."""

CALL_BYTES: Final = 256
"""Bytes that a tool call takes of an answer's room, in addition to its name, id and arguments.

Otherwise a stream could start a million of them.
"""

INPUT_ROOM_TOKENS: Final = 16_384
"""Tokens that a server may add to a prompt: its template, a system prompt of its own, search results."""

IMAGE_TOKENS: Final = 32_768
"""Tokens of one image: more than any model in use takes."""

UNASKED_OUTPUT_TOKENS: Final = 262_144
"""Tokens of an answer of unbounded length: twice the longest that a model in use writes."""

OUTPUT_ROOM_TOKENS: Final = 1_024
"""Tokens by which an answer may be longer than asked for, or than its text shows."""

CHARACTERS_PER_TOKEN: Final = 8
"""The most characters that a token has on average, in a text whose runs are shortened.

Measured with the best vocabularies: 4.5 for English prose, less for everything else, up to 8 for a list of long words.
"""

_ROOM_CHARACTERS: Final = 256
"""Characters of slack: a short answer of a few long words may be above the average."""

UNKNOWN_OUTPUT_TOKENS: Final = 4_096
"""Tokens assumed for an answer that neither request nor catalog bounds."""

_LOOKED_AT_CHARACTERS: Final = 2**20
"""Characters that are examined; they make more tokens than any model writes."""

_RUN: Final = re.compile(r"\s{5,}|(.)\1{4,}", re.DOTALL)
"""A run of blanks or a line of dashes may be one token, however long it is."""


class ChatIntake:
    """One chat answer as it arrives: its texts, limited to what ``request`` allows, and its counts.

    ``asked_tokens`` is the output limit that was sent to the server; ``None`` if none was sent.
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
        """Another text of the same answer, such as tool arguments or a refusal."""
        text = self.gate.text(self._room)
        self._others.append(text)
        return text

    def rest(self) -> list[StreamEvent]:
        """The text held back until the end: half a character, or a possible beginning of the key."""
        events: list[StreamEvent] = []
        if thinking := self.thinking.rest():
            events.append(ThinkingDelta(thinking))
        if text := self.text.rest():
            events.append(TextDelta(text))
        return events

    def take(self, size: int) -> None:
        """Reserve room for a part of the answer that is kept elsewhere. Raises Unreadable if there is none."""
        self._room.take(size)

    @property
    def characters(self) -> int:
        """The characters received."""
        came = self.text.characters + self.thinking.characters
        return came + sum(text.characters for text in self._others) if self._others else came

    def checked(self, usage: Usage, *, truncated: bool = False) -> Usage:
        """The server's counts, where they are possible; ``truncated`` says that it did not read the whole prompt."""
        given, written, source = usage.input_tokens, usage.output_tokens, usage.source
        if given is not None and given > INPUT_ROOM_TOKENS and given > _most_input(self._request):
            given = None
        came = self.characters
        if written is not None and written > OUTPUT_ROOM_TOKENS:
            # A character has four bytes at most, and a byte is a token at most.
            asked = UNASKED_OUTPUT_TOKENS if self._asked is None else self._asked
            if written > max(asked, 4 * came) + OUTPUT_ROOM_TOKENS:
                written = None
        # Without counts a quota uses what it reserved: enough, unless more came than was asked for.
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
        """The usage of a failed call: as reported, else estimated from what arrived, if anything did."""
        came = self.characters
        if usage is not None:
            return self.checked(usage) if came else _within(usage)
        return estimated_usage(self._request, came) if came else None


def checked_input(usage: Usage, request: EmbedRequest | RerankRequest) -> Usage:
    """The counts of an embed or rerank call, of which only the prompt's can be checked; impossible ones are unknown.

    A server may cut texts that are too long, so the only lower bound is that it read something.
    """
    given, written = usage.input_tokens, usage.output_tokens
    if given is not None and (given == 0 or given > INPUT_ROOM_TOKENS and given > _most_input(request)):
        given = None
    if written is not None and written > OUTPUT_ROOM_TOKENS:
        written = None
    return _within(replace(usage, input_tokens=given, output_tokens=written))


def estimated_usage(request: ChatRequest, characters: int) -> Usage:
    """The estimated tokens of a chat whose server counted nothing, from the characters received."""
    prompt = sum(estimated_tokens(message.content) for message in request.messages)
    return Usage(prompt, 0, -(-characters // 4), None, "estimated")


def _within(usage: Usage) -> Usage:
    """``usage`` without parts that are more than their whole: those become unknown."""
    cached, reasoning = usage.cached_input_tokens, usage.reasoning_tokens
    if cached and (usage.input_tokens is None or cached > usage.input_tokens):
        usage = replace(usage, cached_input_tokens=None)
    if reasoning and (usage.output_tokens is None or reasoning > usage.output_tokens):
        usage = replace(usage, reasoning_tokens=None)
    return usage


def _most_input(request: ChatRequest | EmbedRequest | RerankRequest) -> int:
    """The most tokens that a request can have: each byte may be one, and templates spell tools out at length."""
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
            # The server reads the query again with every document.
            texts = [*request.documents, *[request.query] * len(request.documents)]
    size = sum(len(text.encode(errors="replace")) for text in texts)
    return INPUT_ROOM_TOKENS + 2 * size + IMAGE_TOKENS * images


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _too_few(tokens: int, characters: int) -> bool:
    """Whether that many characters cannot fit into that few tokens."""
    return characters > 0 if tokens == 0 else tokens * CHARACTERS_PER_TOKEN + _ROOM_CHARACTERS < characters


def _tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_PER_TOKEN)


def _shortened(texts: Iterable[str]) -> int:
    """The characters of ``texts``, with runs shortened."""
    looked_at = "".join(texts)[:_LOOKED_AT_CHARACTERS]
    return len(_RUN.sub("....", looked_at))
