"""What a gateway does beside its calls: asks what is in memory, and loads what the catalog preloads."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from routewright.backends.control import StateError

from .admin import GatewayAdmin
from .generations import PolicyGenerations
from .in_memory import says_memory
from .preloading import models_to_preload

_log = logging.getLogger("routewright")


class Upkeep:
    """Runs in the event loops that the gateway is used in; a loop that ends takes its own with it.

    ``preloads`` says whether models are preloaded at all.
    """

    def __init__(
        self,
        generations: PolicyGenerations,
        admin: GatewayAdmin,
        clock: Callable[[], int],
        *,
        preloads: bool,
    ) -> None:
        self._generations, self._admin, self._clock = generations, admin, clock
        self._preloads = preloads
        self._running: set[asyncio.Task[None]] = set()

    @property
    def has_to_preload(self) -> bool:
        """Whether the catalog in force names models that are to be preloaded."""
        return self._preloads and bool(models_to_preload(self._generations.current))

    def begin(self) -> None:
        """The gateway was entered: begin to preload, and to ask what is in memory."""
        if self.has_to_preload:
            self._start(self._preload())
        self.ask_memory()

    def ask_memory(self) -> None:
        """Begin to ask what is in memory, where that is due."""
        arms = self._generations.current
        if arms.memory.is_due(self._clock()) and any(map(says_memory, arms.every_backend())):
            self._start(self._admin.ask_memory())

    def loaded(self) -> None:
        """A call has loaded a model: begin to ask anew."""
        self._generations.current.memory.is_outdated()
        self.ask_memory()

    async def end(self) -> None:
        """Stop what runs in this event loop, and wait until it has."""
        loop = asyncio.get_running_loop()
        own = [task for task in list(self._running) if task.get_loop() is loop]
        for task in own:
            task.cancel()
        await asyncio.gather(*own, return_exceptions=True)

    async def _preload(self) -> None:
        left: dict[str, list[str]] = {}
        try:
            for one in await self._admin.preload():
                if one.why_not is None:
                    _log.info("%s", one)
                else:
                    left.setdefault(one.why_not, []).append(f"`{one.model}`")
            # A server that is not there is one matter, however many models it has.
            for why, models in left.items():
                _log.warning("not preloaded: %s: %s", ", ".join(models), why)
        except StateError as error:
            _log.warning("how long preloading took was not kept: %s", error)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
