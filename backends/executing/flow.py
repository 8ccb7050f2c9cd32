"""One request from its prompt to its answer: cache, screens, drafts, the answer, what is done to it after.

    cache ─▶ screen prompt ─▶ draft ─▶ answer ─▶ verify, refine, in the order of the work ─▶ screen answer
                                         ▲          │ rejected: retry, escalate
                                         └──────────┘

Text is shown as it comes only where no later step may withhold or replace it.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import BackendError
from ..protocol import ChatAnswer, ChatRequest
from .actions import ACTIONS
from .answering import Answered, Failed, first_answer
from .attempts import EnsembleReport, Execution, NotCalledError
from .cache import AnswerCache, CachedAnswer, cache_key, is_keepable
from .ensemble import ask_together
from .prompts import Prompts, conversation_of, said_by
from .session import Exhausted, Services, Session
from .steps import StepFailed, Steps
from .work import Answer, Ensemble, Request, Step, Target, Work


class Flow:
    """The way of one request; ``run`` is called once."""

    __slots__ = (
        "_backends",
        "_cache",
        "_ensemble",
        "_keys",
        "_on_text",
        "_prompts",
        "_report",
        "_request",
        "_session",
        "_steps",
        "_whole",
        "_work",
    )

    def __init__(
        self,
        session: Session,
        work: Work,
        request: Request,
        *,
        services: Services,
        cache: AnswerCache | None,
        prompts: Callable[[], Prompts],
        on_text: Callable[[str], None] | None,
    ) -> None:
        self._session, self._work, self._request = session, work, request
        self._backends, self._cache = services.backends, cache if work.cache is not None else None
        self._prompts = prompts
        chat = isinstance(request, ChatRequest)
        self._on_text = on_text if chat else None
        # Embeddings and rankings are never worked on further.
        self._steps = work.steps if chat else ()
        self._ensemble = work.ensemble if chat else None
        self._report: EnsembleReport | None = None
        self._whole = True
        self._keys: dict[int, str | None] = {}

    async def run(self) -> Execution:
        """What came of it. Failures are in the execution; only cancellation and the caller's own errors are raised."""
        if not self._steps and self._ensemble is None:
            found = await self._answer(self._request, 0, self._on_text)
            return self._ended(found, None)
        # INVARIANT: steps and ensembles are of chats alone.
        assert isinstance(self._request, ChatRequest)
        steps = Steps(self._session, self._prompts(), self._request)
        try:
            found = await self._with_steps(steps, self._request)
        except StepFailed as failed:
            found = Failed(failed.error)
        return self._ended(found, steps)

    async def _with_steps(self, steps: Steps, request: ChatRequest) -> Answered | Failed:
        kept = self._first_kept()
        if kept is not None:
            self._show(kept.answer)
            return kept
        for step in self._steps:
            if step.role == "screen" and step.on != "answer":
                asked = tuple(message for message in request.messages if message.role != "system")
                await steps.screen(step, conversation_of(asked), "prompt")
        drafts = [await steps.draft(step) for step in self._steps if step.role == "draft"]
        prepared = steps.with_drafts([draft for draft in drafts if draft is not None])
        before = steps.whole
        live = self._on_text if self._shows_as_it_comes() else None
        found = await self._answer(prepared, 0, live, together=True)
        while isinstance(found, Answered) and not found.cached:
            steps.whole = before
            done, rejected = await self._after(steps, found, prepared)
            if rejected is None:
                self._whole = steps.whole
                found = done
                break
            following = await self._answer(prepared, done.next, None)
            if isinstance(following, Failed):
                # A rejected answer, reported as such, is better than none.
                self._whole, found = False, done
                break
            found = following
        if isinstance(found, Answered):
            await self._screen_answer(steps, found)
            if live is None or found.cached:
                self._show(found.answer)
        return found

    async def _after(
        self, steps: Steps, found: Answered, request: ChatRequest
    ) -> tuple[Answered, Step | None]:
        """The answer after verifying and refining; with the step that sends the work to the next fallback."""
        for step in self._steps:
            # INVARIANT: what a chat is answered with is a ChatAnswer.
            assert isinstance(found.answer, ChatAnswer)
            if step.role == "verify":
                verdict = await steps.verify(step, found.answer)
                if verdict is None or verdict.yes:
                    continue
                if step.on_reject == "retry":
                    found, accepted = await self._again(steps, step, found, request, verdict.notes)
                    if accepted:
                        continue
                elif step.on_reject == "escalate" and found.next < len(self._work.targets):
                    return found, step
                steps.whole = False
            elif step.role == "refine":
                assert isinstance(found.answer, ChatAnswer)
                better = await steps.refine(step, found.answer)
                if better is not None:
                    found = found._replace(answer=better[0], attempt=better[1])
        return found, None

    async def _again(
        self, steps: Steps, step: Step, found: Answered, request: ChatRequest, notes: str
    ) -> tuple[Answered, bool]:
        """One more try of the model that was rejected, and whether its answer is accepted now."""
        assert isinstance(found.answer, ChatAnswer)
        try:
            told = steps.with_notes(request, found.answer, notes)
            result = await self._session.obtain(found.target, told, "retry")
        except Exhausted:
            return found, False
        if not isinstance(result.answer, ChatAnswer):
            return found, False
        found = found._replace(answer=result.answer, attempt=result.attempt.number)
        verdict = await steps.verify(step, result.answer)
        return found, verdict is not None and verdict.yes is True

    async def _screen_answer(self, steps: Steps, found: Answered) -> None:
        assert isinstance(found.answer, ChatAnswer)
        if found.cached:
            return
        for step in self._steps:
            if step.role == "screen" and step.on != "prompt":
                await steps.screen(step, said_by(found.answer), "answer")

    async def _answer(
        self,
        request: Request,
        start: int,
        on_text: Callable[[str], None] | None,
        *,
        together: bool = False,
    ) -> Answered | Failed:
        """The ensemble's answer, or else that of the first target that gives one."""
        refused: Failed | None = None
        if together and self._ensemble is not None:
            assert isinstance(request, ChatRequest)
            found, self._report = await ask_together(self._session, self._ensemble, request, self._prompts())
            if isinstance(found, Answered):
                return found
            if not self._work.targets or ACTIONS[found.error.error_class].then == "stop":
                return found
            refused = found
        found = await first_answer(
            self._session,
            self._work.targets,
            request,
            start=start,
            lookup=None if self._cache is None else self._kept,
            on_text=on_text,
        )
        if isinstance(found, Answered) and found.cached and on_text is not None and not self._steps:
            self._show(found.answer)
        if refused is not None and isinstance(found, Failed) and isinstance(found.error, NotCalledError):
            # What the members said counts for more than why nobody was asked after them.
            refused.error.help = str(found.error)
            return refused
        return found

    def _first_kept(self) -> Answered | None:
        """The answer kept for the work as it begins, before anything is called for it."""
        if self._ensemble is not None:
            entry = self._entry(self._ensemble)
            if entry is None:
                return None
            by = self._ensemble.members[0]
            attempt = self._session.add_cached(by, "member", entry.answer, entry.cost_nano)
            return Answered(entry.answer, by, attempt.number, 0, cached=True)
        if not self._work.targets:
            return None
        target = self._work.targets[0]
        entry = self._entry(target)
        if entry is None:
            return None
        attempt = self._session.add_cached(target, target.role, entry.answer, entry.cost_nano)
        return Answered(entry.answer, target, attempt.number, 1, cached=True)

    def _kept(self, target: Target) -> tuple[Answer, int | None] | None:
        entry = self._entry(target)
        return None if entry is None else (entry.answer, entry.cost_nano)

    def _entry(self, by: Target | Ensemble) -> CachedAnswer | None:
        if self._cache is None:
            return None
        key = self._key(by)
        return None if key is None else self._cache.get(key)

    def _key(self, by: Target | Ensemble) -> str | None:
        # Looked up and kept under the same key, which is made once.
        if id(by) not in self._keys:
            self._keys[id(by)] = self._new_key(by)
        return self._keys[id(by)]

    def _new_key(self, by: Target | Ensemble) -> str | None:
        needs_prompts = bool(self._steps) or self._ensemble is not None
        digest = self._prompts().digest if needs_prompts else ""
        return cache_key(self._work, by, self._request, self._backends, digest)

    def _keep(self, found: Answered) -> None:
        use = self._work.cache
        if (
            self._cache is None
            or use is None
            or found.cached
            or not self._whole
            or not is_keepable(found.answer)
        ):
            return
        by_ensemble = self._report is not None and self._report.winner is not None and found.next == 0
        key = self._key(self._ensemble if by_ensemble and self._ensemble is not None else found.target)
        if key is None:
            return
        costs = [attempt.cost_nano for attempt in self._session.attempts()]
        known = [cost for cost in costs if cost is not None]
        cost_nano = sum(known) if len(known) == len(costs) else None
        until_us = self._session.time.now_us() + use.ttl_ms * 1_000
        self._cache.put(key, CachedAnswer(found.answer, cost_nano, until_us))

    def _shows_as_it_comes(self) -> bool:
        """Whether nothing after the answer may withhold or replace it."""
        return self._ensemble is None and all(
            step.role == "draft"
            or (step.role == "screen" and step.on == "prompt")
            or (step.role == "verify" and step.on_reject == "annotate" and not step.required)
            for step in self._steps
        )

    def _show(self, answer: Answer) -> None:
        if self._on_text is not None and isinstance(answer, ChatAnswer) and answer.text:
            self._on_text(answer.text)

    def _ended(self, found: Answered | Failed, steps: Steps | None) -> Execution:
        answer: Answer | None = None
        error: BackendError | None = None
        answered_by = None
        if isinstance(found, Answered):
            self._keep(found)
            answer, answered_by = found.answer, found.attempt
        else:
            error = found.error
        reports = () if steps is None else tuple(steps.reports)
        return Execution(answer, self._session.attempts(), error, answered_by, reports, self._report)
