"""Talks to one HTTP server: requests with a clock in, replies and their lines out, failures as BackendError.

Follows no redirect (a key would travel with it), keeps no cookies, retries nothing, reads no environment.
What a server says is quoted in messages, shortened and without the key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from routewright.engine.policy.locality import is_loopback

from .answer_sizes import MAX_BODY_BYTES, MAX_ERROR_BYTES, SMALL_SIZES, Sizes
from .errors import BackendError, install_command
from .http_failures import connection_failure, is_unsent
from .lines import LineSplitter, LineTooLong
from .phases import CallClock
from .untrusted import Gate
from .untrusted_values import Unreadable

if TYPE_CHECKING:
    import aiohttp

__all__ = ["STEP_BYTES", "HttpClient", "Reply"]

STEP_BYTES: Final = 64 * 1024
"""So much of a stream is read in one go: then other tasks get their turn, and the clock is looked at."""

_KEEPALIVE_S: Final = 4.0
"""Shorter than the 5 s of llama.cpp, uvicorn and Node, so that we do not write into a connection being closed."""

_DRAIN_S: Final = 0.05

_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_REFUSAL_S: Final = 2.0
"""How long the body of an error may take."""

_MAX_CLOSED: Final = 4
"""So many kept connections may turn out closed before a call gives up."""

# Without a coding of the content: 16 KB of it can be a gigabyte.
_ACCEPT: Final = {
    "Accept": "application/json, text/event-stream, application/x-ndjson",
    "Accept-Encoding": "identity",
}
_JSON_TYPE: Final = {"Content-Type": "application/json"}


class HttpClient:
    """A server at ``base_url``, such as ``http://localhost:8080/v1``; paths are appended to it.

    ``api_key`` goes to that server alone, as a bearer token. ``extra`` is the extra of the package to name when
    ``aiohttp`` is missing. ``concurrency`` is how many calls may run at once (``None``: any number); waiting for
    a turn may take as long as a first token may. With ``this_machine`` nothing is sent to a peer that is not this
    machine, whatever its name stood for. Connections belong to the event loop they were made in: close
    the client in that loop.
    """

    def __init__(
        self,
        base_url: str,
        *,
        extra: str,
        api_key: str | None = None,
        concurrency: int | None = None,
        this_machine: bool = False,
    ) -> None:
        try:
            parts = urlsplit(base_url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # no port, or brackets that do not fit
            known = False
        if not known:
            raise ValueError("the server's address must be like http://localhost:8080/v1")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the server's address must be without user, query and fragment")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ValueError("the key for the server is empty, or holds characters that no header may hold")
        self.base_url = base_url.rstrip("/")
        self.root_url = f"{parts.scheme}://{parts.netloc}"
        self._extra = extra
        self._key = api_key.strip() if api_key is not None else None
        self.gate = Gate(self._key)
        self._concurrency, self._this_machine = concurrency, this_machine
        self._rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"HttpClient({self.base_url!r})"

    def request(
        self,
        method: str,
        path: str,
        clock: CallClock,
        *,
        body: Mapping[str, Any] | None = None,
        next_phase_ms: int | None = None,
    ) -> AbstractAsyncContextManager[Reply]:
        """The reply as soon as its status and headers are there, whatever the status.

        ``path`` is relative to ``base_url``, or a whole address of the same server. Once connected, the clock
        enters ``first_token`` (with a limit of ``next_phase_ms`` if given: ``load``), unless it is further
        already. Leaving the block before the whole body was read closes the connection, which is how a server
        learns that nobody waits any more. Entering it raises BackendError.
        """
        url = path if "://" in path else self.base_url + path
        if not self.owns(url):
            raise ValueError(f"`{url}` is another server than `{self.root_url}`")
        sent = None if body is None else _encoded(body, clock)
        return _Exchange(self, self._room(), method, url, sent, clock, next_phase_ms)

    def owns(self, url: str) -> bool:
        """Whether a whole address is one of this server."""
        return (url + "/").startswith(self.root_url + "/")

    async def close(self) -> None:
        """Close the connections of this event loop."""
        room = self._rooms.pop(asyncio.get_running_loop(), None)
        if room is not None:
            await room.session.close()

    def _room(self) -> _Room:
        loop = asyncio.get_running_loop()
        room = self._rooms.get(loop)
        if room is None:
            headers = _ACCEPT if self._key is None else {**_ACCEPT, "Authorization": f"Bearer {self._key}"}
            room = self._rooms[loop] = _Room(
                headers, self._extra, self._concurrency, this_machine=self._this_machine
            )
        return room


class _Exchange:
    """One request and its reply, on a connection that is held meanwhile; a generator would cost several times this."""

    __slots__ = (
        "_client",
        "_clock",
        "_method",
        "_next_phase_ms",
        "_response",
        "_room",
        "_sent",
        "_turns",
        "_url",
    )

    def __init__(
        self,
        client: HttpClient,
        room: _Room,
        method: str,
        url: str,
        sent: bytes | None,
        clock: CallClock,
        next_phase_ms: int | None,
    ) -> None:
        self._client, self._room, self._clock = client, room, clock
        self._method, self._url, self._sent = method, url, sent
        self._next_phase_ms = next_phase_ms
        self._turns: asyncio.Semaphore | None = None
        self._response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Reply:
        try:
            await self._take_turn()
            self._response = await self._answered()
        except BaseException:
            self._leave()
            raise
        return Reply(self._response, self._clock, self._client, self._room.failures)

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _take_turn(self) -> None:
        turns = self._room.turns
        if turns is not None:
            if turns.locked():
                self._clock.enter("turn")
            await self._clock.wait(turns.acquire())
            self._turns = turns

    async def _answered(self) -> aiohttp.ClientResponse:
        clock, room = self._clock, self._room
        clock.enter("connect")
        _CONNECTING.set((clock, self._next_phase_ms))
        closed_before = 0
        failure: BackendError | None = None
        while failure is None:
            try:
                return await clock.wait(
                    room.session.request(
                        self._method,
                        self._url,
                        data=self._sent,
                        headers=None if self._sent is None else _JSON_TYPE,
                        allow_redirects=False,
                    )
                )
            except room.failures as error:
                if closed_before == _MAX_CLOSED or not is_unsent(error):
                    failure = connection_failure(error, clock, self._client.base_url)
                else:
                    closed_before += 1
                    clock.enter("connect")
        # Not from the library's error: that holds our headers, the key among them, and bytes of the server.
        raise failure

    def _leave(self) -> None:
        response, turns = self._response, self._turns
        # After the last byte the connection is back in the pool already.
        if response is not None and not response.closed:
            response.close()
        if turns is not None:
            self._turns = None
            turns.release()
        self._clock.stop()


class Reply:
    """A reply whose body has not been read yet."""

    __slots__ = (
        "_client",
        "_clock",
        "_cut",
        "_failures",
        "_response",
        "headers",
        "status",
    )

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        clock: CallClock,
        client: HttpClient,
        failures: tuple[type[Exception], ...],
    ) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response, self._clock, self._client, self._failures = response, clock, client, failures
        self._cut = False

    @property
    def content_type(self) -> str:
        """In lower case, without parameters; empty when the server does not say."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def read(self, most: int = MAX_BODY_BYTES) -> bytes:
        """The whole body, which has at most ``most`` bytes."""
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
        """The whole body as JSON; ``bad_response`` when it is none, or too large."""
        return self.parse(await self.read(sizes.body), sizes)

    def parse(self, text: bytes, sizes: Sizes = SMALL_SIZES) -> Any:
        """A piece of the body as JSON; ``bad_response``, with its beginning, when it is none."""
        try:
            return self._client.gate.parse(text, sizes)
        except Unreadable as error:
            why = str(error)
        if self._cut:
            raise self._clock.error(
                f"the answer of `{self._clock.who}` ended in the middle of a line", "broken_stream"
            )
        raise self._clock.error(f"the answer of `{self._clock.who}` {why}", "bad_response")

    async def refusal(self) -> tuple[Any, str]:
        """The body of an error as JSON, None where it is none, and its beginning as text.

        What does not come, or is too large, is left out: the status says enough without it.
        """
        body = bytearray()
        with suppress(BackendError, TimeoutError):
            async with asyncio.timeout(_REFUSAL_S):
                self._refuse_encoded()
                while len(body) < MAX_ERROR_BYTES and (piece := await self._piece()):
                    body += piece
        del body[MAX_ERROR_BYTES:]
        return self._client.gate.parse_or_none(bytes(body)), body[:2_000].decode(errors="replace")

    async def lines(self, sizes: Sizes = SMALL_SIZES) -> AsyncIterator[list[bytes]]:
        """Whole lines as they arrive, several at a time, without line ends; the last need not have one.

        However much comes at once, other tasks get their turn and limits hold after each ``STEP_BYTES``.
        """
        self._refuse_encoded()
        splitter = LineSplitter(max_line_bytes=sizes.body)
        left = sizes.stream
        while piece := await self._piece():
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
        if rest := splitter.rest():
            self._cut = True
            yield [rest]

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
            failure = connection_failure(error, self._clock, self._client.base_url)
        raise failure  # not from the library's error, see above

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
                f"the answer of `{self._clock.who}` is compressed (`{self._client.gate.message(coding)}`), "
                "which was not asked for",
                "bad_response",
                help="switch compression off at the server, or at the proxy before it",
            )

    def _too_large(self, most: int) -> BackendError:
        return self._clock.error(
            f"the answer of `{self._clock.who}` has more than {most} bytes, too many for what was asked",
            "bad_response",
        )


