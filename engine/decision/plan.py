"""Makes a plan from a rule's candidates: outcome, verdicts on the candidates, target, fallbacks, steps.

Every model of a plan has passed the same gates, whatever its role.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..policy import STEPS, Candidate, CompiledEnsemble, CompiledPolicy, CompiledRule, CompiledStep
from .choose import order
from .decision import CandidateVerdict, DroppedStep, Outcome, Plan, Selection, SessionUse
from .gates import (
    BREAKER_OPEN_LAST,
    GateContext,
    GateFailure,
    PartFailure,
    closes_first,
    failures,
    marks,
    no_steps,
)

Planned = tuple[Outcome, tuple[CandidateVerdict, ...], Selection | None, Plan | None]

_Failures = Mapping[int, GateFailure | None]
"""By model: the first gate that it does not pass, or None."""


def make_plan(context: GateContext) -> Planned:
    """Outcome, verdicts in the order to try them, how the target was chosen, and the plan if there is one.

    Under a pin the rule is recorded and gives nothing but its screens: neither candidates nor other steps nor an
    ensemble. Raises TaskError when a split needs a random draw and the task has none.
    """
    policy, candidates = context.policy, context.candidates
    rule = context.rule if context.task.pin is None else None
    steps, dropped = gate_steps(context)
    blocked = required_failures(dropped, policy)
    first_failures: dict[int, GateFailure | None] = {}
    for candidate in candidates:
        failure = next(failures(policy.catalog.models[candidate.model], context), None)
        first_failures[candidate.model] = failure or (blocked[0] if blocked else None)
    eligible: list[int] = [c.model for c in candidates if first_failures[c.model] is None]
    last = None
    if not eligible and not blocked:
        last = _last_left(first_failures, context)
        if last is not None:
            first_failures[last] = None
            eligible = [last]
    if not eligible:
        return "no_target", _verdicts(candidates, first_failures, {}, context), None, None
    ordered, probability, choice = _ordered(rule, eligible, context)
    verdicts = _verdicts(ordered, first_failures, probability, context, last=last)
    target, *fallbacks = [c.model for c in ordered if first_failures[c.model] is None]
    ensemble, why_not = _ensemble(None if rule is None else rule.ensemble, first_failures, context)
    if ensemble is not None:
        fallbacks = [index for index in fallbacks if index not in ensemble.members]
    return (
        "routed",
        verdicts,
        choice,
        Plan(target, tuple(fallbacks), steps, dropped, ensemble, why_not, policy.unenforced_everywhere),
    )


def _last_left(first_failures: _Failures, context: GateContext) -> int | None:
    """The model to be called although its breaker is open, where open breakers alone keep all from being called.

    # INVARIANT: it passes every other gate; an unhealthy model and a used up quota are never passed over.
    """
    models = context.policy.catalog.models
    only_open = [
        index
        for index, first in first_failures.items()
        if first is not None
        and first.gate == "breaker"
        and all(failure.gate == "breaker" for failure in failures(models[index], context))
    ]
    return closes_first(only_open, context)


def steps_of(context: GateContext) -> tuple[CompiledStep, ...]:
    """The steps around the answer: of a pinned task only those that hold for pins."""
    steps = () if context.rule is None else context.rule.steps
    if context.task.pin is None:
        return steps
    return tuple(step for step in steps if STEPS[step.role].holds_for_pins)


def step_failures(step: CompiledStep, context: GateContext) -> Iterator[GateFailure]:
    """The gates that a step's model does not pass, in order; only chats have steps."""
    operation = context.task.operation
    if operation != "chat":
        yield no_steps(operation)
    else:
        yield from failures(context.policy.catalog.models[step.model], context, answers=False)


def gate_steps(context: GateContext) -> tuple[tuple[CompiledStep, ...], tuple[DroppedStep, ...]]:
    """Steps whose model passes every gate, and the others with the first gate that failed."""
    kept, dropped = [], []
    for step in steps_of(context):
        failure = next(step_failures(step, context), None)
        if failure is None:
            kept.append(step)
        else:
            dropped.append(DroppedStep(step, failure))
    return tuple(kept), tuple(dropped)


