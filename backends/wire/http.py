"""Talks to one HTTP server within the limits of a call; failures are BackendErrors.

Follows no redirect (a key would travel with it), keeps no cookies, retries nothing, reads no environment.
What a server says is quoted in messages, shortened and without the key.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from routewright.engine.policy import HttpWay

from ..errors import BackendError
from ..phases import CallClock
from ..protocol import Limits
from .connections import CONNECTING, Connections
from .failures import connection_failure, is_unsent
from .loops import PerLoop
from .reply import Reply
from .untrusted import Gate

if TYPE_CHECKING:
    import aiohttp


_JSON: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

_MAX_CLOSED: Final = 4
"""So many kept connections may turn out closed before a call gives up."""

PROBE_LIMITS: Final = Limits(connect_ms=2_000, total_ms=5_000)
"""For health and listings, which no caller limits."""

_JSON_TYPE: Final = {"Content-Type": "application/json"}


class HttpClient:
    """A server at ``base_url``, such as ``http://localhost:8080/v1``; paths are appended to it.

    ``api_key`` goes to that server alone, as a bearer token. ``extra`` is the extra of the package to name when
    ``aiohttp`` is missing. ``concurrency`` is how many calls may run at once (``None``: any number); the others
    wait for their turn, in a phase of its own. With ``this_machine`` nothing is sent to a peer that is not this
    machine, whatever its name resolved to. ``way`` adds headers, a query and a proxy. Connections belong to the event
    loop they were made in, and end with it.
    """

    def __init__(
        self,
        base_url: str,
        *,
        extra: str,
        api_key: str | None = None,
        concurrency: int | None = None,
        this_machine: bool = False,
        way: HttpWay = HttpWay(),  # noqa: B008  # frozen
    ) -> None:
        try:
            parts = urlsplit(base_url)
            known = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:  # an invalid port, or unbalanced brackets
            known = False
        if not known:
            raise ValueError("the server's address must be like http://localhost:8080/v1")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("the server's address must be without user, query and fragment")
        if api_key is not None and not (api_key.isascii() and api_key.isprintable() and api_key.strip()):
            raise ValueError("the key for the server is empty, or holds characters that no header may hold")
        if this_machine and way.proxy is not None:
            raise ValueError("what is sent by way of a proxy leaves this machine")
        self.base_url = base_url.rstrip("/")
        self.root_url = f"{parts.scheme}://{parts.netloc}"
        self._extra = extra
        self._key = api_key.strip() if api_key is not None else None
        self.gate = Gate(self._key)
        self._concurrency, self._this_machine, self._way = concurrency, this_machine, way
        self._query = f"?{urlencode(way.query)}" if way.query else ""
        self._rooms = PerLoop(self._connections)

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
        in_turn: bool = True,
    ) -> AbstractAsyncContextManager[Reply]:
        """The reply as soon as its status and headers are there, whatever the status.

        ``path`` is relative to ``base_url``, or a whole address of the same server. A short query need not wait for
        its turn behind work (``in_turn``). Once connected, the clock enters ``first_token`` (with a limit of
        ``next_phase_ms`` if given: ``load``), unless it is further already. Leaving the block before the whole body
        was read closes the connection, which is how a server learns that nobody waits any more. Entering it raises
        BackendError.
        """
        url = path if "://" in path else self.base_url + path
        if not self.owns(url):
            raise ValueError(f"`{url}` is another server than `{self.root_url}`")
        sending: dict[str, Any] = {"method": method, "url": url + self._query, "proxy": self._way.proxy}
        room = self._rooms.here()
        sending["headers"] = room.headers
        if body is not None:
            sending |= {"data": _encoded(body, clock), "headers": room.headers | _JSON_TYPE}
        return _Exchange(self, room, clock, sending, next_phase_ms, room.turns if in_turn else None)

    def owns(self, url: str) -> bool:
        """Whether a whole address is one of this server."""
        return (url + "/").startswith(self.root_url + "/")

    async def close(self) -> None:
        """Close the connections."""
        await self._rooms.close()

    def _connections(self) -> Connections:
        return Connections(
            self._key, self._extra, self._concurrency, self._way, this_machine=self._this_machine
        )


@dataclass
class _Exchange:
    """One request and its reply, on a connection that is held meanwhile; a generator would cost several times this."""

    client: HttpClient
    room: Connections
    clock: CallClock
    sending: Mapping[str, Any]
    next_phase_ms: int | None
    turns: asyncio.Semaphore | None
    has_turn: bool = False
    response: aiohttp.ClientResponse | None = None

    async def __aenter__(self) -> Reply:
        try:
            await self._take_turn()
            self.response = await self._answered()
        except BaseException:
            self._leave()
            raise
        return Reply(self.response, self.clock, self.room.failures, self.client.gate, self.client.base_url)

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    async def _take_turn(self) -> None:
        if self.turns is not None:
            if self.turns.locked():
                self.clock.enter("turn")
            await self.clock.wait(self.turns.acquire())
            self.has_turn = True

    async def _answered(self) -> aiohttp.ClientResponse:
        clock, room = self.clock, self.room
        clock.enter("connect")
        CONNECTING.set((clock, self.next_phase_ms))
        closed_before = 0
        failure: BackendError | None = None
        while failure is None:
            try:
                return await clock.wait(room.session.request(**self.sending, allow_redirects=False))
            except room.failures as error:
                if closed_before == _MAX_CLOSED or not is_unsent(error):
                    failure = connection_failure(error, clock, self.client.base_url)
                else:
                    closed_before += 1
                    clock.enter("connect")
        # Not chained: the library's error holds our headers, with the key, and bytes of the server.
        raise failure

    def _leave(self) -> None:
        # After the last byte the connection is back in the pool already.
        if self.response is not None and not self.response.closed:
            self.response.close()
        if self.turns is not None and self.has_turn:
            self.has_turn = False
            self.turns.release()
        self.clock.stop()


def _encoded(body: Mapping[str, Any], clock: CallClock) -> bytes:
    try:
        return _JSON.encode(body).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise clock.error(
            f"the request to `{clock.who}` cannot be written as JSON: {error}", "invalid_request"
        ) from error
