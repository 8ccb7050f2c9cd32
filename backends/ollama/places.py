"""Checks that a model that must stay on this machine does not run elsewhere, before it gets a prompt.

An Ollama server forwards calls for a model of which it has only a stub, and the name does not show it. The answers
here can only refuse a model; whether it counts as local follows from the catalog
(``routewright.engine.policy.locality``).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from routewright.engine.policy import Server

from ..errors import BackendError
from ..phases import CallClock
from ..wire import HttpClient, retry_after_ms, status_class, words
from .errors import refusal_of

T = TypeVar("T")

RECHECK_S: Final = 60.0
"""How long a positive result holds: a server may be replaced, and a tag pulled again."""

_HELP: Final = (
    "say `location: cloud` for this backend in the catalog, or give the model a tag that ends in `cloud`"
)

_LLAMA_SWAP: Final = frozenset({"version", "commit", "build_date"})
"""What llama-swap answers at the same path without being an Ollama; an Ollama answers with its version only.

https://github.com/mostlygeek/llama-swap/blob/main/proxy/proxymanager_api.go
"""

_MOST_ROOTS: Final = 9
"""Each root costs one more request before the first prompt."""

_CANNOT_TELL: Final = frozenset({401, 403, 407, 408, 421, 425, 429})
"""Statuses that do not tell whether the server knows the path."""


class Findings(Generic[T]):
    """What a server was found to be, each time asked by one of several concurrent calls; the others wait for it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._known: dict[str, tuple[T, float]] = {}
        self._asking: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Event] = {}

    async def find(self, clock: CallClock, what: str, ask: Callable[[], Awaitable[T]]) -> T:
        """What ``ask`` found about ``what`` in the last ``RECHECK_S``.

        Raises what ``ask`` raises. A call that waited for another that failed asks for itself, without waiting again:
        the failure, such as a limit or a cancellation, may concern the other call only.
        """
        key = asyncio.get_running_loop(), what
        other = self._asking.get(key)
        if not self._is_known(what) and other is not None:
            clock.enter("turn")
            await clock.wait(other.wait())
        if self._is_known(what):
            return self._known[what][0]
        done = asyncio.Event()
        is_first = self._asking.setdefault(key, done) is done
        try:
            found = await ask()
            self._known[what] = found, self._now() + RECHECK_S
            return found
        finally:
            if is_first:
                del self._asking[key]
                done.set()

    def _is_known(self, what: str) -> bool:
        return what in self._known and self._now() < self._known[what][1]


