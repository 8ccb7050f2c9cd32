"""Policy, task and state in, a decision out. Pure and total: the same inputs give the same decision.

Time, ids and random draws are arguments; nothing is read, nothing is kept. (What is remembered in
``policy.cache`` follows from the policy alone and changes no result.)
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, cast

from ..errors import TaskError
from ..policy.compiled import Candidate, CompiledPolicy, CompiledRule, CompiledStep
from .bind import binder_of, time_facts
from .choose import order
from .decision import CandidateVerdict, Choice, Decision, DroppedStep, GateFailure, Outcome, Plan
from .gates import Situation, active_constraints, failures, needed_capabilities
from .task import State, Task

__all__ = ["MAX_REMEMBERED_PLANS", "candidates_of", "decide", "make_plan", "situation_of"]

MAX_REMEMBERED_PLANS = 4096
"""Plans kept for a policy; past that they are worked out anew."""

_NO_STATE = (None, None, None)

Planned = tuple[Outcome, tuple[CandidateVerdict, ...], Choice | None, Plan | None]


def decide(
    policy: CompiledPolicy, task: Task, state: State, *, decision_id: str, strict: bool = False
) -> Decision:
    """Return where ``task`` goes under ``policy``, and why.

    Rules are tried in file order and the first that holds wins; a rule whose condition is unknown does what
    its ``on_unknown`` says. The decision keeps the verdict of every rule. A task that fits no model is an
    answer, not an error: ``outcome`` is then ``no_match``, ``no_target`` or ``undecided``.

    ``decision_id`` is the decision's id (a UUIDv7 in the ledger). With ``strict``, features that the policy
    does not declare are refused; else they are recorded as ignored.

    Raises FeatureError for a feature value that does not fit its declaration, and TaskError for a pin that
    names no model or for a random split without a draw.
    """
    values, sources, ignored = binder_of(policy).bind(task, state, strict=strict)
    parameters = (*values, *_state_values(policy, state))
    verdicts = policy.evaluate(parameters)
    rule_count = len(policy.rules)
    rule_verdicts = verdicts[:rule_count]
    rule, undecided = _winner(policy.rules, rule_verdicts)
    if task.pin is None and (rule is None or undecided):
        planned: Planned = ("undecided" if undecided else "no_match", (), None, None)
    else:
        planned = _plan(policy, rule, task, state, values, parameters, verdicts)
    outcome, candidates, choice, plan = planned
    return Decision(
        decision_id,
        policy,
        task,
        state,
        tuple(values),
        tuple(sources),
        ignored,
        rule_verdicts,
        rule,
        outcome,
        candidates,
        choice,
        plan,
    )


def situation_of(
    policy: CompiledPolicy,
    task: Task,
    state: State,
    values: Sequence[Any],
    parameters: Sequence[Any],
    verdicts: Sequence[bool | None],
    candidates: Sequence[Candidate],
) -> Situation:
    """What the gates know of the task; ``verdicts`` are all that ``policy.evaluate`` gave."""
    first_reserve = len(policy.rules) + len(policy.constraints)
    needs, unknown_needs = needed_capabilities(policy, task, values)
    space = None
    if task.operation == "embed" and candidates:
        first = policy.catalog.models[candidates[0].model]
        space = (first.embedding_space, first.id)
    return Situation(
        policy=policy,
        task=task,
        state=state,
        parameters=parameters,
        constraints=active_constraints(policy, verdicts[len(policy.rules) : first_reserve]),
        needs=needs,
        unknown_needs=unknown_needs,
        prompt_tokens=_prompt_tokens(policy, task, values),
        embedding_space=space,
        reserves=verdicts[first_reserve:],
    )


def candidates_of(policy: CompiledPolicy, rule: CompiledRule | None, task: Task) -> tuple[Candidate, ...]:
    """The candidates of a task: the pinned model alone, else those of the rule. Raises TaskError."""
    if task.pin is None:
        return rule.candidates if rule is not None else ()
    model = policy.catalog.find(task.pin)
    if model is None:
        found = policy.catalog.names.get(task.pin, ())
        meant = [f"{policy.catalog.models[i].backend}:{policy.catalog.models[i].tag}" for i in found]
        if meant:
            raise TaskError(
                f"the pin `{task.pin}` names {len(meant)} models", help=f"one of: {', '.join(meant)}"
            )
        raise TaskError(f"the pin `{task.pin}` names no model", help=policy.catalog.hint(task.pin))
    return (Candidate(model.index, "pin"),)


def _state_values(policy: CompiledPolicy, state: State) -> tuple[object, object, object]:
    if not policy.uses_state:
        return _NO_STATE
    return (state.load, *time_facts(state.at_us))


def _winner(rules: Sequence[CompiledRule], verdicts: Sequence[bool | None]) -> tuple[int | None, bool]:
    """The position of the rule that matched, and whether it stopped the search by being unknown."""
    try:
        first = verdicts.index(True)
    except ValueError:
        first = len(verdicts)
    if None in verdicts[:first]:
        for index in range(first):
            if verdicts[index] is None and rules[index].on_unknown != "skip":
                return index, rules[index].on_unknown == "fail"
    return (first if first < len(verdicts) else None), False


def _plan(
    policy: CompiledPolicy,
    rule_index: int | None,
    task: Task,
    state: State,
    values: Sequence[Any],
    parameters: Sequence[Any],
    verdicts: Sequence[bool | None],
) -> Planned:
    """The candidates' verdicts and the plan; remembered where they follow from few facts."""
    rule = None if rule_index is None else policy.rules[rule_index]
    key = _plan_key(policy, rule, task, state, values, verdicts)
    plans: dict[object, Planned] = policy.cache.setdefault("plans", {})
    if key is not None:
        remembered = plans.get(key)
        if remembered is not None:
            return remembered
    candidates = candidates_of(policy, rule, task)
    situation = situation_of(policy, task, state, values, parameters, verdicts, candidates)
    planned = make_plan(rule, candidates, situation, values)
    if key is not None and len(plans) < MAX_REMEMBERED_PLANS:
        plans[key] = planned
    return planned


