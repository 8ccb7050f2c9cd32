"""What a kind of step may do around an answer, and the calls that it does it with.

A step is one or more calls like any other, within the same budget. A step that fails is dropped and reported;
one that is required raises StepFailed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from ...errors import BackendError
from ...protocol import ChatAnswer, ChatRequest
from ..answering import Answered
from ..asking import Exhausted, TargetRequest
from ..attempts import NotCalledError, StepOutcome, StepReport
from ..estimate import input_bound
from ..prompts import Material, Prompts, Template
from ..repeating import obtain
from ..session import Session
from ..verdicts import Verdict
from ..work import Step, Target


class StepFailed(Exception):
    """The work may not go on: a required step failed, or content was flagged."""

    def __init__(self, error: BackendError) -> None:
        super().__init__(str(error))
        self.error = error


class Review(NamedTuple):
    """The answer after a step; ``escalates`` says that the next fallback is to be asked instead."""

    found: Answered
    escalates: bool = False


class StepKind:
    """A kind of step: it overrides what it does. Everything may raise StepFailed.

    ``templates`` are its prompts in ``policies/prompts.yaml``.
    """

    templates: ClassVar[Mapping[str, Template]] = {}

    def may_change(self, step: Step) -> bool:
        """Whether an answer may be withheld or replaced after it came: then nothing of it is shown before."""
        return False

    async def check_prompt(self, calls: StepCalls, step: Step) -> None:
        """Go on only with a prompt that may be answered: before anything else is called."""

    async def prepare(self, calls: StepCalls, step: Step) -> str | None:
        """Material for the answer, if any."""

    async def review(self, calls: StepCalls, step: Step, found: Answered, request: ChatRequest) -> Review:
        """The answer to ``request`` as it is after the step; steps follow each other in the order of the policy."""
        return Review(found)

    async def check_answer(self, calls: StepCalls, step: Step, answer: ChatAnswer) -> None:
        """Go on only with an answer that may be given: after everything else."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a step's model said, with the number of the call."""

    answer: ChatAnswer
    attempt: int


class StepCalls:
    """The calls of steps around the answer to ``request``, and what came of each step, in ``reports``.

    ``behind`` are the targets that are to answer after the steps, and ``after`` those of the other steps without which
    there is no answer: these leave them their time.
    ``whole`` is whether every step since it was last set came to its end: what is not whole is never kept.
    """

    def __init__(self, session: Session, prompts: Prompts, request: ChatRequest) -> None:
        self.session, self.prompts, self.request = session, prompts, request
        self.reports: list[StepReport] = []
        self.whole = True
        self.behind: Sequence[Target] = ()
        self.after: Sequence[Target] = ()

    def prompt(self, step: Step, name: str, **given: Material) -> ChatRequest:
        """What the step's model is asked by the template ``name``, which gets the conversation beside ``given``."""
        template, random = self.prompts[name], self.session.random
        return template.about(self.request, random, may_think=step.target.may_think, **given)

    async def ask(self, step: Step, request: ChatRequest) -> Said | None:
        """What the step's model says; None where it failed and may."""
        forced = None
        if step.required and self.session.may_pass(step.target):
            forced = "its breaker is open, and the step is required"
        try:
            asked = TargetRequest(step.target, request, step.role, behind=self.behind, after=self.after)
            result = await obtain(self.session, asked, forced=forced)
        except Exhausted as exhausted:
            self.left_out(step, str(exhausted.error), exhausted.error)
            return None
        if isinstance(result.answer, ChatAnswer):
            return Said(result.answer, result.attempt.number)
        self.left_out(step, str(result.error), result.error)
        return None

    def is_usable(self, step: Step, answer: ChatAnswer) -> bool:
        """Whether a text can be worked on with: whole, not empty, and made from the whole prompt."""
        if answer.finish_reason == "stop" and answer.text.strip() and not answer.truncated:
            return True
        why = "is empty" if answer.finish_reason == "stop" and not answer.truncated else "was cut short"
        self.left_out(step, f"what `{step.target.model_id}` wrote {why}")
        return False

    async def judged(
        self,
        step: Step,
        request: ChatRequest,
        read: Callable[[ChatAnswer], Verdict],
        yes: StepOutcome,
        no: StepOutcome,
        *,
        about: int | None = None,
    ) -> Verdict | None:
        """The verdict of the step's model, reported as ``yes`` or ``no``; None where the step was left out.

        A verdict that cannot be read leaves it out too. ``about`` is the attempt whose answer is judged.
        """
        said = await self.ask(step, request)
        if said is None:
            return None
        verdict = read(said.answer)
        if verdict.yes is not None:
            self.report(step, yes if verdict.yes else no, verdict.notes, about)
            return verdict
        self.whole = False
        self.report(step, "unreadable", verdict.notes, about)
        if step.required:
            message = f"the verdict of `{step.target.model_id}` cannot be read"
            raise StepFailed(BackendError(message, error_class="bad_response"))
        return None

    def left_out(self, step: Step, why: str, error: BackendError | None = None) -> None:
        """The step could not be carried out."""
        self.whole = False
        self.report(step, "failed" if step.required else "dropped", why)
        if step.required:
            raise StepFailed(error or NotCalledError(why, error_class="bad_response"))

    def report(
        self, step: Step, outcome: StepOutcome, notes: str | None = None, about: int | None = None
    ) -> None:
        """Say what came of the step."""
        self.reports.append(StepReport(step.role, step.target.model_id, outcome, notes or None, about))

    def grown(self, request: ChatRequest) -> ChatRequest:
        """``request`` with a window that holds what it adds to the one that is to be answered."""
        if self.request.context_tokens is None:
            return request
        added = max(0, input_bound(request) - input_bound(self.request))
        return replace(request, context_tokens=self.request.context_tokens + added)