def _encoded(body: Mapping[str, Any], clock: CallClock) -> bytes:
    try:
        return _JSON.encode(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise clock.error(
            f"the request to `{clock.who}` cannot be written as JSON: {error}", "bad_response"
        ) from error


class _Room:
    """What belongs to one event loop: the connections, and the turns of those who wait."""

    def __init__(
        self, headers: Mapping[str, str], extra: str, concurrency: int | None, *, this_machine: bool
    ) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise BackendError(
                "the package `aiohttp` is not installed",
                error_class="not_found",
                help=install_command(extra),
            ) from error
        self.session = aiohttp.ClientSession(
            connector=_connector_class(this_machine)(limit=0, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            timeout=aiohttp.ClientTimeout(),  # none: the clock of each call keeps its limits
            auto_decompress=False,
            read_bufsize=2**18,
            max_line_size=2**14,
            max_field_size=2**14,
        )
        self.turns = None if concurrency is None else asyncio.Semaphore(concurrency)
        self.failures = (aiohttp.ClientError, OSError)


_CONNECTING: ContextVar[tuple[CallClock, int | None]] = ContextVar("connecting")
"""The clock of the call that waits for a connection, and the limit of its next phase."""


@cache
def _connector_class(this_machine: bool) -> type[aiohttp.TCPConnector]:
    """Connections that tell the clock of a call when it has one, and compare their peer with ``this_machine``.

    Tracing could tell it too, and makes every call a sixth dearer.
    """
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        async def connect(self, *args: Any, **kwargs: Any) -> Any:
            connection = await super().connect(*args, **kwargs)
            clock, next_phase_ms = _CONNECTING.get()
            if this_machine:
                try:
                    _check_peer(connection.transport, clock)
                except BaseException:
                    connection.close()
                    raise
            if clock.phase == "connect":
                if next_phase_ms is None:
                    clock.enter("first_token")
                else:
                    clock.enter("load", limit_ms=next_phase_ms)
            return connection

    return Connector


def _check_peer(transport: asyncio.Transport | None, clock: CallClock) -> None:
    """Raise BackendError unless the other end is this machine: resolvers and hosts files map names as they like."""
    import aiohttp

    peer = None if transport is None else transport.get_extra_info("peername")
    if peer is None:  # it was gone before it could be looked at
        raise aiohttp.ServerDisconnectedError
    if not is_loopback(str(peer[0])):
        raise clock.error(
            f"`{clock.who}` would not run on this machine: the name of its server leads to {peer[0]}",
            "not_found",
            help="write 127.0.0.1 or `[::1]` for `host`, or `location: cloud` where its work may leave",
        )
