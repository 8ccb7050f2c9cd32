"""Reads one chat answer of an OpenAI-compatible server: a whole body, or a stream of server-sent events.

Which of them comes is seen by how it begins, not by what was asked for or by its content type. Whatever is wrong with
it becomes a BackendError of the call's clock, with the usage as far as it is known.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from ..errors import BackendError
from ..phases import CallClock
from ..protocol import ChatAnswer, StreamEvent
from ..wire import (
    ChatIntake,
    Complaint,
    Event,
    EventReader,
    Readable,
    Reply,
    Unreadable,
    complaint_in,
    events_in,
    own_name,
    unreadable,
)
from .answer import ChatPieces
from .errors import failure

GRACE_MS: Final = 1_000
"""How long a stream may take to end after its finish reason: the usage comes then, and some servers never end it."""


class ChatReader:
    """Serves one call, which asks for its model as ``name``. ``intake`` checks what the server sends."""

    def __init__(self, clock: CallClock, intake: ChatIntake, name: str) -> None:
        self._clock, self._intake, self._name = clock, intake, name
        self._pieces = ChatPieces(intake)
        self._ended = self._ending = False
        self._headers: Mapping[str, str] = {}

    async def events(self, reply: Reply) -> AsyncGenerator[StreamEvent, None]:
        """Text and thinking as they come, to the end of the stream; the answer is ``finished`` then.

        Once the server has given its finish reason, what breaks afterwards costs the usage at most.
        """
        self._headers = reply.headers
        reader = EventReader(self._intake.sizes.body)
        try:
            async for lines in reply.lines(self._intake.sizes):
                for line in lines:
                    if (event := reader.feed(line)) is not None:
                        for piece in self._take(reply, event):
                            yield piece
                        if self._ended:
                            await reply.drain()
                            return
        except (BackendError, Unreadable) as error:
            if not self._is_complete():
                if isinstance(error, Unreadable):
                    error = unreadable(error, self._clock, self._intake.gate)
                self._note_spent(error)
                raise error

    async def whole(self, reply: Reply) -> ChatAnswer:
        """The answer in a body that comes at once."""
        self._headers = reply.headers
        body = await reply.read(self._intake.sizes.body)
        try:
            events = events_in(body)
            if (first := next(events, None)) is None:
                self._feed(reply.parse(body, self._intake.sizes), streamed=False, whole=True)
            else:
                for event in (first, *events):
                    self._take(reply, event, streamed=False)
        except BackendError as error:
            if not self._is_complete():
                self._note_spent(error)
                raise
        self.rest()
        return self.finished()

    def rest(self) -> list[StreamEvent]:
        """The rest of the text at the end of the stream."""
        with Readable(self._clock, self._intake.gate):
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
            with Readable(clock, gate):
                answer = pieces.answer(clock.timings())
            nothing = not answer.text and not answer.tool_calls
            if nothing and (pieces.refusal or pieces.finished == "content_filter"):
                said = f": {gate.message(pieces.refusal)}" if pieces.refusal else ""
                raise clock.error(f"`{clock.who}` refused to answer{said}", "refused_content")
        except BackendError as failure:
            self._note_spent(failure)
            raise
        return answer

    def _is_complete(self) -> bool:
        """Whether the answer is there, whatever follows."""
        return self._pieces.finished is not None and not self._pieces.resumed

    def _note_spent(self, error: BackendError) -> None:
        error.usage = self._intake.spent(self._pieces.usage)

    def _take(self, reply: Reply, event: Event, *, streamed: bool = True) -> list[StreamEvent]:
        """What an event adds. Raises BackendError."""
        if self._ended:
            return []
        if event.data.startswith(b"[DONE]"):
            self._ended = True
            self._pieces.end()
            return []
        if event.name == "error":
            gate = self._intake.gate
            said = gate.parse_or_none(event.data) or event.data.decode(errors="replace")
            complaint = complaint_in(said) or complaint_in({"error": said})
            raise failure(self._clock, gate, complaint, headers=self._headers)
        piece = reply.parse(event.data, self._intake.sizes)
        events = self._feed(piece, streamed=streamed, whole=event.bare and not self._pieces.begun)
        if streamed and self._pieces.resumed:
            self._clock.token()
        elif streamed and self._is_complete() and not self._ending:
            self._ending = True
            self._clock.ending(GRACE_MS)
        return events

    def _feed(self, piece: Any, *, streamed: bool, whole: bool) -> list[StreamEvent]:
        complaint = complaint_in(piece) or _choice_complaint(piece)
        if complaint is not None:  # in mid-stream, or under a status of 200
            raise failure(self._clock, self._intake.gate, complaint, headers=self._headers)
        return self._pieces.take(piece, self._clock, streamed=streamed, whole=whole)


def _choice_complaint(piece: Any) -> Complaint | None:
    """The error inside of a choice, where OpenRouter puts that of the provider behind it."""
    choices = piece.get("choices") if isinstance(piece, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("error"):
            return complaint_in({"error": choice["error"]})
    return None
