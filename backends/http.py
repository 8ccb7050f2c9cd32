"""Talks to one HTTP server: requests with a clock in, replies and their lines out, failures as BackendError.

Follows no redirect (a key would travel with it), keeps no cookies, retries nothing, reads no environment.
What a server says is quoted in messages, shortened and without the key.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from .errors import BackendError
from .lines import LineSplitter, LineTooLong
from .phases import CallClock

if TYPE_CHECKING:
    import aiohttp

__all__ = ["MAX_BODY_BYTES", "HttpClient", "Reply"]

MAX_BODY_BYTES: Final = 256 * 1024 * 1024
"""Large enough for thousands of long vectors; a body beyond it is refused before it fills memory."""

_KEEPALIVE_S: Final = 4.0
"""Shorter than the 5 s of llama.cpp, uvicorn and Node, so that we do not write into a connection being closed."""

_HEADERS: Final = {"Accept": "application/json, text/event-stream, application/x-ndjson"}


class HttpClient:
    """A server at ``base_url``, such as ``http://localhost:8080/v1``; paths are appended to it.

    ``api_key`` goes to that server alone, as a bearer token. ``extra`` is the extra of the package to name when
    ``aiohttp`` is missing. ``concurrency`` is how many calls may run at once (``None``: any number); a call
    that waits for its turn is in no phase yet. Connections belong to the event loop they were made in: close
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
        learns that nobody waits any more. Raises BackendError, also for failures inside the block.
        """
        room = self._room()
        url = path if "://" in path else self.base_url + path
        if not (url + "/").startswith(self.root_url + "/"):
            raise ValueError(f"`{url}` is another server than `{self.root_url}`")
        sent = None if body is None else json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        all_headers = dict(headers or {})
        if sent is not None:
            all_headers["Content-Type"] = "application/json"
        if self._key is not None:
            all_headers["Authorization"] = f"Bearer {self._key}"
        async with room.turns:
            response: aiohttp.ClientResponse | None = None
            try:
                clock.enter("connect")
                response = await clock.wait(
                    room.session.request(
                        method,
                        url,
                        data=sent,
                        headers=all_headers,
                        allow_redirects=False,
                        trace_request_ctx=(clock, next_phase_ms),
                    )
                )
                yield Reply(response, clock, self)
            except room.failures as error:
                raise self._failure(error, clock) from error
            finally:
                if response is not None:
                    # After the last byte the connection is back in the pool already, and this does nothing.
                    response.close()

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

    def _failure(self, error: Exception, clock: CallClock) -> BackendError:
        import aiohttp

        where = urlsplit(self.base_url).netloc
        match error:
            case aiohttp.ClientConnectorDNSError():
                return clock.error(f"the name of the server `{where}` is not known", "timeout.connect")
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
                return clock.error(
                    f"no secure connection to `{where}`: {self.redacted(str(error))}",
                    "bad_response",
                    help="check the address (http or https?) and the server's certificate",
                )
            case aiohttp.ClientConnectorError():
                number = error.os_error.errno
                reason = os.strerror(number) if number else type(error.os_error).__name__
                return clock.error(
                    f"no connection to `{where}`: {reason.lower()}",
                    "timeout.connect",
                    help=f"is the server running? nothing was sent to {self.base_url}",
                )
            case aiohttp.ClientPayloadError() | aiohttp.ClientConnectionError() | OSError():
                return clock.error(
                    f"`{where}` closed the connection before its answer was whole", "broken_stream"
                )
            case _:
                return clock.error(
                    f"`{where}` did not answer in HTTP",
                    "bad_response",
                    help="check the address: http or https?",
                )


class Reply:
    """A reply whose body has not been read yet."""

    def __init__(self, response: aiohttp.ClientResponse, clock: CallClock, client: HttpClient) -> None:
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self._response, self._clock, self._client = response, clock, client

    @property
    def content_type(self) -> str:
        """In lower case, without parameters; empty when the server does not say."""
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()

    async def read(self) -> bytes:
        """The whole body."""
        pieces: list[bytes] = []
        size = 0
        while piece := await self._clock.wait(self._response.content.readany()):
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
            shown = self._client.redacted(text[:200].decode(errors="replace"))
            raise self._clock.error(
                f"the answer of `{self._clock.who}` is not JSON: `{shown}`", "bad_response"
            ) from None

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """Whole lines as they arrive, several at a time, without line ends; the last need not have one."""
        splitter = LineSplitter()
        while piece := await self._clock.wait(self._response.content.readany()):
            try:
                lines = splitter.feed(piece)
            except LineTooLong:
                raise self._clock.error(
                    f"a line of the answer of `{self._clock.who}` does not end", "bad_response"
                ) from None
            if lines:
                yield lines
        if rest := splitter.rest():
            yield [rest]


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
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_create_end.append(_connected)
        tracing.on_connection_reuseconn.append(_connected)
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(),  # none: the clock of each call keeps its limits
            trace_configs=[tracing],
            read_bufsize=2**18,
            max_line_size=2**14,
            max_field_size=2**14,
        )
        self.turns: asyncio.Semaphore | _NoTurns = (
            _NoTurns() if concurrency is None else asyncio.Semaphore(concurrency)
        )
        self.failures = (aiohttp.ClientError, OSError)


class _NoTurns:
    """For any number of calls at once."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


async def _connected(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
    clock, next_phase_ms = context.trace_request_ctx
    if clock.phase == "connect":
        if next_phase_ms is None:
            clock.enter("first_token")
        else:
            clock.enter("load", limit_ms=next_phase_ms)
