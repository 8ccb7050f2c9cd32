"""A small HTTP server that does what a test says, byte for byte, also what no real server would do.

    async with ScriptedHttp([Send(b"HTTP/1.1 200 OK\\r\\n…"), Wait(0.2), Cut()]) as server: ...

Each request is answered by the next script; the last one is repeated. What was asked is in ``requests``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

__all__ = [
    "Cut",
    "End",
    "Endless",
    "Hang",
    "Received",
    "ScriptedHttp",
    "Send",
    "Step",
    "Wait",
    "events",
    "reply",
]


@dataclass(frozen=True)
class Send:
    """Bytes on the wire, whatever they are."""

    raw: bytes


@dataclass(frozen=True)
class Wait:
    """A pause of so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """Nothing more, until the client closes the connection."""


@dataclass(frozen=True)
class Cut:
    """A reset instead of an end."""


@dataclass(frozen=True)
class End:
    """The connection is closed in good order."""


@dataclass(frozen=True)
class Endless:
    """The same bytes again and again, until the client closes the connection."""

    raw: bytes


Step = Send | Wait | Hang | Cut | End | Endless


@dataclass(frozen=True)
class Received:
    """A request as it came; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any


def reply(status: int, body: Any, headers: Mapping[str, str] | None = None) -> list[Step]:
    """A whole answer; what is no text or bytes is sent as JSON."""
    kind = "application/json"
    if isinstance(body, str | bytes):
        raw, kind = body.encode() if isinstance(body, str) else body, "text/html"
    else:
        raw = json.dumps(body).encode()
    lines = {"Content-Type": kind, "Content-Length": str(len(raw)), **(headers or {})}
    return [Send(_head(status, lines) + raw)]


def events(*pieces: Any, ended: bool = True) -> list[Step]:
    """The beginning of an event stream: JSON values as data, texts as they are; with ``ended``, its end."""
    steps: list[Step] = [Send(_head(200, {"Content-Type": "text/event-stream", "Connection": "close"}))]
    for piece in pieces:
        raw = piece if isinstance(piece, str) else f"data: {json.dumps(piece)}\n\n"
        steps.append(Send(raw.encode()))
    return steps if ended else [*steps, Hang()]


class ScriptedHttp:
    """Listens on a free loopback port while the block runs; ``hung_up`` is set when a client leaves a ``Hang``.

    ``endless_bytes`` is how much of an ``Endless`` was taken, what the sockets hold included.
    """

    def __init__(self, *scripts: Sequence[Step]) -> None:
        self._scripts = [list(script) for script in scripts]
        self._writers: set[asyncio.StreamWriter] = set()
        self.requests: list[Received] = []
        self.connections = 0
        self.endless_bytes = 0
        self.hung_up = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> ScriptedHttp:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        while self._writers:
            await asyncio.sleep(0.001)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                self.requests.append(await _receive(reader))
                script = self._scripts.pop(0) if len(self._scripts) > 1 else self._scripts[0]
                for step in script:
                    match step:
                        case Send(raw):
                            writer.write(raw)
                            await writer.drain()
                        case Wait(seconds):
                            await asyncio.sleep(seconds)
                        case End():
                            return
                        case Endless(raw):
                            while True:
                                writer.write(raw)
                                await writer.drain()
                                self.endless_bytes += len(raw)
                        case Hang():
                            await reader.read()
                            self.hung_up.set()
                            return
                        case Cut():
                            writer.transport.abort()
                            return
                if any(b"connection: close" in s.raw.lower() for s in script if isinstance(s, Send)):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            self._writers.discard(writer)


async def _receive(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    raw = await reader.readexactly(int(headers.get("content-length", 0)))
    return Received(method, path, headers, json.loads(raw) if raw else None)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()
