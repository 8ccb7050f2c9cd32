"""Leads one request from its prompt to its answer: through the cache, its steps, its ensemble or its models.

    cache ─▶ check prompt ─▶ prepare ─▶ answer ─▶ review, in the order of the work ─▶ check answer
                                          ▲          │ rejected: retry, escalate
                                          └──────────┘

Text is shown as it comes only where no later step may withhold or replace it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from routewright.engine.record import Attempt, Intent

from ..errors import BackendError
from ..protocol import ChatAnswer, ChatRequest
from .answering import Answered, Search, from_cache
from .asking import Services
from .attempts import EnsembleReport, Execution, NotCalledError, StepReport, verdict_on
from .cache import CachedAnswer, cache_key, is_keepable
from .ensemble import AskedTogether
from .outcomes import stops
from .session import Session
from .steps import STEP_KINDS, Review, StepCalls, StepFailed, with_drafts
from .work import Answer, Ensemble, Request, Step, Target, Work


class Flow:
    """The way of one request; ``run`` is called once."""

    def __init__(
        self,
        services: Services,
        work: Work,
        request: Request,
        on_text: Callable[[str], None] | None,
        on_attempt: Callable[[Attempt], None] | None,
        before_call: Callable[[Intent], Awaitable[None]] | None,
    ) -> None:
        self._services, self._work, self._request = services, work, request
        self._session = Session(services, work, request, on_attempt, before_call)
        self._cache = services.cache if work.cache is not None else None
        chat = isinstance(request, ChatRequest)
        self._on_text = on_text if chat else None
        # Embeddings and rankings are never worked on further.
        self._steps = work.steps if chat else ()
        self._ensemble = work.ensemble if chat else None
        self._report: EnsembleReport | None = None
        self._whole = True
        self._keys: dict[int, str | None] = {}

    async def run(self) -> Execution:
        """What came of it. Failures are in the execution; only cancellation and the caller's own errors are raised.

        Of equal requests at the same time one is carried out, and the others wait for its answer. Each waits for half
        of its time at most, and makes the answer itself if none was kept.
        """
        cache, key = self._cache, self._first_key()
        if cache is None or key is None or cache.get(key) is not None:
            return await self._run()
        claim = cache.claim(key, asyncio.get_running_loop().is_closed)
        if claim is None:
            if (made := cache.making(key)) is not None:
                waited = asyncio.wrap_future(made)
                await asyncio.wait([waited], timeout=self._session.budget.left_us() / 2e6)
                waited.cancel()
            return await self._run()
        try:
            return await self._run()
        finally:
            cache.finished(claim)

    async def _run(self) -> Execution:
        if not self._steps and self._ensemble is None:
            return self._ended(await self._answer(self._request, 0, self._on_text))
        # INVARIANT: steps and ensembles are of chats alone.
        assert isinstance(self._request, ChatRequest)
        steps = StepCalls(self._session, self._services.prompts(), self._request)
        found: Answered | BackendError
        try:
            found = await self._with_steps(steps)
        except StepFailed as failed:
            found = failed.error
        return self._ended(found, tuple(steps.reports))

    async def _with_steps(self, steps: StepCalls) -> Answered | BackendError:
        kept = self._first_kept()
        if kept is not None:
            self._show(kept.answer)
            return kept
        # Members are asked at the same time.
        steps.behind = self._work.targets if self._ensemble is None else self._ensemble.members[:1]
        steps.after = self._after()
        for step in self._steps:
            await STEP_KINDS[step.role].check_prompt(steps, step)
        drafts = [await STEP_KINDS[step.role].prepare(steps, step) for step in self._steps]
        prepared = with_drafts(steps, [draft for draft in drafts if draft is not None])
        before, steps.behind = steps.whole, ()
        may_change = any(STEP_KINDS[step.role].may_change(step) for step in self._steps)
        live = self._on_text if self._ensemble is None and not may_change else None
        found = await self._answer(prepared, 0, live, together=True)
        while isinstance(found, Answered) and not found.cached:
            steps.whole = before
            done, escalates = await self._reviewed(steps, found, prepared)
            if not escalates:
                self._whole = steps.whole
                found = done
                break
            following = await self._answer(prepared, done.next, None)
            if isinstance(following, BackendError):
                # A rejected answer, reported as such, is better than none.
                self._whole, found = False, done
                break
            found = following
        if isinstance(found, Answered):
            steps.after = ()
            for step in self._steps if not found.cached else ():
                await STEP_KINDS[step.role].check_answer(steps, step, found.chat)
            if live is None or found.cached:
                self._show(found.answer)
        return found

    async def _reviewed(self, steps: StepCalls, found: Answered, request: ChatRequest) -> Review:
        for step in self._steps:
            steps.after = self._after(step)
            review = await STEP_KINDS[step.role].review(steps, step, found, request)
            if review.escalates:
                return review
            found = review.found
        return Review(found)

    async def _answer(
        self,
        request: Request,
        start: int,
        on_text: Callable[[str], None] | None,
        *,
        together: bool = False,
    ) -> Answered | BackendError:
        """The ensemble's answer, or else that of the first target that gives one."""
        refused: BackendError | None = None
        if together and self._ensemble is not None:
            assert isinstance(request, ChatRequest)
            prompts = self._services.prompts()
            members = AskedTogether(self._session, self._ensemble, request, prompts, self._after())
            found, self._report = await members.run()
            if isinstance(found, Answered):
                return found
            if not self._work.targets or stops(found):
                return found
            refused = found
        search = Search(self._session, self._work.targets, request, self._kept, on_text, self._after())
        found = await search.run(start)
        if isinstance(found, Answered) and found.cached and on_text is not None and not self._steps:
            self._show(found.answer)
        if refused is not None and isinstance(found, NotCalledError):
            # What the members said counts for more than why nobody was asked after them.
            refused.help = str(found)
            return refused
        return found

    def _after(self, but: Step | None = None) -> Sequence[Target]:
        """The models of the steps after an answer without which it is not given, ``but`` one that is carried out."""
        if not self._steps:
            return ()
        return [
            step.target
            for step in self._steps
            if step is not but and step.required and STEP_KINDS[step.role].may_change(step)
        ]

    def _first_key(self) -> str | None:
        """The key of the answer that the work gives if nothing fails."""
        if self._cache is None:
            return None
        first = self._ensemble or next(iter(self._work.targets), None)
        return None if first is None else self._key(first)

    def _first_kept(self) -> Answered | None:
        """The answer kept for the work as it begins, before anything is called for it."""
        if self._ensemble is not None:
            kept = self._kept(self._ensemble)
            by = self._ensemble.members[0]
            return None if kept is None else from_cache(self._session, kept, by, "member", 0)
        if not self._work.targets:
            return None
        target = self._work.targets[0]
        kept = self._kept(target)
        return None if kept is None else from_cache(self._session, kept, target, target.role, 1)

    def _kept(self, by: Target | Ensemble) -> CachedAnswer | None:
        if self._cache is None:
            return None
        key = self._key(by)
        return None if key is None else self._cache.get(key)

    def _key(self, by: Target | Ensemble) -> str | None:
        # Looked up and kept under the same key, which is made once.
        if id(by) not in self._keys:
            needs_prompts = bool(self._steps) or self._ensemble is not None
            digest = self._services.prompts().digest if needs_prompts else ""
            self._keys[id(by)] = cache_key(self._work, by, self._request, self._services.backends, digest)
        return self._keys[id(by)]

    def _keep(self, found: Answered, verified: bool | None) -> None:
        cache, use = self._cache, self._work.cache
        if cache is None or use is None or found.cached or not self._whole or not is_keepable(found.answer):
            return
        by_ensemble = self._report is not None and self._report.winner is not None and found.next == 0
        key = self._key(self._ensemble if by_ensemble and self._ensemble is not None else found.target)
        if key is None:
            return
        attempts = self._session.attempts()
        known = [attempt.cost_nano for attempt in attempts if attempt.cost_nano is not None]
        currencies = {attempt.currency for attempt in attempts if attempt.cost_nano}
        cost_nano = sum(known) if len(known) == len(attempts) and len(currencies) < 2 else None
        until_us = self._session.time.now_us() + use.ttl_ms * 1_000
        cache.put(key, CachedAnswer(found.answer, cost_nano, until_us, verified))

    def _show(self, answer: Answer) -> None:
        if self._on_text is not None and isinstance(answer, ChatAnswer) and answer.text:
            self._on_text(answer.text)

    def _ended(self, found: Answered | BackendError, reports: tuple[StepReport, ...] = ()) -> Execution:
        attempts = self._session.attempts()
        if isinstance(found, BackendError):
            return Execution(None, attempts, found, None, reports, self._report)
        verified = found.verified
        if not found.cached:
            verifiers = sum(step.role == "verify" for step in self._steps)
            verified = verdict_on(found.attempt, reports, verifiers)
            self._keep(found, verified)
        return Execution(found.answer, attempts, None, found.attempt, reports, self._report, verified)
