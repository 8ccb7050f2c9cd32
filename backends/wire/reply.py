"""Reads the reply of an HTTP server within bounds: as a whole, as JSON, or line by line; failures are BackendErrors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from ..errors import BackendError
from ..phases import CallClock
from .failures import connection_failure
from .lines import LineSplitter, LineTooLong
from .sizes import MAX_BODY_BYTES, MAX_ERROR_BYTES, SMALL_SIZES, Sizes
from .untrusted import Gate
from .values import Unreadable

if TYPE_CHECKING:
    import aiohttp


STEP_BYTES: Final = 64 * 1024
"""Bytes of a stream read before other tasks get a turn and the limits are checked."""

_DRAIN_S: Final = 0.05

_REFUSAL_S: Final = 2.0
"""Seconds to wait for the body of an error response."""


class Reply:
    """A reply whose body has not been read yet."""

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        clock: CallClock,
        failures: tuple[type[Exception], ...],
        gate: Gate,
        base_url: str,
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response, self._clock, self._failures = response, clock, failures
        self._gate, self._base_url = gate, base_url
        self._cut = False
        self._broken: BackendError | None = None
        self._refusal: tuple[Any, str] | None = None

    async def read(self, most: int = MAX_BODY_BYTES) -> bytes:
        """The whole body, at most ``most`` bytes."""
        self._refuse_encoded()
        size = self._response.content_length
        if size is not None and "Transfer-Encoding" not in self.headers:
            if size > most:
                raise self._too_large(most)
            if self._response.content.is_eof():
                return await self._response.read()  # it has come already
            return await self._within(self._response.read())
        body = bytearray()
        while piece := await self._piece():
            body += piece
            if len(body) > most:
                raise self._too_large(most)
        return bytes(body)

    async def json(self, sizes: Sizes = SMALL_SIZES) -> Any:
        """The whole body as JSON. Raises ``bad_response`` if it is not JSON or is too large."""
        return self.parse(await self.read(sizes.body), sizes)

    def parse(self, text: bytes, sizes: Sizes = SMALL_SIZES) -> Any:
        """A piece of the body as JSON; ``bad_response``, with its beginning, when it is none."""
        try:
            return self._gate.parse(text, sizes)
        except Unreadable as error:
            why = str(error)
        if self._cut and text.startswith((b"{", b"[")):
            raise self._broken or self._clock.error(
                f"the answer of `{self._clock.who}` ended in the middle of a line", "broken_stream"
            )
        raise self._clock.error(f"the answer of `{self._clock.who}` {why}", "bad_response")

    async def refusal(self) -> tuple[Any, str]:
        """The body of an error as JSON, None where it is none, and its beginning as text.

        What does not come, or is too large, is left out: the status says enough without it.
        """
        if self._refusal is not None:
            return self._refusal
        body = bytearray()
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(_REFUSAL_S):
                self._refuse_encoded()
                while len(body) < MAX_ERROR_BYTES and (piece := await self._piece()):
                    body += piece
        del body[MAX_ERROR_BYTES:]
        self._refusal = self._gate.parse_or_none(bytes(body)), body[:2_000].decode(errors="replace")
        return self._refusal

    async def lines(self, sizes: Sizes = SMALL_SIZES) -> AsyncIterator[list[bytes]]:
        """Yields whole lines as they arrive, several at a time, without line ends; a blank line follows the last.

        The last line need not have an end: whoever reads it sees whether it is whole, also where the connection broke.
        Other tasks get a turn and limits are checked after each ``STEP_BYTES``, however much arrives at once.
        """
        self._refuse_encoded()
        splitter = LineSplitter(max_line_bytes=sizes.body)
        left = sizes.stream
        while True:
            try:
                piece = await self._piece()
            except BackendError as error:
                if error.error_class != "broken_stream":
                    raise
                self._broken = error
                break
            if not piece:
                break
            left -= len(piece)
            if left < 0:
                raise self._too_large(sizes.stream)
            if len(piece) <= STEP_BYTES:
                if lines := self._split(splitter, piece):
                    yield lines
                continue
            for start in range(0, len(piece), STEP_BYTES):
                if lines := self._split(splitter, piece[start : start + STEP_BYTES]):
                    yield lines
                await self._clock.turn()
        self._cut = True
        yield [splitter.rest(), b""]
        if self._broken is not None:
            raise self._broken

    async def drain(self) -> None:
        """Read what is left, for a moment: a connection whose last byte was read can be used again.

        Only where a new one is dear: without TLS it is not, and llama.cpp closes connections after a stream
        without a word.
        """
        if self._response.url.scheme != "https":
            return
        with suppress(TimeoutError, *self._failures):  # it is closed then: the next call makes another
            async with asyncio.timeout(_DRAIN_S):
                while await self._response.content.readany():
                    pass

    async def _piece(self) -> bytes:
        return await self._within(self._response.content.readany())

    async def _within(self, reading: Awaitable[bytes]) -> bytes:
        try:
            return await self._clock.wait(reading)
        except self._failures as error:
            failure = connection_failure(error, self._clock, self._base_url)
        raise failure  # not from the library's error, which holds our headers and bytes of the server

    def _split(self, splitter: LineSplitter, piece: bytes) -> list[bytes]:
        try:
            return splitter.feed(piece)
        except LineTooLong:
            raise self._clock.error(
                f"a line of the answer of `{self._clock.who}` does not end", "bad_response"
            ) from None

    def _refuse_encoded(self) -> None:
        coding = self.headers.get("Content-Encoding")
        if coding is not None and coding.strip().lower() not in ("", "identity"):
            raise self._clock.error(
                f"the answer of `{self._clock.who}` is compressed (`{self._gate.message(coding)}`), "
                "which was not asked for",
                "bad_response",
                help="switch compression off at the server, or at the proxy before it",
            )

    def _too_large(self, most: int) -> BackendError:
        return self._clock.error(
            f"the answer of `{self._clock.who}` has more than {most} bytes, too many for what was asked",
            "bad_response",
        )
