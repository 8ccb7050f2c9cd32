"""Keeps models in memory for the calls that need them, never more at once than memory allows.

Every model in memory has one thread to itself, which loads it and then runs its work in the order it came; so
a model does one thing at a time, and whoever waits can leave. A model that is needed and does not fit makes
room by unloading others, the least recently used first and idle ones before busy ones. Busy ones finish what
they have; calls that come for them meanwhile stand behind the one that waits, so that it gets its turn. A model
that nobody has called for as long as it is to be kept is unloaded, too.

Knows nothing of MLX and nothing of event loops: futures are those of ``concurrent.futures``.
"""

from __future__ import annotations

import math
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from itertools import count
from threading import RLock
from typing import Generic, TypeVar

from routewright.engine.decision import to_unload
from routewright.engine.report import gigabytes

from ..errors import BackendError
from .threads import ModelThread, ModelThreads

M = TypeVar("M")


class Resident(Generic[M]):
    """A model that is in memory, or on its way: ``loading`` gives it, ``thread`` runs its work in order."""

    def __init__(self, tag: str, size_bytes: int, thread: ModelThread, loading: Future[M]) -> None:
        self.tag, self.size_bytes, self.thread, self.loading = tag, size_bytes, thread, loading
        self.users = 0
        self.last_used = 0
        self.draining = False
        self.kept_ms: int | None = None
        self.until_s = math.inf

    @property
    def idle(self) -> bool:
        return self.users == 0 and self.loading.done()


class Claim(Generic[M]):
    """A call's place: ``granted`` gives the model's resident; ``leave`` must be called once it is done with it."""

    def __init__(self, pool: ModelPool[M], tag: str, size_bytes: int, kept_ms: int | None) -> None:
        self.tag, self.size_bytes, self.kept_ms = tag, size_bytes, kept_ms
        self.granted: Future[Resident[M]] = Future()
        self.resident: Resident[M] | None = None
        self._pool = pool

    def leave(self) -> None:
        """Give the place up, in the line or in memory. A second call does nothing."""
        self._pool._leave(self)


