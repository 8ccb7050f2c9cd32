"""What has to hold at an Ollama server before it is asked: its version, where a model runs, that it is loaded.

Each costs a request of its own, which takes a local server a millisecond, and is made only where it can tell
something: the version when one is wanted, the place of models that must stay on this machine, loading when a
limit depends on it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import BackendError
from ..phases import CallClock
from ..protocol import NOTHING_USED
from ..wire import words
from .connection import Connection
from .names import full_name, full_names, is_older
from .places import Findings, Places
from .request import load_body

NO_LIMIT_MS: Final = 10**12


class Preflight:
    """Prepares calls of one server. ``min_versions`` are the oldest servers that run a model, by tag."""

    def __init__(
        self,
        connection: Connection,
        *,
        min_version: str | None,
        min_versions: Mapping[str, str],
    ) -> None:
        self._link = connection
        self._min_version, self._min_versions = min_version, dict(min_versions)
        self._new_enough: Findings[None] = Findings()
        self._places = Places(connection.http, connection.server, connection.url)
        self._loading: Counter[tuple[str, object]] = Counter()

    async def prepare(self, clock: CallClock, body: dict[str, Any]) -> None:
        """Set the model's name in ``body`` to the one to ask for, and load the model if needed.

        Raises BackendError if the model must not be asked; its prompt has not been sent then.
        """
        try:
            if not self._link.direct:
                await self._check_version(clock)
            body["model"] = await self._places.name_for(clock, clock.who)
            if not self._link.direct and not self._link.server.place(clock.who).is_cloud_name:
                await self._load(clock, body)
        except BackendError as error:
            error.usage = NOTHING_USED
            raise

    async def _check_version(self, clock: CallClock) -> None:
        wanted = [v for v in (self._min_version, self._min_versions.get(clock.who)) if v is not None]
        if wanted:
            await self._new_enough.find(clock, clock.who, lambda: self._ask_version(clock, wanted))

    async def _ask_version(self, clock: CallClock, wanted: Sequence[str]) -> None:
        _, said = await self._link.ask(clock, "GET", "/api/version")
        version = words(said.get("version") or "")
        for needed in wanted:
            if is_older(version, needed):
                raise clock.error(
                    f"the Ollama server is version {self._link.gate.message(version)}, "
                    f"and `{clock.who}` needs {needed}",
                    "not_found",
                    help="update Ollama: https://ollama.com/download",
                )

    async def _load(self, clock: CallClock, body: Mapping[str, Any]) -> None:
        """Load the model in a phase of its own, where a limit has to tell loading from slowness.

        A server lists a model from the moment it begins to load it. What this backend is loading is therefore
        remembered; what others are loading just now cannot be told from what is loaded.
        """
        limits = clock.limits
        if limits.load_ms is None and limits.first_token_ms is None:
            return
        window = body.get("options", {}).get("num_ctx")
        key = (clock.who, window)
        if not self._loading[key] and await self._is_loaded(clock, window):
            return
        path, wanted = load_body(body)
        limit_ms = NO_LIMIT_MS if limits.load_ms is None else limits.load_ms
        self._loading[key] += 1
        try:
            async with self._link.http.request(
                "POST", path, clock, body=wanted, next_phase_ms=limit_ms
            ) as reply:
                if reply.status != 200:
                    raise await self._link.refusal(clock, reply)
                self._link.check(clock, reply, await reply.json())
            clock.loaded()
        finally:
            self._loading[key] -= 1
            if not self._loading[key]:
                del self._loading[key]

    async def _is_loaded(self, clock: CallClock, window: object) -> bool:
        """Whether the model is in memory with that window; also when the server does not tell."""
        _, said = await self._link.ask(clock, "GET", "/api/ps")
        models = said.get("models")
        if not isinstance(models, list):
            return True
        for entry in models:
            if full_name(clock.who) in full_names(entry):
                return window is None or entry.get("context_length", window) == window
        return False
