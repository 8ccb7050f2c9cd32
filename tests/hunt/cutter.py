"""Ends, delays and damages recorded streams at any byte, and says what may come of each. No sockets.

What a stream says is read here once more, by a reader that knows only well-formed streams.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any, Final, Literal
from unittest import mock

import aiohttp
from yarl import URL

from routewright.backends import (
    Backend,
    BackendError,
    ChatAnswer,
    ChatRequest,
    Limits,
    Message,
    PriceFacts,
    StreamEnd,
    TextDelta,
    cost_nano,
)
from routewright.backends.ollama.backend import OllamaBackend
from routewright.backends.openai import chat
from routewright.backends.openai.backend import OpenAIBackend
from routewright.backends.phases import CallClock
from routewright.backends.wire.http import HttpClient
from routewright.backends.wire.reply import Reply

__all__ = ["MODEL", "Damage", "Kind", "Outcome", "Stream", "damages", "faults_of", "run", "streams"]

Kind = Literal["end", "reset", "stall", "split", "change", "drop", "double"]

_ASK: Final = ChatRequest((Message("user", "What is the weather?"),), max_output_tokens=50)
_PRICE: Final = PriceFacts(10**9, 10**10)
MODEL: Final = "m:1b-cloud"
"""A model that an Ollama server forwards in any case: of others it is asked first where they run."""

_STALL_MS: Final = 8

_COMMENT: Final = re.compile(rb"(?:^|[\r\n]):")


@dataclass(frozen=True)
class Part:
    """An event or a line of a stream. ``end`` is where its data ends, ``next`` where the next part begins."""

    start: int
    end: int
    next: int
    said: Mapping[str, Any]

    @property
    def message(self) -> Mapping[str, Any]:
        choices = self.said.get("choices") or [{}]
        message = self.said.get("message") or choices[0].get("delta")
        return message if isinstance(message, dict) else {}

    @property
    def text(self) -> str:
        return self.message.get("content") or ""

    @property
    def has_usage(self) -> bool:
        groq = self.said.get("x_groq") or {}
        return bool(
            {"usage", "eval_count", "timings"} & {name for name in self.said if self.said[name]}
            or groq.get("usage")
        )

    @property
    def finish(self) -> str | None:
        if self.said.get("error") or self.said.get("code"):
            return None
        choices = self.said.get("choices") or [{}]
        return self.said.get("done_reason") or choices[0].get("finish_reason") or None


@dataclass(frozen=True)
class Stream:
    """A stream of ``tests/hunt/streams``."""

    name: str
    dialect: Literal["openai", "ollama"]
    raw: bytes

    @cached_property
    def parts(self) -> list[Part]:
        ends = rb"\n" if self.dialect == "ollama" else rb"\r\n\r\n|\n\n|\r\r"
        parts, start = [], 0
        for found in re.finditer(ends, self.raw):
            block = self.raw[start : found.start()]
            data = (
                block
                if self.dialect == "ollama"
                else b"".join(re.findall(rb"(?:^|[\r\n])data: ([^\r\n]*)", block))
            )
            said = json.loads(data) if data.startswith(b"{") else {}
            parts.append(Part(start, found.start(), found.end(), said))
            start = found.end()
        return parts

    @property
    def text(self) -> str:
        return _joined("".join(part.text for part in self.parts))

    @cached_property
    def finished_at(self) -> int | None:
        """How many bytes must have come for the answer to be whole; None if it never is."""
        return next((part.end for part in self.parts if part.finish), None)

    @property
    def failed_at(self) -> int:
        """How many bytes must have come for the server's error to have come."""
        return next(part.end for part in self.parts if part.said.get("error") or part.said.get("code"))

    @property
    def content_at(self) -> int:
        """How many bytes must have come for something of the answer to have come."""
        names = ("content", "thinking", "reasoning", "reasoning_content", "tool_calls")
        return next(part.end for part in self.parts if any(part.message.get(name) for name in names))

    @property
    def usage_at(self) -> int:
        """How many bytes must have come for all of the usage to have come."""
        return max((part.end for part in self.parts if part.has_usage), default=len(self.raw))

    def ended_by(self, at: int) -> int:
        """How many of so many bytes are parts that have ended."""
        # The LF after a CR ends nothing any more.
        ends = [part.next - self.raw.endswith(b"\r\n", part.end, part.next) for part in self.parts]
        return max((part.next for part, end in zip(self.parts, ends, strict=True) if end <= at), default=0)

    def part_at(self, at: int) -> int:
        return next(index for index, part in enumerate(self.parts) if at < part.next)


