"""``screen``: a safety model looks at the prompt or the answer; flagged work is refused."""

from __future__ import annotations

from ...errors import BackendError
from ...protocol import ChatAnswer
from ..prompts import Material, Template, conversation_of, said_by
from ..verdicts import read_screening
from ..work import Step
from .base import StepCalls, StepFailed, StepKind


class Screen(StepKind):
    """A verdict that cannot be read is no leave: it fails the step."""

    templates = {"screen": Template(frozenset({"subject"}), may=frozenset({"conversation"}))}

    def may_change(self, step: Step) -> bool:
        return bool(step.option("on") != "prompt")

    async def check_prompt(self, calls: StepCalls, step: Step) -> None:
        if step.option("on") != "answer":
            asked = tuple(message for message in calls.request.messages if message.role != "system")
            await self._check(calls, step, conversation_of(asked), "prompt")

    async def check_answer(self, calls: StepCalls, step: Step, answer: ChatAnswer) -> None:
        if step.option("on") != "prompt":
            await self._check(calls, step, said_by(answer), "answer")

    async def _check(self, calls: StepCalls, step: Step, subject: Material, what: str) -> None:
        asked = calls.prompt(step, "screen", subject=subject)
        verdict = await calls.judged(step, asked, read_screening, "clean", "flagged")
        if verdict is not None and not verdict.yes:
            message = f"`{step.target.model_id}` flagged the {what}, so it was refused"
            raise StepFailed(BackendError(message, error_class="refused_content", help=verdict.notes or None))


STEP = Screen()