def required_failures(dropped: Sequence[DroppedStep], policy: CompiledPolicy) -> list[PartFailure]:
    """Why no candidate may be used: the steps that are required, and left out all the same."""
    models = policy.catalog.models
    required = [
        (one.step.role, models[one.step.model].id, one.failure) for one in dropped if one.step.required
    ]
    return [
        PartFailure("required_step", f"required {role} with {model}", {"role": role, "model": model}, failure)
        for role, model, failure in required
    ]


def _verdicts(
    ordered: Sequence[Candidate],
    first_failures: _Failures,
    probability: Mapping[int, float],
    context: GateContext,
    *,
    last: int | None = None,
) -> tuple[CandidateVerdict, ...]:
    models = context.policy.catalog.models
    return tuple(
        CandidateVerdict(
            c.model,
            c.origin,
            first_failures[c.model],
            marks(models[c.model], context) + (BREAKER_OPEN_LAST,) * (c.model == last),
            probability.get(c.model, 0.0),
        )
        for c in ordered
    )


def _ordered(
    rule: CompiledRule | None, eligible: Sequence[int], context: GateContext
) -> tuple[Sequence[Candidate], Mapping[int, float], Selection]:
    """All candidates in the order to try them, and the probability of each one that could be the target."""
    candidates, certain = context.candidates, {eligible[0]: 1.0}
    if rule is None:
        return candidates, certain, Selection("pin", {"pin": context.task.pin})
    own, after = candidates[: rule.chosen_from], candidates[rule.chosen_from :]
    own_eligible: list[int] = [c.model for c in own if c.model in eligible]
    session, kept = _session(rule, own_eligible, context)
    if rule.choose == "first" or not own_eligible:
        # With none of the rule's own left there is nothing to choose: its fallbacks follow in their order.
        models, probability, choice = own_eligible, certain, Selection("first", {}, session)
        if kept is None:
            return candidates, probability, choice
    else:
        probability, choice = order(rule, own_eligible, context)
        models, choice = list(probability), replace(choice, session=session)
    if kept is not None:
        models = [kept, *(index for index in models if index != kept)]
        probability = {kept: 1.0}
        choice = Selection("session", {"model": context.policy.catalog.models[kept].id}, session)
    by_model: dict[int, Candidate] = {candidate.model: candidate for candidate in own}
    chosen = [by_model.pop(index) for index in models]
    return (*chosen, *by_model.values(), *after), probability, choice


def _session(
    rule: CompiledRule, own_eligible: Sequence[int], context: GateContext
) -> tuple[SessionUse | None, int | None]:
    """What a sticky rule makes of the task's session, and its model where that goes first."""
    if not rule.sticky:
        return None, None
    if context.task.session is None:
        return "none", None
    model = context.state.session_model
    if model is None:
        return "new", None
    models = context.policy.catalog.models
    kept = next((index for index in own_eligible if models[index].id == model), None)
    return ("moved" if kept is None else "kept"), kept


def _ensemble(
    ensemble: CompiledEnsemble | None, first_failures: _Failures, context: GateContext
) -> tuple[CompiledEnsemble | None, GateFailure | None]:
    """The ensemble with its eligible members, or why it is not used."""
    if ensemble is None:
        return None, None
    models = context.policy.catalog.models
    members = tuple(index for index in ensemble.members if first_failures[index] is None)
    if len(members) < ensemble.quorum:
        counted = f"{len(members)} of {len(ensemble.members)} members are eligible"
        return None, GateFailure("quorum", f"{counted}, {ensemble.quorum} are needed", {})
    if ensemble.judge is not None:
        judge = models[ensemble.judge]
        failure = next(failures(judge, context, answers=False), None)
        if failure is not None:
            return None, PartFailure(failure.gate, f"judge {judge.id}", {}, failure)
    if ensemble.override is not None:
        failure = first_failures[ensemble.override]
        if failure is not None:
            return None, PartFailure(failure.gate, f"override {models[ensemble.override].id}", {}, failure)
    return replace(ensemble, members=members), None
