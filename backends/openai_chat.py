"""Reads one chat answer of an OpenAI-compatible server: a whole body, or a stream of server-sent events.

Whatever is wrong with it becomes a BackendError of the call's clock, with the usage as far as it is known.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable
from typing import Any

from .errors import BackendError
from .http import Reply
from .lines import event_data
from .openai_answer import ChatPieces, Unreadable
from .openai_errors import complaint_in, failure
from .phases import CallClock
from .protocol import ChatAnswer, StreamEvent

__all__ = ["ChatReader"]


class ChatReader:
    """For one call. ``redacted`` makes the server's words fit for a message."""

    __slots__ = (
        "_clock",
        "_pieces",
        "_redacted",
    )

    def __init__(self, clock: CallClock, redacted: Callable[[str], str]) -> None:
        self._clock, self._redacted = clock, redacted
        self._pieces = ChatPieces()

    async def events(self, reply: Reply) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, to the end of the stream; the answer is ``finished`` then.

        Once the server has given its finish reason, what breaks afterwards costs the usage at most.
        """
        try:
            if reply.content_type == "application/json":  # a server that does not stream
                for event in self._feed(await reply.json()):
                    yield event
                return
            async for lines in reply.lines():
                for line in lines:
                    data = event_data(line)
                    if data is None:
                        self._check_silent(line)
                    elif data == b"[DONE]":
                        await reply.drain()
                        return
                    else:
                        for event in self._feed(reply.parse(data)):
                            yield event
        except BackendError:
            if self._pieces.finished is None:
                raise

    def whole(self, said: Any) -> ChatAnswer:
        """The answer in a body that came at once."""
        self._feed(said, streamed=False)
        return self.finished()

    def finished(self) -> ChatAnswer:
        """The answer put together; ``broken_stream`` without a finish reason, ``refused_content`` for a refusal."""
        clock, pieces = self._clock, self._pieces
        if pieces.finished is None:
            raise clock.error(f"the answer of `{clock.who}` ended without a finish reason", "broken_stream")
        try:
            answer = pieces.answer(clock.timings())
        except Unreadable as error:
            raise self._unreadable(error) from error
        if (
            not answer.text
            and not answer.tool_calls
            and (pieces.refusal or pieces.finished == "content_filter")
        ):
            said = f": {self._redacted(pieces.refusal)}" if pieces.refusal else ""
            raise clock.error(f"`{clock.who}` refused to answer{said}", "refused_content")
        return answer

    def _feed(self, piece: Any, *, streamed: bool = True) -> list[StreamEvent]:
        complaint = complaint_in(piece)
        if complaint is not None:  # in mid-stream, or under a status of 200
            raise failure(self._clock, self._redacted, status=None, headers={}, complaint=complaint)
        try:
            events = self._pieces.feed(piece)
        except Unreadable as error:
            raise self._unreadable(error) from error
        finally:
            self._clock.usage = self._pieces.usage
        if streamed and self._pieces.begun:
            self._clock.token()
        return events

    def _check_silent(self, line: bytes) -> None:
        """Lines without data: comments and blank lines pass, an error is raised, and so is what is no event."""
        if not line.strip() or line.startswith((b":", b"event:", b"id:", b"retry:")):
            return
        if line.startswith(b"error:"):  # older llama.cpp
            try:
                said = json.loads(line[6:])
            except (ValueError, RecursionError):
                said = line[6:].decode(errors="replace")
            raise failure(
                self._clock, self._redacted, status=None, headers={}, complaint=complaint_in({"error": said})
            )
        shown = self._redacted(line[:2_000].decode(errors="replace"))[:200]  # half a key is not recognised
        raise self._unreadable(Unreadable(f"the line `{shown}` is no event"))

    def _unreadable(self, error: Unreadable) -> BackendError:
        clock = self._clock
        return clock.error(
            f"the answer of `{clock.who}` cannot be read: {self._redacted(str(error))}", "bad_response"
        )
