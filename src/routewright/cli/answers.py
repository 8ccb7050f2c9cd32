"""Words the result of executing: the answer, one line about it, one line for each attempt."""

from __future__ import annotations

from routewright.backends import ChatAnswer, EmbedAnswer
from routewright.backends.executing import Answer, Attempt, Execution, StepReport
from routewright.engine.decision import Decision
from routewright.engine.explain import difference, share_text
from routewright.engine.record import record_of
from routewright.gateway import RunResult

_LONGEST_NOTE = 200
"""A verdict that cannot be read may be as long as a model cares to write."""


def answer_text(answer: Answer) -> str:
    """An answer in words: the text, the size of the vectors, or the documents' scores, best first."""
    if isinstance(answer, ChatAnswer):
        return answer.text
    mark = "[simulated] " if answer.simulated else ""
    if isinstance(answer, EmbedAnswer):
        return f"{mark}{len(answer.vectors)} vector of {len(answer.vectors[0])} dimensions"
    scores = sorted(enumerate(answer.scores, start=1), key=lambda one: -one[1])
    return mark + ", ".join(f"document {number}: {score:.3f}" for number, score in scores)


def summary_line(ran: RunResult, *, stored: bool) -> str:
    """One line: model, why, time, tokens, cost, fallbacks, steps if there were any, and the id of what is stored."""
    decision, execution = ran.decision, ran.execution
    assert execution is not None
    attempts = execution.attempts
    by = ran.answered_by
    failed = [f"{a.model_id}: {a.error_class}" for a in attempts if a.error_class is not None]
    skipped = [f"{a.model_id}: {a.reason}" for a in attempts if a.status == "skipped"]
    steps = [f"{step.role} by {step.model_id} {step.outcome}" for step in ran.steps]
    tokens = _tokens(attempts, "input_tokens")
    parts = [
        "no answer" if by is None else _named(decision, by),
        f"pin {decision.task.pin}" if decision.task.pin else f"rule {decision.matched}",
        *_arm(ran),
        f"{took_ms(execution):.0f} ms",
        f"{_least(attempts)}{tokens} {'token' if tokens == '1' else 'tokens'} in, "
        f"{_tokens(attempts, 'output_tokens')} out",
        cost_text(ran),
        *([f"failed: {', '.join(failed)}"] if failed else []),
        *([f"skipped: {', '.join(skipped)}"] if skipped else []),
        *_way(decision, by, bool(failed or skipped)),
        *(["the answer is empty"] if _is_empty(execution.answer) else []),
        *(["cut off: its limit of tokens was reached"] if _is_cut(execution) else []),
        *([f"steps: {', '.join(steps)}"] if steps else []),
        *([f"decision {ran.decision_id}"] if stored else []),
    ]
    return " | ".join(parts)


def _way(decision: Decision, by: Attempt | None, tried: bool) -> list[str]:
    """What deciding left out before its target, and whether a fallback answered; ``tried`` says what failed."""
    plan, models = decision.plan, decision.policy.catalog.models
    assert plan is not None  # something was executed
    found = []
    rule = None if decision.rule is None else decision.policy.rules[decision.rule]
    if rule is not None and rule.ensemble is not None and plan.ensemble is None:
        found.append("the ensemble was not used")
    passed = []
    for candidate in decision.candidates:
        if candidate.model == plan.target:
            break
        if candidate.failure is not None:
            passed.append(f"{models[candidate.model].id}: {candidate.failure.explained(decision)}")
    if passed and plan.ensemble is None:
        found.append(f"passed over: {', '.join(passed)}")
    if by is not None and by.role == "fallback" and not tried:
        found.append("a fallback answered")
    elif not tried and not found:
        found.append("no fallback")
    return found


def _is_cut(execution: Execution) -> bool:
    return getattr(execution.answer, "finish_reason", None) == "length"