def _plan_key(
    policy: CompiledPolicy,
    rule: CompiledRule | None,
    task: Task,
    state: State,
    values: Sequence[Any],
    verdicts: Sequence[bool | None],
) -> object:
    """All that the plan depends on, or None where it also depends on the state or on feature values.

    The length of the prompt counts by how many of the catalog's windows it exceeds.
    """
    if rule is None or task.pin is not None or rule.choose != "first" or state.models or state.quota_used:
        return None
    static = policy.cache.get("static")
    if static is None:
        static = policy.cache["static"] = _static_facts(policy)
    windows, need_slots, needs_values, token_slot = static
    if needs_values:
        return None
    request = task.request
    tokens = request.prompt_tokens if token_slot is None else values[token_slot]
    if tokens is None:
        tokens = request.prompt_tokens
    return (
        rule.index,
        task.operation,
        verdicts[len(policy.rules) :],
        tuple([values[slot] for slot in need_slots]),
        bool(request.images),
        bool(request.tools),
        bool(request.json_schema),
        None if tokens is None else bisect_left(windows, tokens),
    )


def _static_facts(policy: CompiledPolicy) -> tuple[list[int], list[int], bool, int | None]:
    """The catalog's context windows, the positions of features with needs, whether a constraint needs values."""
    windows = sorted({m.context_length for m in policy.catalog.models if m.context_length is not None})
    need_slots = [slot for slot, feature in enumerate(policy.features) if feature.needs]
    needs_values = any(constraint.function is not None for constraint in policy.constraints)
    return windows, need_slots, needs_values, _token_slot(policy)


def _token_slot(policy: CompiledPolicy) -> int | None:
    """The feature that says how long the prompt is: the first with `from: request.prompt_tokens`."""
    for slot, feature in enumerate(policy.features):
        if feature.derived is not None and feature.derived.fact == "prompt_tokens":
            return slot
    return None


def _prompt_tokens(policy: CompiledPolicy, task: Task, values: Sequence[Any]) -> int | None:
    slot = _token_slot(policy)
    tokens = None if slot is None else values[slot]
    return task.request.prompt_tokens if tokens is None else int(tokens)