class Places:
    """Asks the Ollama server at ``root`` about its models; ``server`` is the judgement on it."""

    def __init__(
        self, client: HttpClient, server: Server, root: str, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._server, self._root = client, server, root
        self._names: Findings[str] = Findings(now)

    async def name_for(self, clock: CallClock, tag: str) -> str:
        """The name under which to ask for ``tag``.

        For a model that must stay on this machine it is the name that the server never forwards, if the server knows
        such names: a stub pulled in the meantime is then not found. Raises BackendError unless the server describes
        such a model with status 200 and a JSON object that names no other host.
        """
        place = self._server.place(tag)
        if place.location != "local":
            return place.name
        return await self._names.find(clock, tag, lambda: self._look_up(clock, tag))

    async def _look_up(self, clock: CallClock, tag: str) -> str:
        place = self._server.place(tag)
        # A server that does not know the suffix has no such model. One that does may have a stub, and names the stub's
        # host only under the plain name.
        name, refusal = place.local_name, await self._refusal(clock, place.local_name)
        if refusal is not None and name != place.name:
            name, refusal = place.name, await self._refusal(clock, place.name)
        if refusal is not None:
            raise refusal
        return name

    async def _refusal(self, clock: CallClock, name: str) -> BackendError | None:
        """Why the server's answer about a model refuses it; None if the model may be used.

        Raises BackendError for an answer that names another host, which no other answer can outweigh.
        """
        path = f"{self._root}/api/show"
        async with self._client.request("POST", path, clock, body={"model": name}, in_turn=False) as reply:
            if reply.status != 200:
                return await refusal_of(clock, self._client.gate, reply)
            said = self._client.gate.parse_or_none(await reply.read())
        if not isinstance(said, Mapping):
            return clock.error(
                f"`{clock.who}` might not run on this machine: the server's answer about it (/api/show) "
                "is not a JSON object",
                "bad_response",
                help="check that an Ollama server is at this address; say `location: cloud` if its work may leave",
            )
        host = remote_host(said)
        if host is not None:
            raise running_elsewhere(clock, self._client.gate.message(host))
        return None


class DeclaredPlaces:
    """The same check for a server that speaks OpenAI's protocol and is declared ``stays: true``.

    The server is asked whether it is an Ollama. If so, the rule for Ollama applies to each model; otherwise the
    declaration stands.
    """

    def __init__(
        self, client: HttpClient, server: Server, *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._client, self._server = client, server
        self._places = {root: Places(client, server, root, now=now) for root in _roots(client)}
        self._found: Findings[Places | None] = Findings(now)

    async def name_for(self, clock: CallClock, tag: str) -> str:
        """The name under which to ask for ``tag``. Raises BackendError if that cannot be determined."""
        if self._server.place(tag).location != "local":
            return tag
        places = await self._found.find(clock, "", lambda: self._ollama(clock))
        return tag if places is None else await places.name_for(clock, tag)

    async def _ollama(self, clock: CallClock) -> Places | None:
        for root, places in self._places.items():
            async with self._client.request("GET", f"{root}/api/version", clock, in_turn=False) as reply:
                said = self._client.gate.parse_or_none(await reply.read()) if reply.status == 200 else None
            if reply.status == 200:
                # Some servers (LM Studio) answer 200 to everything and put the error into the body.
                if isinstance(said, Mapping) and "version" in said and not said.keys() >= _LLAMA_SWAP:
                    return places
            elif not (400 <= reply.status < 500 or reply.status == 501) or reply.status in _CANNOT_TELL:
                raise clock.error(
                    f"`{clock.who}` might not run on this machine: asked whether it is an Ollama "
                    f"(GET {root}/api/version), its server answered {reply.status}",
                    status_class(reply.status),
                    retry_after_ms=retry_after_ms(reply.headers),
                    help="`stays: true` is accepted once the server answers 404 to it",
                )
        return None


def _roots(client: HttpClient) -> list[str]:
    """The possible roots of an Ollama at the client's address, which may include a proxy's path.

    The root is above ``/v1``, as in ``http://localhost/ollama/v1``. Every folder of the path is tried, since an
    address can be written in ways that only the server normalizes: ``/ollama/v1/.``, ``/ollama/%76%31``.

    Raises ValueError if the path has too many folders.
    """
    folder = client.base_url.removesuffix("/v1").rstrip("/")
    roots = [folder]
    while len(folder) > len(client.root_url):
        folder = folder.rpartition("/")[0].rstrip("/")
        roots.append(folder)
    if len(roots) > _MOST_ROOTS:
        raise ValueError(f"with `stays: true` the path of an address has at most {_MOST_ROOTS - 1} folders")
    return roots


def remote_host(said: Mapping[str, Any]) -> str | None:
    """The other host that an answer names as the place of the work; None if it names none."""
    host = said.get("remote_host") or said.get("remote_model")
    return (words(host) or "a host that it does not name") if host else None


def running_elsewhere(clock: CallClock, host: str, *, asked: bool = False) -> BackendError:
    """The error for a model that was judged local and is not; ``asked`` says that it already has the prompt."""
    would = "did not" if asked else "would not"
    return clock.error(
        f"`{clock.who}` {would} run on this machine: its server forwards it to {host}",
        "not_found",
        begun=asked,
        help=_HELP,
    )
