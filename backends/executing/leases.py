"""Renews the lease of a call while it is under way, so that it lapses only with its process.

A lease that outlived every call by itself would hold what a killed process had reserved for as long; one that did
not would lapse under a slow call, and somebody else would be let in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .admission import Admission, AdmissionControl


class KeptLease:
    """Renews the lease of ``ticket``, if it has one, three times in ``lease_ms`` until ``end`` is called.

    ``now_us`` is the request's clock. Must be made inside a running event loop.
    """

    __slots__ = ("_admission", "_lease_ms", "_now_us", "_ticket", "_timer", "_work")

    def __init__(
        self, admission: AdmissionControl, ticket: Admission, lease_ms: int, now_us: Callable[[], int]
    ) -> None:
        self._admission, self._ticket = admission, ticket
        self._lease_ms, self._now_us = lease_ms, now_us
        self._work: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        if ticket.lease is not None:
            self._wait()

    def end(self) -> None:
        """The call has ended: renew no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._work is not None:
            self._work.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._lease_ms / 3_000, self._begin)

    def _begin(self) -> None:
        self._work = asyncio.ensure_future(self._renew())

    async def _renew(self) -> None:
        await self._admission.renew(self._ticket, expires_us=self._now_us() + 1_000 * self._lease_ms)
        self._wait()
