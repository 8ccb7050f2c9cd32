"""Reads a policy's files again and replaces the arms in force; what runs on the old ones ends on them.

Backends that are declared as before are kept, others are opened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from routewright.backends import Backend
from routewright.engine.policy import CompiledPolicy
from routewright.engine.report import TaskError
from routewright.loading import Permissions, Root, load_policy

from .arms import RolloutRuntime, alike, meaning_of, own_backends, simulated_candidate
from .opening import open_backends, simulated_backends, unopened


class _Running(AbstractContextManager[RolloutRuntime]):
    """What lies between beginning and ending; every call enters one, and a generator would take four times as long."""

    __slots__ = ("_arms", "_begin", "_end")

    def __init__(self, begin: Callable[[], RolloutRuntime], end: Callable[[RolloutRuntime], None]) -> None:
        self._begin, self._end = begin, end

    def __enter__(self) -> RolloutRuntime:
        self._arms = self._begin()
        return self._arms

    def __exit__(self, *_: object) -> None:
        self._end(self._arms)


@dataclass(frozen=True, slots=True)
class GatewaySource:
    """How a gateway was made from a file, so that it can be done again, in another directory too."""

    path: str
    maps: Mapping[str, str] | None = None
    simulate: bool = False
    root: Root | None = None
    permissions: Permissions | None = None
    directory: str = field(default_factory=os.getcwd)

    def policy(self) -> CompiledPolicy:
        """The policy as its files are now. Raises as ``load_policy`` does."""
        # As it was given, where that still leads there: so it is named in messages.
        path = os.path.join(self.directory, self.path)
        return load_policy(
            self.path if os.path.abspath(self.path) == os.path.normpath(path) else path,
            maps=self.maps,
            root=self.root,
        )

    def backends(
        self, policy: CompiledPolicy, before: RolloutRuntime | None = None
    ) -> tuple[Mapping[str, Backend], Mapping[str, Backend]]:
        """The backends of a policy, and those that its rollout's candidate has for itself.

        Those of ``before`` are kept where they are declared alike. One that does not open is an ``UnopenedBackend``,
        but raises BackendError where it would replace what is in force.
        """
        if self.simulate:
            return simulated_backends(policy), simulated_candidate(policy)
        mine = self._opened(policy, policy.catalog.backends, before)
        rollout = policy.rollout
        if rollout is None or rollout.candidate is None:
            return mine, {}
        return mine, self._opened(rollout.candidate, own_backends(policy), before)

    def _opened(
        self, policy: CompiledPolicy, ids: Collection[str], before: RolloutRuntime | None
    ) -> Mapping[str, Backend]:
        before_them: dict[str, Backend] = {}
        for side in before or ():
            for id in ids:
                if id in side.backends and alike(side.policy.catalog, policy.catalog, id):
                    before_them.setdefault(id, side.backends[id])
        tried = unopened(before_them)  # what was missing may be there now
        kept = {id: one for id, one in before_them.items() if id not in tried}
        opened = open_backends(
            policy, only=[id for id in ids if id not in kept], permissions=self.permissions
        )
        for id, one in unopened(opened).items():
            if before is not None and id not in tried:
                raise one.error
        found = {**opened, **kept}
        return {id: found[id] for id in ids if id in found}


_log = logging.getLogger("routewright")

Backends = Mapping[str, Backend]


class PolicyGenerations:
    """The arms in force, and those before them on which something still runs.

    ``make`` makes arms of a policy, its backends, and those of a rollout's candidate; ``source`` says where the policy
    is read from again. A backend is closed when no arms have it any more.
    """

    def __init__(
        self,
        make: Callable[[CompiledPolicy, Backends, Backends], RolloutRuntime],
        first: RolloutRuntime,
        source: GatewaySource | None,
    ) -> None:
        self._make = make
        self._source = source
        self._live = [first]  # the last ones are in force
        self._left: list[Backend] = []  # to be closed
        self._closing: set[asyncio.Task[None]] = set()
        self._readings = self._newest = 0  # how often the files were read, and which reading is in force
        self.ended = False
        self._lock = threading.Lock()  # threads with event loops of their own count too

    @property
    def current(self) -> RolloutRuntime:
        """The arms in force."""
        return self._live[-1]

    async def reload(self) -> bool:
        """What ``ModelGateway.reload`` does."""
        source = self._source
        if source is None:
            raise TaskError(
                "this gateway was not made from a file, so there is nothing to read again",
                help="make it by ModelGateway.from_policy",
            )
        self.check_open()
        self._readings += 1
        reading = self._readings
        # In a thread: compiling takes longer than an event loop should stand.
        policy = await asyncio.to_thread(source.policy)
        self.check_open()
        if reading < self._newest:
            return False  # what was read later is in force already
        self._newest = reading
        same = is_as_before(self.current.control.policy, policy)
        missing = _unopened(self.current)
        if same and not any(missing):
            return False
        self._follow(self._make(policy, *source.backends(policy, self.current)))
        await self.close_left()
        return not same or _unopened(self.current) != missing

    def check_open(self) -> None:
        """Raise TaskError once all has ended."""
        if self.ended:
            raise TaskError("the gateway is closed")

    def running(self) -> AbstractContextManager[RolloutRuntime]:
        """The arms in force, on which something runs meanwhile: they keep their backends, whatever is reloaded."""
        return _Running(self._begin, self._end)

    def _begin(self) -> RolloutRuntime:
        with self._lock:
            arms = self._live[-1]
            arms.running += 1
            return arms

    def _follow(self, arms: RolloutRuntime) -> None:
        """Have ``arms`` in force from now on, and know of their backends' health what was known."""
        with self._lock:
            before = self._live[-1]
            self._live.append(arms)
            before.tell_health(arms)
            if not before.running:
                self._leave(before)

    def _end(self, arms: RolloutRuntime) -> None:
        """Something that ran on ``arms`` has ended: close what they alone needed, if they were replaced meanwhile."""
        if self._was_last(arms):
            closing = asyncio.ensure_future(self.close_left())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    def _was_last(self, arms: RolloutRuntime) -> bool:
        with self._lock:
            arms.running -= 1
            if arms.running or self.ended or arms is self._live[-1] or arms not in self._live:
                return False
            self._leave(arms)
            return True

    async def close_left(self) -> None:
        """Close the backends that nobody needs any more; one that cannot be closed is a warning."""
        while self._left:
            backend = self._left.pop()
            try:
                await backend.close()
            except asyncio.CancelledError:
                self._left.append(backend)  # its event loop ends first: whoever ends it all closes it
                raise
            except Exception as error:
                _log.warning("a backend that was replaced could not be closed: %s", error, exc_info=error)

    def end_all(self) -> list[Backend]:
        """Every backend that is not closed, each once: whoever asks closes them, also those on which something runs."""
        with self._lock:
            self.ended = True
            live = {id(one): one for arms in self._live for one in arms.every_backend()}
            return [*live.values(), *self._left]

    def _leave(self, arms: RolloutRuntime) -> None:
        self._live.remove(arms)
        needed = {id(one) for other in self._live for one in other.every_backend()}
        self._left += [one for one in arms.every_backend() if id(one) not in needed]


def _unopened(arms: RolloutRuntime) -> list[list[str]]:
    """The ids of each arm's backends that could not be opened."""
    return [sorted(unopened(side.backends)) for side in arms]


def is_as_before(before: CompiledPolicy, policy: CompiledPolicy) -> bool:
    """Whether two policies mean the same and their backends open the same way: which key they use is no meaning."""
    if meaning_of(before) != meaning_of(policy) or before.catalog.shape != policy.catalog.shape:
        return False
    if before.rollout is None or policy.rollout is None:
        return True
    one, other = before.rollout.candidate, policy.rollout.candidate
    return one is None or other is None or one.catalog.shape == other.catalog.shape
