"""The connections to an HTTP server in one event loop: each tells the clock of its call, and compares its peer."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from routewright.engine.policy import HttpWay, is_loopback
from routewright.engine.report import install_command

from ..errors import BackendError
from ..phases import CallClock

if TYPE_CHECKING:
    import aiohttp


_KEEPALIVE_S: Final = 4.0
"""Shorter than the 5 s of llama.cpp, uvicorn and Node, so that we do not write into a connection being closed."""

# Ask for no content coding: 16 KB of compressed data can unpack to a gigabyte.
_ACCEPT: Final = {
    "Accept": "application/json, text/event-stream, application/x-ndjson",
    "Accept-Encoding": "identity",
}


class Connections:
    """What belongs to one event loop: the connections, and the turns of those who wait."""

    def __init__(
        self, key: str | None, extra: str, concurrency: int | None, way: HttpWay, *, this_machine: bool
    ) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise BackendError(
                "the package `aiohttp` is not installed",
                error_class="not_found",
                help=install_command(extra),
            ) from error
        headers = {**_ACCEPT, **way.headers, **_authorization(key, way.key_header)}
        # INVARIANT: under a proxy they are not the session's own, which it gives to the proxy too, with the key,
        # before there is TLS. Else they are: so it makes them ready once and not at each request.
        own, self.headers = (headers, {}) if way.proxy is None else ({}, headers)
        self._sockets: WeakSet[socket.socket] = WeakSet()
        connector = _connector_class(this_machine)
        self.session = aiohttp.ClientSession(
            connector=connector(limit=0, keepalive_timeout=_KEEPALIVE_S, socket_factory=self._socket),
            headers=own,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),  # none: the clock of each call keeps its limits
            auto_decompress=False,
            read_bufsize=2**18,
            max_line_size=2**14,
            max_field_size=2**14,
        )
        self.turns = None if concurrency is None else asyncio.Semaphore(concurrency)
        self.failures = (aiohttp.ClientError, OSError)

    async def close(self) -> None:
        """Close the connections."""
        await self.session.close()

    def drop(self) -> None:
        """Close the sockets of a loop that was closed: its transports cannot close them any more."""
        for one in self._sockets:
            one.close()
        with suppress(StopIteration):  # without its loop the session only forgets, and waits for nothing
            self.session.close().send(None)

    def _socket(self, address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, _, _ = address
        made = socket.socket(family, kind, protocol)
        self._sockets.add(made)
        return made


def _authorization(key: str | None, header: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {"Authorization": f"Bearer {key}"} if header is None else {header: key}


CONNECTING: ContextVar[tuple[CallClock, int | None]] = ContextVar("connecting")
"""The clock of the call that waits for a connection, and the limit of its next phase."""


@cache
def _connector_class(this_machine: bool) -> type[aiohttp.TCPConnector]:
    """Connections that report to the clock of a call when they are made, and check their peer for ``this_machine``.

    Tracing could tell it too, and makes every call a sixth dearer.
    """
    import aiohttp

    class Connector(aiohttp.TCPConnector):
        async def connect(self, *args: Any, **kwargs: Any) -> Any:
            connection = await super().connect(*args, **kwargs)
            clock, next_phase_ms = CONNECTING.get()
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
    """Raise BackendError unless the peer is this machine: a resolver or hosts file may map any name anywhere."""
    import aiohttp

    peer = None if transport is None else transport.get_extra_info("peername")
    if peer is None:  # closed before it could be checked
        raise aiohttp.ServerDisconnectedError
    if not is_loopback(str(peer[0])):
        raise clock.error(
            f"`{clock.who}` would not run on this machine: the name of its server resolves to {peer[0]}",
            "not_found",
            help="write 127.0.0.1 or `[::1]` for `host`, or `location: cloud` if its work may leave",
        )
