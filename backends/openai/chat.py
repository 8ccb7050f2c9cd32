"""Reads one chat answer of an OpenAI-compatible server: a whole body, or a stream of server-sent events.

Whatever is wrong with it becomes a BackendError of the call's clock, with the usage as far as it is known.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from ..errors import BackendError
from ..phases import CallClock
from ..protocol import ChatAnswer, StreamEvent
from ..wire import ChatIntake, Reply, Unreadable, event_data, own_name, readable, unreadable
from .answer import ChatPieces
from .errors import complaint_in, failure


class ChatReader:
    """Serves one call, which asks for its model as ``name``. ``intake`` checks what the server sends."""

    def __init__(self, clock: CallClock, intake: ChatIntake, name: str) -> None:
        self._clock, self._intake, self._name = clock, intake, name
        self._pieces = ChatPieces(intake)

    async def events(self, reply: Reply) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, to the end of the stream; the answer is ``finished`` then.

        Once the server has given its finish reason, what breaks afterwards costs the usage at most.
        """
        try:
            if reply.content_type == "application/json":  # a server that does not stream
                for event in self._feed(await reply.json(self._intake.sizes)):
                    yield event
                return
            async for lines in reply.lines(self._intake.sizes):
                for line in lines:
                    data = event_data(line)
                    if data is None:
                        self._check_silent(line)
                    elif data == b"[DONE]":
                        await reply.drain()
                        return
                    else:
                        for event in self._feed(reply.parse(data, self._intake.sizes)):
                            yield event
        except BackendError as error:
            if self._pieces.finished is None:
                self._note_spent(error)
                raise

    async def whole(self, reply: Reply) -> ChatAnswer:
        """The answer in a body that comes at once."""
        said = await reply.json(self._intake.sizes)
        try:
            self._feed(said, streamed=False)
        except BackendError as error:
            self._note_spent(error)
            raise
        self.rest()
        return self.finished()

    def rest(self) -> list[StreamEvent]:
        """The rest of the text at the end of the stream."""
        with readable(self._clock, self._intake.gate):
            return self._intake.rest()

    def finished(self) -> ChatAnswer:
        """The answer put together; ``broken_stream`` without a finish reason, ``refused_content`` for a refusal."""
        clock, pieces, gate = self._clock, self._pieces, self._intake.gate
        try:
            if pieces.finished is None:
                raise clock.error(
                    f"the answer of `{clock.who}` ended without a finish reason", "broken_stream"
                )
            pieces.model_said = own_name(pieces.model_said, self._name, clock.who)
            with readable(clock, gate):
                answer = pieces.answer(clock.timings())
            nothing = not answer.text and not answer.tool_calls
            if nothing and (pieces.refusal or pieces.finished == "content_filter"):
                said = f": {gate.message(pieces.refusal)}" if pieces.refusal else ""
                raise clock.error(f"`{clock.who}` refused to answer{said}", "refused_content")
        except BackendError as failure:
            self._note_spent(failure)
            raise
        return answer

    def _note_spent(self, error: BackendError) -> None:
        error.usage = self._intake.spent(self._pieces.usage)

    def _feed(self, piece: Any, *, streamed: bool = True) -> list[StreamEvent]:
        complaint = complaint_in(piece)
        if complaint is not None:  # in mid-stream, or under a status of 200
            raise failure(self._clock, self._intake.gate, complaint)
        return self._pieces.take(piece, self._clock, streamed=streamed)

    def _check_silent(self, line: bytes) -> None:
        """Skip blank lines, comments and the other fields of an event. Raises BackendError for any other line."""
        if not line.strip() or line.startswith((b":", b"event:", b"id:", b"retry:")):
            return
        gate = self._intake.gate
        if line.startswith(b"error:"):  # older llama.cpp
            said = gate.parse_or_none(line[6:]) or line[6:].decode(errors="replace")
            raise failure(self._clock, gate, complaint_in({"error": said}))
        problem = Unreadable(f"the line `{gate.shown(line)}` is not a server-sent event")
        raise unreadable(problem, self._clock, gate)
