"""The steps around an answer: what each asks its model, and what its words mean for the answer.

A step is one or more calls like any other, within the same budget. A step that fails is dropped and reported;
one that is required raises StepFailed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import BackendError
from ..protocol import ChatAnswer, ChatRequest, Message
from .attempts import NotCalledError, StepOutcome, StepReport
from .estimate import input_bound
from .prompts import Material, Prompts, conversation_of, said_by, spoken, without_markers
from .session import Exhausted, Session
from .verdicts import Verdict, read_screening, read_verification
from .work import Step


class StepFailed(Exception):
    """The work may not go on: a required step failed, or content was flagged."""

    def __init__(self, error: BackendError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class _Said:
    """What a step's model said, with the number of the call."""

    answer: ChatAnswer
    attempt: int


class Steps:
    """Carries out steps for one request and reports on each in ``reports``.

    ``whole`` is whether every step since it was last set came to its end: what is not whole is never kept.
    """

    def __init__(self, session: Session, prompts: Prompts, request: ChatRequest) -> None:
        self._session, self._prompts, self._request = session, prompts, request
        self.reports: list[StepReport] = []
        self.whole = True

    async def screen(self, step: Step, subject: Material, what: str) -> None:
        """Go on only with content that is safe. ``what`` names it in messages. Raises StepFailed.

        A verdict that cannot be read is no leave: it fails the step.
        """
        asked = self._prompts["screen"].request(
            self._session.random,
            _images(self._request),
            may_think=step.target.may_think,
            subject=subject,
            conversation=conversation_of(self._request.messages),
        )
        said = await self._ask(step, asked)
        if said is None:
            return
        verdict = read_screening(said.answer)
        if verdict.yes is None:
            self._unreadable(step, verdict)
            return
        self._report(step, "clean" if verdict.yes else "flagged", verdict.notes)
        if not verdict.yes:
            message = f"`{step.target.model_id}` flagged the {what}, so it was refused"
            raise StepFailed(BackendError(message, error_class="refused_content", help=verdict.notes or None))

    async def draft(self, step: Step) -> str | None:
        """What a model prepares for the answer; None where the step was dropped. Raises StepFailed."""
        prompt, place = _last_prompt(self._request)
        template = self._prompts["draft"]
        asked = _with_last(self._request, template.fill(self._session.random, prompt=prompt), place)
        bounds = (template.most_tokens(may_think=step.target.may_think), asked.max_output_tokens)
        # A draft is text for another model: it calls no tools and has no shape to keep.
        asked = replace(
            asked,
            tools=(),
            json_schema=None,
            max_output_tokens=min((most for most in bounds if most is not None), default=None),
            temperature=asked.temperature if template.temperature is None else template.temperature,
        )
        said = await self._ask(step, asked)
        if said is None or not self._usable(step, said):
            return None
        self._report(step, "done", None)
        return said.answer.text

    def with_drafts(self, drafts: list[str]) -> ChatRequest:
        """The request as the answering model gets it."""
        if not drafts:
            return self._request
        prompt, place = _last_prompt(self._request)
        template = self._prompts["answer_with_draft"]
        filled = template.fill(self._session.random, prompt=prompt, draft="\n\n".join(drafts))
        return _grown(_with_last(self._request, filled, place), self._request)

    async def verify(self, step: Step, answer: ChatAnswer) -> Verdict | None:
        """What another model thinks of the answer; None where the step was dropped or is unreadable."""
        asked = self._prompts["verify"].request(
            self._session.random,
            _images(self._request),
            may_think=step.target.may_think,
            conversation=conversation_of(self._request.messages),
            answer=said_by(answer),
        )
        said = await self._ask(step, _grown(asked, self._request))
        if said is None:
            return None
        verdict = read_verification(said.answer)
        if verdict.yes is None:
            self._unreadable(step, verdict)
            return None
        self._report(step, "accepted" if verdict.yes else "rejected", verdict.notes)
        return verdict

    def with_notes(self, request: ChatRequest, answer: ChatAnswer, notes: str) -> ChatRequest:
        """The request for another try of the model whose answer was rejected."""
        told = self._prompts["retry"].fill(self._session.random, notes=notes or "no reasons were given")
        said = Message("assistant", spoken(answer))
        return _grown(
            replace(request, messages=(*request.messages, said, Message("user", told))), self._request
        )

    async def refine(self, step: Step, answer: ChatAnswer) -> tuple[ChatAnswer, int] | None:
        """A better answer and the number of its call; None where the one that there is stays. Raises StepFailed."""
        if answer.tool_calls:
            self._left_out(step, "the answer calls tools")
            return None
        better: tuple[ChatAnswer, int] | None = None
        for _ in range(step.rounds):
            asked = self._prompts["refine"].request(
                self._session.random,
                _images(self._request),
                may_think=step.target.may_think,
                conversation=conversation_of(self._request.messages),
                answer=answer.text,
            )
            most = asked.max_output_tokens or self._request.max_output_tokens
            asked = replace(asked, json_schema=self._request.json_schema, max_output_tokens=most)
            said = await self._ask(step, _grown(asked, self._request))
            if said is None:
                break
            whole = replace(said.answer, text=without_markers(said.answer.text, asked))
            said = _Said(whole, said.attempt)
            if not self._usable(step, said):
                break
            self._report(step, "done", None)
            answer, better = said.answer, (said.answer, said.attempt)
        return better

    async def _ask(self, step: Step, request: ChatRequest) -> _Said | None:
        """What the step's model says; None where it failed and may."""
        forced = None
        if step.required and self._session.may_pass(step.target):
            forced = "its breaker is open, and the step is required"
        try:
            result = await self._session.obtain(step.target, request, step.role, forced=forced)
        except Exhausted as exhausted:
            self._left_out(step, str(exhausted.error), exhausted.error)
            return None
        if isinstance(result.answer, ChatAnswer):
            return _Said(result.answer, result.attempt.number)
        self._left_out(step, str(result.error), result.error)
        return None

    def _usable(self, step: Step, said: _Said) -> bool:
        """Whether a text can be worked on with: whole, not empty, and made from the whole prompt."""
        answer = said.answer
        if answer.finish_reason == "stop" and answer.text.strip() and not answer.truncated:
            return True
        why = "is empty" if answer.finish_reason == "stop" and not answer.truncated else "was cut short"
        self._left_out(step, f"what `{step.target.model_id}` wrote {why}")
        return False

    def _unreadable(self, step: Step, verdict: Verdict) -> None:
        self.whole = False
        self._report(step, "unreadable", verdict.notes)
        if step.required:
            message = f"the verdict of `{step.target.model_id}` cannot be read"
            raise StepFailed(BackendError(message, error_class="bad_response"))

    def _left_out(self, step: Step, why: str, error: BackendError | None = None) -> None:
        self.whole = False
        self._report(step, "failed" if step.required else "dropped", why)
        if step.required:
            lost = error or NotCalledError(why, error_class="bad_response")
            raise StepFailed(lost)

    def _report(self, step: Step, outcome: StepOutcome, notes: str | None) -> None:
        self.reports.append(StepReport(step.role, step.target.model_id, outcome, notes or None))


def _images(request: ChatRequest) -> tuple[bytes, ...]:
    return tuple(image for message in request.messages for image in message.images)


def _last_prompt(request: ChatRequest) -> tuple[str, int | None]:
    """The last message if it is the user's, with its place; else nothing, and a message is added."""
    if request.messages and request.messages[-1].role == "user":
        return request.messages[-1].content, len(request.messages) - 1
    return "", None


def _with_last(request: ChatRequest, content: str, place: int | None) -> ChatRequest:
    if place is None:
        return replace(request, messages=(*request.messages, Message("user", content)))
    last = replace(request.messages[place], content=content)
    return replace(request, messages=(*request.messages[:place], last))


def _grown(request: ChatRequest, original: ChatRequest) -> ChatRequest:
    """The request with a window that holds what was added to the original one."""
    if original.context_tokens is None:
        return request
    added = max(0, input_bound(request) - input_bound(original))
    return replace(request, context_tokens=original.context_tokens + added)
