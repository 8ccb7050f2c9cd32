"""Servers that note who was asked and what came, and a network in which every name and address leads to one of them.

There are two sides. *Here*: an Ollama server, a plain server that speaks OpenAI's API, one that forwards all it is
asked, all on this machine's own addresses. *Elsewhere*: every other name and address, and every model that the Ollama
server forwards to its cloud. Which side a request reached is known from the way it came, never asked of the product.
Nothing leaves the machine: all servers listen on loopback, and https is spoken without TLS.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, ip_address
from random import Random
from typing import Any, Final, Literal
from unittest import mock

import aiohappyeyeballs
from aiohttp import TCPConnector

__all__ = [
    "FORWARDER",
    "OLLAMA",
    "PLAIN",
    "STUBS",
    "Asked",
    "World",
    "is_forwarded",
    "is_here",
    "network",
    "world",
]

OLLAMA: Final = 11434
PLAIN: Final = 8080
FORWARDER: Final = 8081
"""The ports on which the servers of this machine are found, as policies write them."""

ArmRuntime = Literal["here", "elsewhere"]

STUBS: Final = {
    "stub-told": (200, b'{"remote_host": "https://ollama.com:443", "remote_model": "big"}'),
    "stub-missing": (404, b'{"error": "model not found"}'),
    "stub-broken": (500, b'{"error": "internal"}'),
    "stub-page": (200, b"<html>welcome</html>"),
    "stub-list": (200, b"[]"),
    "stub-refused": (403, b""),
}
"""Pulled models whose work the Ollama server has done in its cloud, and what it says when it is asked about them."""

REDIRECTING: Final = "redirecting"

FORWARDERS: Final = frozenset({"forwarder"})
"""The servers of this machine that pass everything on."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived: where, under which name, for which model, with what."""

    side: ArmRuntime
    host: str
    path: str
    model: str
    key: str
    body: str


def is_forwarded(model: str) -> bool:
    """Whether the Ollama server sends work for this name to its cloud.

    As ollama/ollama has it (``internal/modelref/modelref.go``), which trims the whole name and what is behind its last
    colon, and never forwards a name that ends in ``:local``. A name without a colon that ends in ``-cloud`` is taken
    for one of the cloud's, to be on the safe side.
    """
    name = model.strip().removesuffix(":latest")
    if name.endswith(":local"):
        return False
    last = name.rpartition(":")[2].strip().lower()
    return last == "cloud" or last.endswith("-cloud") or name in STUBS