def _joined(text: str) -> str:
    """``text`` with halves of characters joined, and without halves that have lost the other."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def streams() -> list[Stream]:
    """All recorded streams, by name."""
    files = sorted((Path(__file__).parent / "streams").glob("*.*"))
    return [
        Stream(file.stem, "openai" if file.suffix == ".sse" else "ollama", file.read_bytes())
        for file in files
        if file.suffix in (".sse", ".ndjson")
    ]


@dataclass(frozen=True)
class Damage:
    """What happens to a stream at one byte. ``byte`` takes the place of what was there, for ``change``."""

    kind: Kind
    at: int
    byte: int = 0

    def pieces(self, raw: bytes) -> list[bytes]:
        before, after = raw[: self.at], raw[self.at :]
        match self.kind:
            case "end" | "reset" | "stall":
                return [before]
            case "split":
                return [before, after]
            case "change":
                return [before + bytes([self.byte]) + after[1:]]
            case "drop":
                return [before + after[1:]]
            case "double":
                return [before + after[:1] + after]


def damages(stream: Stream, kinds: tuple[Kind, ...], random: Random) -> Iterator[Damage]:
    """One damage of each kind at every byte."""
    for at in range(len(stream.raw)):
        for kind in kinds:
            yield Damage(kind, at, (stream.raw[at] + random.randrange(1, 256)) % 256)


@dataclass(frozen=True)
class Outcome:
    """What was shown, and what came of it."""

    shown: str
    result: ChatAnswer | BackendError


class _Response:
    """What a reply reads of a response of aiohttp."""

    def __init__(self, stream: Stream, damage: Damage | None) -> None:
        self.status, self.content_length, self.url = 200, None, URL("http://server")
        kind = "text/event-stream" if stream.dialect == "openai" else "application/x-ndjson"
        self.headers = {"Content-Type": kind}
        self.content = self
        self._pieces = [stream.raw] if damage is None else damage.pieces(stream.raw)
        self._ending = None if damage is None else damage.kind

    async def readany(self) -> bytes:
        while self._pieces:
            if piece := self._pieces.pop(0):
                return piece
        if self._ending == "reset":
            raise aiohttp.ClientPayloadError
        if self._ending == "stall":
            await asyncio.Event().wait()
        return b""


async def run(stream: Stream, damage: Damage | None = None) -> Outcome:
    """What the backend of its dialect makes of a stream that is damaged."""
    response = _Response(stream, damage)

    @asynccontextmanager
    async def request(client: HttpClient, method: str, path: str, clock: CallClock, **_: Any) -> Any:
        clock.enter("first_token")
        failures = (aiohttp.ClientError, OSError)
        try:
            yield Reply(response, clock, failures, client.gate, client.base_url)  # type: ignore[arg-type]  # enough of one
        finally:
            clock.stop()

    url = "http://127.0.0.1:1"
    backend: Backend = OpenAIBackend(url) if stream.dialect == "openai" else OllamaBackend(url)
    shown, result = "", None
    stalls = damage is not None and damage.kind == "stall"
    with mock.patch.object(HttpClient, "request", request), mock.patch.object(chat, "GRACE_MS", _STALL_MS):
        limits = Limits(total_ms=_STALL_MS) if stalls else Limits()
        try:
            async for event in backend.stream(MODEL, _ASK, limits=limits):
                if isinstance(event, TextDelta):
                    shown += event.text
                elif isinstance(event, StreamEnd):
                    assert result is None, "two ends"
                    result = event.answer
        except BackendError as error:
            assert result is None, "an end and a failure"
            return Outcome(shown, error)
    assert result is not None, "neither an end nor a failure"
    return Outcome(shown, result)


def faults_of(stream: Stream, damage: Damage, outcome: Outcome, whole: Outcome) -> list[str]:
    """What is wrong with ``outcome``; ``whole`` is what comes of the undamaged stream."""
    if damage.kind in ("end", "reset", "stall"):
        found = _of_a_cut(stream, damage, outcome, whole)
    elif damage.kind == "split":
        found = [] if _same(outcome, whole) else ["it is not what comes of the whole stream"]
    else:
        found = _of_a_change(stream, damage, outcome, whole)
    result = outcome.result
    if isinstance(result, ChatAnswer) and result.text != outcome.shown:
        found.append("the answer is not what was shown")
    cost = cost_nano(result.usage, _PRICE)
    if cost == 0 and (outcome.shown or damage.at >= stream.content_at):
        found.append("it cost nothing")
    return found


def _of_a_cut(stream: Stream, damage: Damage, outcome: Outcome, whole: Outcome) -> list[str]:
    found, result = [], outcome.result
    # Nobody waits for the rest of a line and then takes it for whole.
    reached = stream.ended_by(damage.at) if damage.kind == "stall" else damage.at
    if stream.finished_at is not None and reached >= stream.finished_at:
        if not isinstance(result, ChatAnswer):
            return [f"an answer that was whole has failed: {result}"]
        assert isinstance(whole.result, ChatAnswer)
        usage = whole.result.usage
        if _facts(result) != _facts(whole.result):
            found.append("it is not what comes of the whole stream")
        if reached >= stream.usage_at and result.usage != usage:
            found.append("its usage is lost")
        return found
    if isinstance(result, ChatAnswer):
        return ["a success that is none"]
    allowed = {"end": ("broken_stream",), "reset": ("broken_stream",), "stall": ("timeout.total",)}[
        damage.kind
    ]
    if stream.finished_at is None and reached >= stream.failed_at:
        assert isinstance(whole.result, BackendError)
        allowed = (whole.result.error_class,)
    if result.error_class not in allowed:
        found.append(f"its class is {result.error_class}: {result}")
    if not stream.text.startswith(outcome.shown):
        found.append(f"what was shown is no beginning of the text: {outcome.shown!r}")
    came = _joined("".join(part.text for part in stream.parts if part.end <= damage.at))
    if damage.kind == "end" and len(outcome.shown) < len(came):
        found.append(f"text that came was not shown: {outcome.shown!r}")
    return found


def _of_a_change(stream: Stream, damage: Damage, outcome: Outcome, whole: Outcome) -> list[str]:
    """A piece whose own words are changed cannot be told from one that was meant so; all others are as they were."""
    at = stream.part_at(damage.at)
    # A change between two parts may fall to either.
    last = at + (damage.at >= stream.parts[at].end)
    before = _joined("".join(part.text for part in stream.parts[:at]))
    after = _joined("".join(part.text for part in stream.parts[last + 1 :]))
    touched = stream.parts[at : last + 1]
    found, result = [], outcome.result
    if isinstance(result, BackendError):
        if not outcome.shown.startswith(before) and not before.startswith(outcome.shown):
            found.append(f"what was shown is no beginning of the text: {outcome.shown!r}")
        return found
    if not isinstance(whole.result, ChatAnswer):
        # What is left of a damaged error is no answer.
        return ["a success that is none"]
    if len(result.text) < len(before) + len(after) or not (
        result.text.startswith(before) and result.text.endswith(after)
    ):
        found.append(f"text is lost or repeated: {result.text!r}")
    if not _is_in_words(stream, damage) and result.text != stream.text:
        found.append(f"the text is another: {result.text!r}")
    if not any(part.finish for part in touched) and result.finish_reason != whole.result.finish_reason:
        found.append(f"it ends with {result.finish_reason}")
    calls = [(call.name, call.arguments) for call in result.tool_calls]
    if not _is_in_words(stream, damage):
        if calls != [(call.name, call.arguments) for call in whole.result.tool_calls]:
            found.append(f"calls are lost or repeated: {calls}")
    elif len(calls) > len(whole.result.tool_calls) + 1:
        found.append(f"calls are repeated: {calls}")
    if not any(part.end >= stream.usage_at for part in touched) and result.usage != whole.result.usage:
        if result.text == stream.text:
            found.append(f"its usage is another: {result.usage}")
    return found


def _is_in_words(stream: Stream, damage: Damage) -> bool:
    """Whether a change is in what a part says or whose choice it is, or makes a comment of it."""
    damaged = damage.pieces(stream.raw)[0]
    if len(_COMMENT.findall(damaged)) > len(_COMMENT.findall(stream.raw)):
        return True
    part = stream.parts[stream.part_at(damage.at)]
    block, at = stream.raw[part.start : part.end], damage.at - part.start
    words = re.search(rb'"(delta|message)"', block)
    spans = [found.span() for found in re.finditer(rb'"index": ?\d+', block)]
    return any(start <= at < end for start, end in [(words.start(), len(block)) if words else (0, 0), *spans])


def _facts(answer: ChatAnswer) -> tuple[object, ...]:
    return answer.text, answer.thinking, answer.tool_calls, answer.finish_reason


def _same(one: Outcome, other: Outcome) -> bool:
    if isinstance(one.result, ChatAnswer) and isinstance(other.result, ChatAnswer):
        return _facts(one.result) == _facts(other.result) and one.result.usage == other.result.usage
    return one.shown == other.shown and str(one.result) == str(other.result)
