"""``draft``: a model prepares material, which stands below the user's last message for the answering model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...protocol import ChatRequest, Message
from ..prompts import Template
from ..work import Step
from .base import StepCalls, StepKind


class Draft(StepKind):
    """A draft is text for another model: it calls no tools and has no shape to keep."""

    templates = {
        "draft": Template(frozenset({"prompt"})),
        "answer_with_draft": Template(frozenset({"prompt", "draft"}), own_call=False),
    }

    async def prepare(self, calls: StepCalls, step: Step) -> str | None:
        prompt, place = _last_prompt(calls.request)
        template = calls.prompts["draft"]
        asked = _with_last(calls.request, template.fill(calls.session.random, prompt=prompt), place)
        bounds = (template.most_tokens(may_think=step.target.may_think), asked.max_output_tokens)
        asked = replace(
            asked,
            tools=(),
            json_schema=None,
            max_output_tokens=min((most for most in bounds if most is not None), default=None),
            temperature=asked.temperature if template.temperature is None else template.temperature,
        )
        said = await calls.ask(step, asked)
        if said is None or not calls.is_usable(step, said.answer):
            return None
        calls.report(step, "done")
        return said.answer.text


def with_drafts(calls: StepCalls, drafts: Sequence[str]) -> ChatRequest:
    """The request as the answering model gets it."""
    if not drafts:
        return calls.request
    prompt, place = _last_prompt(calls.request)
    template = calls.prompts["answer_with_draft"]
    filled = template.fill(calls.session.random, prompt=prompt, draft="\n\n".join(drafts))
    return calls.grown(_with_last(calls.request, filled, place))


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


STEP = Draft()
