"""``refine``: another model improves the answer, in one or more rounds."""

from __future__ import annotations

from dataclasses import replace

from ...protocol import ChatRequest
from ..answering import Answered
from ..prompts import Template, without_markers
from ..work import Step
from .base import Review, StepCalls, StepKind


class Refine(StepKind):
    """The answer stays as it is where a better one is not whole."""

    templates = {"refine": Template(frozenset({"conversation", "answer"}))}

    def may_change(self, step: Step) -> bool:
        return True

    async def review(self, calls: StepCalls, step: Step, found: Answered, request: ChatRequest) -> Review:
        if found.chat.tool_calls:
            calls.left_out(step, "the answer calls tools")
            return Review(found)
        for _ in range(step.option("rounds")):
            asked = calls.prompt(step, "refine", answer=found.chat.text)
            most = asked.max_output_tokens or calls.request.max_output_tokens
            asked = replace(asked, json_schema=calls.request.json_schema, max_output_tokens=most)
            said = await calls.ask(step, calls.grown(asked))
            if said is None:
                break
            better = replace(said.answer, text=without_markers(said.answer.text, asked))
            if not calls.is_usable(step, better):
                break
            calls.report(step, "done")
            found = found._replace(answer=better, attempt=said.attempt)
        return Review(found)


STEP = Refine()
