"""Talks to one HTTP server: requests with a clock in, replies and their lines out, failures as BackendError.

Follows no redirect (a key would travel with it), keeps no cookies, retries nothing, reads no environment.
What a server says is quoted in messages, shortened and without the key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from .errors import BackendError
from .http_failures import connection_failure, is_unsent
from .lines import LineSplitter, LineTooLong
from .phases import CallClock

if TYPE_CHECKING:
    import aiohttp

__all__ = ["MAX_BODY_BYTES", "HttpClient", "Reply"]

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
"""Large enough for thousands of long vectors; a body beyond it is refused before it fills memory."""

_KEEPALIVE_S: Final = 4.0
"""Shorter than the 5 s of llama.cpp, uvicorn and Node, so that we do not write into a connection being closed."""

_DRAIN_S: Final = 0.05

_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_QUOTED: Final = 2_000
"""So much of a body is looked at for a message."""

_MAX_CLOSED: Final = 4
"""So many kept connections may turn out closed before a call gives up."""

_HEADERS: Final = {"Accept": "application/json, text/event-stream, application/x-ndjson"}


class HttpClient:
    """A server at ``base_url``, such as ``http://localhost:8080/v1``; paths are appended to it.

    ``api_key`` goes to that server alone, as a bearer token. ``extra`` is the extra of the package to name when
    ``aiohttp`` is missing. ``concurrency`` is how many calls may run at once (``None``: any number); waiting for
    a turn may take as long as a first token may. Connections belong to the event loop they were made in: close
    the client in that loop.
    """

    def __init__(
        self, base_url: str, *, extra: str, api_key: str | None = None, concurrency: int | None = None
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the server's address must be like http://localhost:8080/v1")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the server's address must be without user, query and fragment")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ValueError("the key for the server is empty, or holds characters that no header may hold")
        self.base_url = base_url.rstrip("/")
        self.root_url = f"{parts.scheme}://{parts.netloc}"
        self._extra = extra
        self._key = api_key.strip() if api_key is not None else None
        self._concurrency = concurrency
        self._rooms: WeakKeyDictionary[asyncio.AbstractEventLoop, _Room] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"HttpClient({self.base_url!r})"

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        clock: CallClock,
        *,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        next_phase_ms: int | None = None,
    ) -> AsyncIterator[Reply]:
        """The reply as soon as its status and headers are there, whatever the status.

        ``path`` is relative to ``base_url``, or a whole address of the same server. Once connected, the clock
        enters ``first_token`` (with a limit of ``next_phase_ms`` if given: ``load``), unless it is further
        already. Leaving the block before the whole body was read closes the connection, which is how a server
        learns that nobody waits any more. Raises BackendError.
        """
        room = self._room()
        url = path if "://" in path else self.base_url + path
        if not self.owns(url):
            raise ValueError(f"`{url}` is another server than `{self.root_url}`")
        sent = None if body is None else _encoded(body, clock)
        all_headers = dict(headers or {})
        if sent is not None:
            all_headers["Content-Type"] = "application/json"
        if self._key is not None:
            all_headers["Authorization"] = f"Bearer {self._key}"
        turns = room.turns
        if turns is not None:
            if turns.locked():
                clock.enter("turn")
            try:
                await clock.wait(turns.acquire())
            except BaseException:
                clock.stop()
                raise
        response: aiohttp.ClientResponse | None = None
        try:
            clock.enter("connect")
            _CONNECTING.set((clock, next_phase_ms))
            try:
                for closed_before in range(_MAX_CLOSED + 1):
                    try:
                        response = await clock.wait(
                            room.session.request(
                                method,
                                url,
                                data=sent,
                                headers=all_headers,
                                allow_redirects=False,
                            )
                        )
                        break
                    except room.failures as error:
                        if closed_before == _MAX_CLOSED or not is_unsent(error):
                            raise
                        clock.enter("connect")
            except room.failures as error:
                raise connection_failure(error, clock, self.base_url) from error
            assert response is not None  # for the type checker: the loop ends with one, or raises
            yield Reply(response, clock, self, room.failures)
        finally:
            if response is not None:
                # After the last byte the connection is back in the pool already, and this does nothing.
                response.close()
            if turns is not None:
                turns.release()
            clock.stop()

    def owns(self, url: str) -> bool:
        """Whether a whole address is one of this server."""
        return (url + "/").startswith(self.root_url + "/")

    def redacted(self, text: str) -> str:
        """``text`` in one line, shortened, without the key: fit for a message."""
        if self._key is not None:
            text = text.replace(self._key, "[key]")
        text = " ".join("".join(c if c.isprintable() else " " for c in text[:2_000]).split())
        return text if len(text) <= 300 else text[:299] + "…"

    async def close(self) -> None:
        """Close the connections of this event loop."""
        room = self._rooms.pop(asyncio.get_running_loop(), None)
        if room is not None:
            await room.session.close()

    def _room(self) -> _Room:
        loop = asyncio.get_running_loop()
        room = self._rooms.get(loop)
        if room is None:
            room = self._rooms[loop] = _Room(self._extra, self._concurrency)
        return room


class Reply:
    """A reply whose body has not been read yet."""

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

    async def read(self) -> bytes:
        """The whole body."""
        size = self._response.content_length
        if size is not None and size <= MAX_BODY_BYTES and "Content-Encoding" not in self.headers:
            return await self._within(self._response.read())
        pieces: list[bytes] = []
        size = 0
        while piece := await self._piece():
            pieces.append(piece)
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise self._clock.error(
                    f"the answer of `{self._clock.who}` has more than {MAX_BODY_BYTES} bytes", "bad_response"
                )
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def json(self) -> Any:
        """The whole body as JSON; ``bad_response`` when it is none."""
        body = await self.read()
        return self.parse(body)

    def parse(self, text: bytes) -> Any:
        """A piece of the body as JSON; ``bad_response``, with its beginning, when it is none."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            if self._cut:
                raise self._clock.error(
                    f"the answer of `{self._clock.who}` ended in the middle of a line", "broken_stream"
                ) from None
            # Cut after that, as half a key would not be recognised.
            shown = self._client.redacted(text[:_QUOTED].decode(errors="replace"))[:200]
            raise self._clock.error(
                f"the answer of `{self._clock.who}` is not JSON: `{shown}`", "bad_response"
            ) from None

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """Whole lines as they arrive, several at a time, without line ends; the last need not have one."""
        splitter = LineSplitter()
        while piece := await self._piece():
            try:
                lines = splitter.feed(piece)
            except LineTooLong:
                raise self._clock.error(
                    f"a line of the answer of `{self._clock.who}` does not end", "bad_response"
                ) from None
            if lines:
                yield lines
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
            raise connection_failure(error, self._clock, self._client.base_url) from error


