"""What backends said they hold in memory, and what that means for the models of a policy.

They are asked now and then, and never for a decision: it goes by what was said last.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from routewright.backends import Backend, BackendError, BackendMemory
from routewright.engine.decision import MemoryState, Resident
from routewright.engine.policy import CompiledModel

from .presence import comparable_tag

_log = logging.getLogger("routewright")

ASK_AFTER_US = 10_000_000
"""What backends hold is asked again when it is that old, and somebody calls a model."""

KNOWN_FOR_US = 60_000_000
"""What was said longer ago is not known any more."""

ASKING_TIMEOUT_S = 2.0
"""How long a backend may take to say it."""


class MemoryWatch:
    """What backends said last. Times are arguments, in microseconds since 1970, UTC."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[BackendMemory, int]] = {}
        self._asked_us: int | None = None

    def is_due(self, at_us: int) -> bool:
        """Whether it is time to ask again; whoever hears yes asks."""
        if self._asked_us is not None and abs(at_us - self._asked_us) < ASK_AFTER_US:
            return False
        self._asked_us = at_us
        return True

    @property
    def knows_nothing(self) -> bool:
        """Whether no backend has said anything, as most have nothing to say."""
        return not self._said

    def is_outdated(self) -> None:
        """Something was loaded since: it is time to ask."""
        self._asked_us = None

    async def ask(self, backends: Sequence[Backend], *, at_us: int) -> None:
        """Ask all at the same time. Of one that does not say it, nothing is known afterwards."""
        self._asked_us = at_us
        said = await asyncio.gather(*map(_memory_of, backends))
        for backend, memory in zip(backends, said, strict=True):
            if memory is None:
                self._said.pop(id(backend), None)
            else:
                self._said[id(backend)] = memory, at_us

    def of(self, backend: Backend, *, at_us: int) -> BackendMemory | None:
        """What a backend said, if that is not too long ago."""
        said = self._said.get(id(backend))
        return None if said is None or abs(at_us - said[1]) >= KNOWN_FOR_US else said[0]

    def tell(self, following: MemoryWatch, backends: Sequence[Backend]) -> None:
        """Let another one know what these backends said, unless they have told it since."""
        for key in self._said.keys() & {id(one) for one in backends}:
            before = following._said.get(key)
            if before is None or before[1] <= self._said[key][1]:
                following._said[key] = self._said[key]


def says_memory(backend: Backend) -> bool:
    """Whether a backend may say what it holds."""
    return type(backend).memory is not Backend.memory


async def _memory_of(backend: Backend) -> BackendMemory | None:
    try:
        async with asyncio.timeout(ASKING_TIMEOUT_S):
            return await backend.memory()
    except (BackendError, TimeoutError) as error:
        _log.debug("%r does not say what is in memory: %s", backend, error)
        return None


@dataclass(frozen=True, slots=True)
class KnownMemory:
    """What is known of memory in the words of a policy.

    ``backends`` are by id. ``loaded`` has whether each model that runs on this machine is in memory, ``sizes`` what
    models take, both by model id and only where it is known.
    """

    backends: Mapping[str, MemoryState] = field(default_factory=dict)
    loaded: Mapping[str, bool] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)


def known_memory(said: Mapping[str, BackendMemory], models: Sequence[CompiledModel]) -> KnownMemory:
    """What ``said`` means, by backend id, for the models of a catalog."""
    states, loaded, sizes = {}, {}, {}
    for id, memory in said.items():
        ids: dict[str, str] = {}
        held = {comparable_tag(one.tag): one.size_bytes for one in memory.loaded}
        others = {comparable_tag(tag): size for tag, size in memory.sizes.items()}
        for model in models:
            if model.backend != id or model.location == "cloud":
                continue
            tag = comparable_tag(model.tag)
            ids.setdefault(tag, model.id)
            loaded[model.id] = tag in held
            size = held.get(tag) or others.get(tag)
            if size is not None:
                sizes[model.id] = size
        residents = [
            Resident(ids.get(comparable_tag(one.tag), one.tag), one.size_bytes) for one in memory.loaded
        ]
        states[id] = MemoryState(memory.limit_bytes, tuple(residents))
    return KnownMemory(states, loaded, sizes)
