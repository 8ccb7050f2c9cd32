"""Executes work for a request. Calls nothing that the work does not hold, and decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random

from routewright.engine.record import Attempt, Intent

from ..control import StateStore
from ..protocol import Backend
from .admission import AdmissionControl
from .asking import Services
from .attempts import Execution
from .cache import AnswerCache
from .flow import Flow
from .prompt_files import shipped_prompts
from .prompts import Prompts
from .work import Request, Work


class Executor:
    """Carries out work with ``backends``, which are by backend id.

    ``store`` keeps quotas, breakers and latencies; without one there are no breakers, and what a quota binds is
    not called. ``cache`` keeps answers of work that has a ``cache``. ``clock`` gives microseconds since 1970,
    ``sleep`` waits for seconds, ``random`` draws pauses and the order in which a judge sees answers; durations
    are measured by the event loop's clock. One executor serves any number of requests at a time.
    """

    def __init__(
        self,
        backends: Mapping[str, Backend],
        *,
        clock: Callable[[], int],
        store: StateStore | None = None,
        cache: AnswerCache | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random: Random | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        self._services = Services(
            backends,
            AdmissionControl(store),
            clock,
            sleep,
            Random() if random is None else random,
            cache,
            shipped_prompts if prompts is None else lambda: prompts,
        )

    async def run(
        self,
        work: Work,
        request: Request,
        *,
        on_text: Callable[[str], None] | None = None,
        on_attempt: Callable[[Attempt], None] | None = None,
        before_call: Callable[[Intent], Awaitable[None]] | None = None,
    ) -> Execution:
        """What came of carrying out ``work``: an answer, or the error; and every attempt.

        With ``on_text`` a chat is streamed: it gets the text piece by piece, or at once where a later step may
        change it. ``on_attempt`` gets each attempt as soon as it has ended, also when the caller is cancelled:
        then CancelledError is raised, every call has been told to stop, and no attempt is lost.

        ``before_call`` is awaited before each call leaves, once it is admitted. If it raises RoutewrightError, that
        call is not made (its attempt is `skipped`) and nothing else is called. Every intent that it gets has an
        attempt of the same number in the end. Failures of backends are returned, never raised; what ``on_text`` and
        ``on_attempt`` raise is.
        """
        return await Flow(self._services, work, request, on_text, on_attempt, before_call).run()