@dataclass
class World:
    """What was asked, in order; ``moody`` makes the servers of this machine fail now and then."""

    asked: list[Asked] = field(default_factory=list)
    random: Random = field(default_factory=lambda: Random(0))
    moody: float = 0.0
    addresses: dict[str, tuple[str, int]] = field(default_factory=dict)

    def listener(self, host: str, port: int) -> tuple[str, int]:
        """Where a connection to that address really goes."""
        kinds = {OLLAMA: "ollama", PLAIN: "plain", FORWARDER: "forwarder"}
        if is_here(host) and port in kinds:
            return self.addresses[kinds[port]]
        return self.addresses["elsewhere"]

    # --- servers -------------------------------------------------------------------------------------------

    async def serve(self, kind: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
                }
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                status, kind_of, body, more = self._answer(kind, first.split(" ")[1], headers, raw)
                if status == 0:
                    writer.transport.abort()
                    return
                said = [
                    f"HTTP/1.1 {status} x",
                    f"Content-Type: {kind_of}",
                    f"Content-Length: {len(body)}",
                    *more,
                ]
                writer.write("\r\n".join([*said, "", ""]).encode() + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def _answer(
        self, kind: str, path: str, headers: dict[str, str], raw: bytes
    ) -> tuple[int, str, bytes, list[str]]:
        asked: Any = json.loads(raw) if raw else {}
        model = str(asked.get("model", ""))
        forwarded = kind in FORWARDERS or (kind == "ollama" and path != "/api/show" and is_forwarded(model))
        side: ArmRuntime = "elsewhere" if kind == "elsewhere" or forwarded else "here"
        host = headers.get("host", "")
        self.asked.append(Asked(side, host, path, model, headers.get("authorization", ""), raw.decode()))
        if path == "/api/version":
            return _json({"version": "0.33.0"}) if kind == "ollama" else _json({"error": "no such path"}, 404)
        if path == "/api/show":
            status, said = STUBS.get(model.strip().removesuffix(":latest"), (200, b'{"model_info": {}}'))
            return status, "application/json", said, []
        if path in ("/api/tags", "/api/ps"):
            return _json({"models": []})
        if model.removesuffix(":local").strip() in STUBS and model.endswith(":local"):
            return _json({"error": f"model {model!r} not found"}, 404)
        if model == REDIRECTING:
            return 307, "text/plain", b"", ["Location: http://gpu.lan:8000" + path]
        if side == "here" and self.random.random() < self.moody:
            status = self.random.choice([0, 429, 500, 503, 404])
            return _json({"error": "not now"}, status)
        remote = {"remote_host": "https://ollama.com:443", "remote_model": "big"} if forwarded else {}
        return _work(path, asked, remote)


def _work(path: str, asked: Any, remote: dict[str, str]) -> tuple[int, str, bytes, list[str]]:
    text = _echo(asked)
    match path:
        case "/api/chat":
            counts = {"prompt_eval_count": 5, "eval_count": 3}
            said = {"model": asked["model"], "message": {"role": "assistant", "content": text}, **remote}
            if not asked.get("stream", True):
                return _json({**said, "done": True, "done_reason": "stop", **counts})
            last = {
                **said,
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "stop",
            }
            lines = [{**said, "done": False}, {**last, **counts}]
            raw = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
            return 200, "application/x-ndjson", raw, []
        case "/api/embed":
            texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
            return _json({"embeddings": [[0.6, 0.8]] * len(texts), "prompt_eval_count": 3, **remote})
        case "/v1/chat/completions":
            usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
            if not asked.get("stream"):
                message = {"role": "assistant", "content": text}
                choice = {"index": 0, "message": message, "finish_reason": "stop"}
                return _json({"model": asked["model"], "choices": [choice], "usage": usage})
            pieces: list[Any] = [
                {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
                {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage},
            ]
            data = [json.dumps(piece) for piece in pieces] + ["[DONE]"]
            return 200, "text/event-stream", "".join(f"data: {one}\n\n" for one in data).encode(), []
        case "/v1/embeddings":
            texts = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
            found = [{"index": index, "embedding": [0.6, 0.8]} for index, _ in enumerate(texts)]
            return _json({"data": found, "usage": {"prompt_tokens": 3, "total_tokens": 3}})
    return _json({"error": "no such path"}, 404)


def _echo(asked: Any) -> str:
    """An answer that holds the prompt's canary, so that an answer that is passed on is noticed too."""
    text = " ".join(str(one.get("content")) for one in asked.get("messages", ()))
    words = [word for word in text.replace("`", " ").split() if word.startswith("canary")]
    return f"ACCEPT safe 1 {' '.join(words[:1])}"


def _json(value: Any, status: int = 200) -> tuple[int, str, bytes, list[str]]:
    return status, "application/json", json.dumps(value).encode(), []


def is_here(host: str) -> bool:
    """Whether an address or a name leads to this machine."""
    try:
        address = ip_address(host.split("%")[0])
    except ValueError:
        return host == "localhost"
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address in _LOOPBACK_V4 if address.version == 4 else address == ip_address("::1")


class _Net:
    def __contains__(self, address: object) -> bool:
        return str(address).startswith("127.")


_LOOPBACK_V4 = _Net()


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """The servers, for the running event loop; use it inside ``network``."""
    made = World()
    servers = []
    for kind in ("ollama", "plain", "forwarder", "elsewhere"):
        server = await asyncio.start_server(partial(made.serve, kind), "127.0.0.1", 0)
        made.addresses[kind] = server.sockets[0].getsockname()[:2]
        servers.append(server)
    with network(made):
        try:
            yield made
        finally:
            for server in servers:
                server.close()


@contextmanager
def network(made: World) -> Iterator[None]:
    """Every connection that aiohttp makes goes where ``made`` says; no name is looked up, and TLS is left out."""

    async def resolve(
        self: TCPConnector, host: str, port: int, traces: Sequence[Any] | None = None
    ) -> list[Any]:
        return [_resolved(host, host, port)]

    async def connect(addr_infos: Sequence[Any], **_: Any) -> socket.socket:
        host, port = addr_infos[0][4][:2]
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(connection, made.listener(host, port))
        except BaseException:
            connection.close()
            raise
        return connection

    with (
        mock.patch.object(TCPConnector, "_resolve_host", resolve),
        mock.patch.object(TCPConnector, "_get_ssl_context", lambda *_: None),
        mock.patch.object(aiohappyeyeballs, "start_connection", connect),
    ):
        yield


def _resolved(name: str, host: str, port: int) -> dict[str, Any]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return {"hostname": name, "host": host, "port": port, "family": family, "proto": 0, "flags": 0}