def _is_empty(answer: Answer | None) -> bool:
    """Whether a chat ended well and said nothing: what is printed is a blank line, which is easily overlooked."""
    return isinstance(answer, ChatAnswer) and not answer.text.strip() and not answer.tool_calls


def attempt_line(attempt: Attempt) -> str:
    """One attempt: who was asked, as what, what came of it, how long it took, what the failure said."""
    came = attempt.error_class or attempt.reason
    simulated = ", simulated" if attempt.simulated else ""
    return (
        f"tried {attempt.model_id} on {attempt.backend_id} ({attempt.role}{simulated}): {attempt.status}"
        f"{f', {came}' if came else ''}, {attempt.total_us / 1000:.0f} ms"
        f"{f': {attempt.message}' if attempt.message else ''}"
    )


def step_line(step: StepReport) -> str:
    """What came of one step, and why where that is not plain: its notes, on one line."""
    notes = " ".join((step.notes or "").split())
    said = notes if len(notes) <= _LONGEST_NOTE else notes[: _LONGEST_NOTE - 3] + "..."
    return f"{step.role} by {step.model_id}: {step.outcome}{f': {said}' if said else ''}"


def took_ms(execution: Execution) -> float:
    """From the beginning of the first attempt to the end of the last; simulated times are added up."""
    attempts = execution.attempts
    if any(attempt.simulated for attempt in attempts):
        return sum(attempt.total_us for attempt in attempts) / 1000
    ends = [attempt.started_at_us + attempt.total_us for attempt in attempts]
    return (max(ends) - min(attempt.started_at_us for attempt in attempts)) / 1000 if attempts else 0.0


def output_tokens(execution: Execution) -> str:
    """What all calls wrote together; ``+?`` says that some did not tell."""
    return _tokens(execution.attempts, "output_tokens")


def cost_text(ran: RunResult) -> str:
    """What all attempts cost together, if that is known."""
    if ran.cost is None:
        ended = ran.execution
        known = ended is not None and all(attempt.cost_nano is not None for attempt in ended.attempts)
        return "cost in two currencies" if known else "cost unknown"
    return str(ran.cost) if ran.cost.currency else "cost 0"


def _named(decision: Decision, attempt: Attempt) -> str:
    """The model's id, and who stood in for it."""
    model = decision.policy.catalog.find(attempt.model_id)
    kept = ", from the cache" if attempt.status == "cached" else ""
    if model is None or model.shape.stands_in_for is None:
        return attempt.model_id + kept
    return f"{attempt.model_id} (stand-in {model.backend}:{model.tag}{kept})"


def _arm(ran: RunResult) -> list[str]:
    """The arm of the rollout, and where its shadow would have gone."""
    arm = ran.decision.arm
    if arm is None:
        return []
    if arm.mode == "canary":
        return [f"{arm.name} (canary {share_text(arm.share or 0.0)})"]
    if arm.mode == "full":
        return [f"{arm.name} (full)"]
    shadow = ran.shadow
    if shadow is None:
        why = f" ({ran.shadow_error})" if ran.shadow_error else ""
        return [f"shadow: cannot decide it{why}"]
    said = {"none": "the same", "plan": "the same model, another plan"}
    far = difference(record_of(ran.decision), record_of(shadow))
    return [f"shadow: {said.get(far, shadow.target or shadow.outcome)}"]


def _least(attempts: tuple[Attempt, ...]) -> str:
    """A server that says less than what came leaves no more than a lower bound."""
    return "at least " if any(attempt.tokens_source == "lower_bound" for attempt in attempts) else ""


def _tokens(attempts: tuple[Attempt, ...], column: str) -> str:
    counts = [getattr(attempt, column) for attempt in attempts if attempt.status not in ("skipped", "cached")]
    known = [count for count in counts if count is not None]
    if len(known) == len(counts):
        return str(sum(known))
    # A call that was refused used no tokens: 0 of it says nothing about the others.
    return f"{sum(known)}+?" if any(known) else "?"