class ModelPool(Generic[M]):
    """Loads models with ``load(tag)`` in their threads, at most ``memory_bytes`` of them (``None``: any number).

    When ``load`` is called, models that had to make room are referred to by nothing here any more.
    ``thread_ended`` is called in each thread as its last act, ``let_go`` in the thread of a model that was unloaded
    since nobody called it.
    """

    def __init__(
        self,
        load: Callable[[str], M],
        *,
        memory_bytes: int | None,
        thread_ended: Callable[[], None],
        let_go: Callable[[], None] = lambda: None,
    ) -> None:
        self._load, self._memory_bytes, self._let_go = load, memory_bytes, let_go
        self._threads = ModelThreads(thread_ended)
        # Reentrant: a future that is done already runs its callbacks inside `add_done_callback`.
        self._lock = RLock()
        self._residents: dict[str, Resident[M]] = {}
        self._line: deque[Claim[M]] = deque()
        self._ticks = count(1)
        self._advancing = self._changed = self._closed = False
        self._timer: threading.Timer | None = None
        self._timer_s = math.inf

    def claim(self, tag: str, size_bytes: int, kept_ms: int | None = None) -> Claim[M]:
        """A place for one call of the model, which is kept in memory for ``kept_ms`` after it (``None``: for ever).

        Raises BackendError ``not_found`` for a model that never fits.
        """
        limit = self._memory_bytes
        if limit is not None and size_bytes > limit:
            raise BackendError(
                f"`{tag}` needs {gigabytes(size_bytes)} of memory, and all MLX models together may use"
                f" {gigabytes(limit)}",
                error_class="not_found",
                help="allow the backend more memory, or choose a smaller or a quantized model",
            )
        claim = Claim(self, tag, size_bytes, kept_ms)
        with self._lock:
            if self._closed:
                raise closed()
            resident = self._residents.get(tag)
            if resident is not None and not resident.draining:
                self._grant(claim, resident)
            else:
                self._line.append(claim)
                self._advance()
        return claim

    def loaded(self) -> Mapping[str, int]:
        """The models that are in memory now and the bytes of each, by tag, in the order in which they make room."""
        with self._lock:
            return {one.tag: one.size_bytes for one in self._in_order() if _is_loaded(one.loading)}

    def close(self) -> None:
        """Refuse those in the line, wait for work that runs, unload all. Blocks."""
        with self._lock:
            self._closed = True
            if self._timer is not None:
                self._timer.cancel()
            for claim in self._line:
                if claim.granted.set_running_or_notify_cancel():
                    claim.granted.set_exception(closed())
            self._line.clear()
            self._residents.clear()
        self._threads.end()

    def _leave(self, claim: Claim[M]) -> None:
        with self._lock:
            resident, claim.resident = claim.resident, None
            if resident is None:
                claim.granted.cancel()
            else:
                resident.users -= 1
                resident.last_used = next(self._ticks)
                resident.kept_ms = claim.kept_ms
                self._rest(resident)
            self._advance()

    def _grant(self, claim: Claim[M], resident: Resident[M]) -> None:
        if claim.granted.set_running_or_notify_cancel():
            resident.users += 1
            claim.resident = resident
            claim.granted.set_result(resident)

    def _advance(self) -> None:
        """Let in whoever can be let in, after anything has changed."""
        self._changed = True
        if self._advancing:  # a load may end before the call that began it returns
            return
        self._advancing = True
        try:
            while self._changed:
                self._changed = False
                self._let_in()
        finally:
            self._advancing = False

    def _let_in(self) -> None:
        """From the front of the line; nobody overtakes there."""
        while self._line:
            claim = self._line[0]
            for resident in self._residents.values():
                resident.draining = False
            if not claim.granted.cancelled():
                known = self._residents.get(claim.tag)
                if known is None and not self._make_room(claim.size_bytes):
                    return
                self._grant(claim, known or self._start(claim))
            self._line.popleft()

    def _make_room(self, size_bytes: int) -> bool:
        """Whether a model of this size may be loaded now; if not, what must finish first is draining."""
        if self._memory_bytes is None:
            return True
        residents = self._in_order()
        gone = to_unload([one.size_bytes for one in residents], size_bytes, self._memory_bytes)
        victims = [residents[position] for position in gone]
        if all(victim.idle for victim in victims):
            for victim in victims:
                self._unload(victim)
            return True
        for victim in victims:
            victim.draining = True
        return False

    def _in_order(self) -> list[Resident[M]]:
        """Those in memory or on their way, in the order in which they make room."""
        return sorted(self._residents.values(), key=lambda one: (not one.idle, one.last_used))

    def _rest(self, resident: Resident[M]) -> None:
        """Have an idle model unloaded when it has not been called for as long as it is kept."""
        if resident.kept_ms is None or not resident.idle:
            resident.until_s = math.inf
            return
        resident.until_s = time.monotonic() + resident.kept_ms / 1_000
        self._expire()

    def _expire(self) -> None:
        """Unload the idle models whose time is over, and come again when that of the next one is."""
        if self._closed:
            return
        now = time.monotonic()
        for tag in [one.tag for one in self._residents.values() if one.idle and one.until_s <= now]:
            thread = self._residents[tag].thread
            self._unload(self._residents[tag])
            thread.submit(self._let_go)  # nothing here refers to the model any more
        next_s = min((one.until_s for one in self._residents.values() if one.idle), default=math.inf)
        # A timer that goes off too early comes again: most times move away before they are reached.
        if next_s < self._timer_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_s = next_s
            self._timer = threading.Timer(next_s - now, _expire_of, (weakref.ref(self),))
            self._timer.daemon = True
            self._timer.start()

    def _start(self, claim: Claim[M]) -> Resident[M]:
        thread = self._threads.take()
        loading = thread.submit(self._load, claim.tag)
        resident = self._residents[claim.tag] = Resident(claim.tag, claim.size_bytes, thread, loading)
        # By its tag: a callback that held the resident would keep the model alive after it was let go.
        loading.add_done_callback(partial(self._after_load, claim.tag))
        return resident

    def _after_load(self, tag: str, loading: Future[M]) -> None:
        with self._lock:
            resident = self._residents.get(tag)
            if resident is not None and resident.loading is loading:
                if _is_loaded(loading):
                    self._rest(resident)  # who asked for it may have left meanwhile
                else:
                    self._unload(resident)  # the next call tries anew
            self._advance()

    def _unload(self, resident: Resident[M]) -> None:
        del self._residents[resident.tag]
        self._threads.give_back(resident.thread)


def closed() -> BackendError:
    """The failure of calls that the end of the backend cut short."""
    return BackendError("the MLX backend was closed", error_class="cancelled")


def _is_loaded(loading: Future[M]) -> bool:
    return loading.done() and not loading.cancelled() and loading.exception() is None


def _expire_of(pool: weakref.ref[ModelPool[M]]) -> None:
    """Runs in the timer's thread, which keeps no pool alive that is used no more."""
    found = pool()
    if found is not None:
        with found._lock:
            found._timer_s = math.inf
            found._expire()
            found._advance()
