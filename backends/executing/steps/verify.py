"""``verify``: another model accepts or rejects the answer."""

from __future__ import annotations

from dataclasses import replace

from ...protocol import ChatAnswer, ChatRequest, Message
from ..answering import Answered
from ..asking import Exhausted, TargetRequest
from ..prompts import Template, said_by, spoken
from ..repeating import obtain
from ..verdicts import Verdict, read_verification
from ..work import Step
from .base import Review, StepCalls, StepKind


class Verify(StepKind):
    """A rejected answer is given as such, tried again with the notes, or left for that of the next fallback."""

    templates = {
        "verify": Template(frozenset({"conversation", "answer"})),
        "retry": Template(frozenset({"notes"}), own_call=False),
    }

    def may_change(self, step: Step) -> bool:
        return step.required or step.option("on_reject") != "annotate"

    async def review(self, calls: StepCalls, step: Step, found: Answered, request: ChatRequest) -> Review:
        verdict = await self._verdict(calls, step, found)
        if verdict is None or verdict.yes:
            return Review(found)
        on_reject, accepted = step.option("on_reject"), False
        if on_reject == "escalate" and found.next < len(calls.session.fallbacks):
            return Review(found, escalates=True)
        if on_reject == "retry":
            found, accepted = await self._again(calls, step, found, request, verdict.notes)
        if not accepted:
            calls.whole = False
        return Review(found)

    async def _verdict(self, calls: StepCalls, step: Step, found: Answered) -> Verdict | None:
        """What the model thinks of the answer; None where the step was left out."""
        asked = calls.grown(calls.prompt(step, "verify", answer=said_by(found.chat)))
        about = found.attempt
        return await calls.judged(step, asked, read_verification, "accepted", "rejected", about=about)

    async def _again(
        self, calls: StepCalls, step: Step, found: Answered, request: ChatRequest, notes: str
    ) -> tuple[Answered, bool]:
        """One more try of the model that was rejected, and whether its answer is accepted now."""
        told = calls.prompts["retry"].fill(calls.session.random, notes=notes or "no reasons were given")
        said = Message("assistant", spoken(found.chat))
        asked = replace(request, messages=(*request.messages, said, Message("user", told)))
        try:
            again = TargetRequest(
                found.target, calls.grown(asked), "retry", after=(step.target, *calls.after)
            )
            result = await obtain(calls.session, again)
        except Exhausted:
            return found, False
        if not isinstance(result.answer, ChatAnswer):
            return found, False
        found = found._replace(answer=result.answer, attempt=result.attempt.number)
        verdict = await self._verdict(calls, step, found)
        return found, verdict is not None and verdict.yes is True


STEP = Verify()
