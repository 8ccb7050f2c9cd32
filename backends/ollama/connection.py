"""The way to an Ollama server: where it is, what may be sent to it, and how its answers are read or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from routewright.engine.policy import HttpWay, Server

from ..errors import BackendError
from ..phases import CallClock
from ..wire import HttpClient, Reply, complaint_in
from .errors import failure, refusal_of
from .places import remote_host, running_elsewhere


class Connection:
    """A connection to ``server``. Raises ValueError for an invalid address or key.

    At most ``concurrency`` calls are at work at once; short queries do not wait behind them. ``direct`` says that the
    server is ollama.com itself.
    """

    def __init__(self, server: Server, *, api_key: str | None, concurrency: int | None, way: HttpWay) -> None:
        self.server, self.direct = server, server.is_ollama_com
        self.url = server.url or ""
        if api_key is not None and not self.direct:
            raise ValueError(
                f"the API key is for https://ollama.com, and `{self.url}` is another host: leave the key out"
            )
        stays = server.is_local
        self.http = HttpClient(
            self.url, extra="ollama", api_key=api_key, concurrency=concurrency, this_machine=stays, way=way
        )
        self.gate = self.http.gate

    async def ask(self, clock: CallClock, method: str, path: str) -> tuple[int, Mapping[str, Any]]:
        """Status and JSON object of a small question's answer; an empty one for what is none.

        Raises BackendError where nothing answered, and for 403: the server talks to nobody under this address.
        """
        async with self.http.request(method, path, clock, in_turn=False) as reply:
            if reply.status == 403:
                raise await self.refusal(clock, reply)
            said = self.gate.parse_or_none(await reply.read())
            return reply.status, said if isinstance(said, Mapping) else {}

    async def refusal(self, clock: CallClock, reply: Reply) -> BackendError:
        """The error of a reply whose status is not 200."""
        return await refusal_of(clock, self.gate, reply, direct=self.direct)

    def check(self, clock: CallClock, reply: Reply, said: Any) -> None:
        """Raise BackendError for an answer, or a line of one, that is an error despite its status 200.

        One of them is an answer from another machine for a model that must stay here: the model was replaced after the
        look-up. The prompt has left by then, but the answer is still refused.
        """
        complaint = complaint_in(said)
        if complaint is not None:
            raise failure(clock, self.gate, complaint, headers=reply.headers, direct=self.direct)
        host = remote_host(said) if isinstance(said, Mapping) else None
        if host is not None and self.server.place(clock.who).location == "local":
            raise running_elsewhere(clock, self.gate.message(host), asked=True)

    async def close(self) -> None:
        """Close the connections."""
        await self.http.close()