def _encoded(body: Mapping[str, Any], clock: CallClock) -> bytes:
    try:
        return _JSON.encode(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise clock.error(
            f"the request to `{clock.who}` cannot be written as JSON: {error}", "bad_response"
        ) from error


class _Room:
    """What belongs to one event loop: the connections, and the turns of those who wait."""

    def __init__(self, extra: str, concurrency: int | None) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise BackendError(
                "the package `aiohttp` is not installed",
                error_class="not_found",
                help=f"pip install 'routewright[{extra}]'",
            ) from error
        self.session = aiohttp.ClientSession(
            connector=_connector_class()(limit=0, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(),  # none: the clock of each call keeps its limits
            read_bufsize=2**18,
            max_line_size=2**14,
            max_field_size=2**14,
        )
        self.turns = None if concurrency is None else asyncio.Semaphore(concurrency)
        self.failures = (aiohttp.ClientError, OSError)


_CONNECTING: ContextVar[tuple[CallClock, int | None]] = ContextVar("connecting")
"""The clock of the call that waits for a connection, and the limit of its next phase."""


@cache
def _connector_class() -> type[aiohttp.TCPConnector]:
    """Connections that tell the clock of a call when it has one.

    Tracing could tell it too, and makes every call a sixth dearer.
    """
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        async def connect(self, *args: Any, **kwargs: Any) -> Any:
            connection = await super().connect(*args, **kwargs)
            clock, next_phase_ms = _CONNECTING.get()
            if clock.phase == "connect":
                if next_phase_ms is None:
                    clock.enter("first_token")
                else:
                    clock.enter("load", limit_ms=next_phase_ms)
            return connection

    return Connector