def make_plan(
    rule: CompiledRule | None, candidates: Sequence[Candidate], situation: Situation, values: Sequence[Any]
) -> Planned:
    """Outcome, verdicts in the order to try them, how the target was chosen, and the plan if there is one."""
    policy, task = situation.policy, situation.task
    models = policy.catalog.models
    steps, dropped = _gate_steps(() if task.pin is not None or rule is None else rule.steps, situation)
    blocked = next((d for d in dropped if d.step.required), None)
    first_failures: dict[int, GateFailure | None] = {}
    for candidate in candidates:
        failure = next(failures(models[candidate.model], situation), None)
        if failure is None and blocked is not None:
            detail = (
                f"required {blocked.step.role} with {models[blocked.step.model].id}: {blocked.failure.detail}"
            )
            failure = GateFailure("required_step", detail)
        first_failures[candidate.model] = failure
    eligible = [candidate for candidate in candidates if first_failures[candidate.model] is None]
    if not eligible:
        verdicts = tuple(_verdict(c, first_failures[c.model], situation, 0.0) for c in candidates)
        return "no_target", verdicts, None, None
    ordered, probability, choice = _ordered(rule, candidates, eligible, situation, values)
    verdicts = tuple(
        _verdict(c, first_failures[c.model], situation, probability.get(c.model, 0.0)) for c in ordered
    )
    plan_models = [c.model for c in ordered if first_failures[c.model] is None]
    ensemble, why_not = _ensemble(rule, first_failures, situation) if task.pin is None else (None, None)
    target, *rest = plan_models
    if ensemble is not None:
        rest = [index for index in rest if index not in ensemble.members]
    unenforced: tuple[str, ...] = rule.unenforced if rule is not None and task.pin is None else ()
    involved = {*plan_models, *(step.model for step in steps)}
    unenforced += tuple(text for text, bound in policy.unenforced_controls if not bound.isdisjoint(involved))
    plan = Plan(target, tuple(rest), steps, dropped, ensemble, why_not, unenforced)
    return "routed", verdicts, choice, plan


def _verdict(
    candidate: Candidate, failure: GateFailure | None, situation: Situation, probability: float
) -> CandidateVerdict:
    model = situation.policy.catalog.models[candidate.model]
    return CandidateVerdict(candidate.model, candidate.origin, failure, situation.marks(model), probability)


def _ordered(
    rule: CompiledRule | None,
    candidates: Sequence[Candidate],
    eligible: Sequence[Candidate],
    situation: Situation,
    values: Sequence[Any],
) -> tuple[list[Candidate], dict[int, float], Choice]:
    """All candidates in the order to try them, and the probability of each one that could be the target."""
    if rule is None or situation.task.pin is not None:
        return list(candidates), {eligible[0].model: 1.0}, Choice("pin", {"pin": situation.task.pin})
    own = [c.model for c in candidates[: rule.chosen_from] if c in eligible]
    if not own:
        return list(candidates), {eligible[0].model: 1.0}, Choice("first", {})
    ordering = order(rule, own, situation.policy, situation.task, situation.state, values)
    by_model = {candidate.model: candidate for candidate in candidates}
    chosen = [by_model[index] for index in ordering.models]
    others = [c for c in candidates[: rule.chosen_from] if c.model not in ordering.models]
    ordered = list(chain(chosen, others, candidates[rule.chosen_from :]))
    if rule.choose == "first":
        ordered = list(candidates)
    return ordered, dict(zip(ordering.models, ordering.probabilities, strict=True)), ordering.choice


def _gate_steps(
    steps: Sequence[CompiledStep], situation: Situation
) -> tuple[tuple[CompiledStep, ...], tuple[DroppedStep, ...]]:
    """Steps whose model passes every gate, and the others with the first gate that failed."""
    kept, dropped = [], []
    for step in steps:
        failure = next(failures(situation.policy.catalog.models[step.model], situation), None)
        if situation.task.operation != "chat":
            failure = GateFailure("operation", f"{situation.task.operation} has no steps")
        if failure is None:
            kept.append(step)
        else:
            dropped.append(DroppedStep(step, failure))
    return tuple(kept), tuple(dropped)


def _ensemble(
    rule: CompiledRule | None, first_failures: dict[int, GateFailure | None], situation: Situation
) -> tuple[Any, str | None]:
    """The ensemble with its eligible members, or why it is not used."""
    ensemble = None if rule is None else rule.ensemble
    if ensemble is None:
        return None, None
    models = situation.policy.catalog.models
    members = tuple(index for index in ensemble.members if first_failures[index] is None)
    if len(members) < ensemble.quorum:
        return (
            None,
            f"{len(members)} of {len(ensemble.members)} members are eligible, {ensemble.quorum} are needed",
        )
    if ensemble.judge is not None:
        failure = next(failures(models[ensemble.judge], situation), None)
        if failure is not None:
            return None, f"judge {models[ensemble.judge].id}: {failure.detail}"
    override = ensemble.override
    if override is not None and override not in members:
        return None, f"override {models[override].id}: {cast(GateFailure, first_failures[override]).detail}"
    return replace(ensemble, members=members), None
