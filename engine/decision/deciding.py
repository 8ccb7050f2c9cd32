"""Decides where a task goes. Pure and total: the same inputs give the same decision.

Time, ids and random draws are arguments; nothing is read. What is kept beside a policy (``PlanMemory``) follows from it
alone and changes no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from ..condition import compile_function
from ..policy import CompiledPolicy, CompiledRule, per_policy
from ..report import TaskError
from .bind import binder_of, request_facts, time_facts
from .decision import Arm, Decision
from .gates import context_of
from .memory import memory_of
from .plan import Planned, make_plan
from .task import State, Task, check_task

_NO_STATE = (None, None, None)


def decide(
    policy: CompiledPolicy,
    task: Task,
    state: State,
    *,
    decision_id: str,
    strict: bool = True,
    arm: Arm | None = None,
) -> Decision:
    """Return where ``task`` goes under ``policy``, and why.

    Rules are tried in file order and the first that holds wins; a rule whose condition is unknown does what
    its ``on_unknown`` says. The decision keeps the verdict of every rule. A task that fits no model is an
    answer, not an error: ``outcome`` is then ``no_match``, ``no_target`` or ``undecided``.

    ``decision_id`` is the decision's id (a UUIDv7 in the ledger). Unless ``strict`` is false, a feature that the
    policy does not declare is refused, since it may be misspelt; otherwise it is recorded as ignored. ``arm`` is only
    recorded: the caller has picked it with ``pick_arm`` and passes the policy of that arm.

    Raises FeatureError for a feature that is not declared or whose value does not fit its declaration, and TaskError
    for a pin that names no model, for a random split without a draw, or for arguments of other types.
    """
    if not (isinstance(task, Task) and isinstance(state, State) and isinstance(policy, CompiledPolicy)):
        raise _misfit(policy, task, state)
    values, sources, ignored, nulls = binder_of(policy).bind(task, state, strict=strict)
    parameters = parameters_of(policy, values, state)
    verdicts = verdicts_with_nulls(policy, parameters) if nulls else policy.evaluate(parameters)
    rule_verdicts = verdicts[: len(policy.rules)]
    winner, undecided = _winner(policy.rules, rule_verdicts)
    request = request_facts(policy, task, values, sources)
    if task.pin is None and (winner is None or undecided):
        planned: Planned = ("undecided" if undecided else "no_match", (), None, None)
    else:
        memory = memory_of(policy)
        rule = None if winner is None else policy.rules[winner]
        key = memory.key(policy, rule, task, request, state, parameters, verdicts)
        remembered = memory.get(key)
        if remembered is None:
            context = context_of(policy, rule, task, request, state, parameters, verdicts)
            remembered = memory.keep(key, make_plan(context))
        planned = remembered
    outcome, candidates, choice, plan = planned
    return Decision(
        decision_id,
        policy,
        task,
        state,
        tuple(values),
        tuple(sources),
        request,
        ignored,
        rule_verdicts,
        winner,
        outcome,
        candidates,
        choice,
        plan,
        arm,
    )


def _misfit(policy: object, task: object, state: object) -> TaskError:
    """What to say of arguments of which one has another type."""
    if not isinstance(policy, CompiledPolicy):
        return TaskError(f"a policy is what `load_policy` returns, not {type(policy).__name__}")
    check_task(task)
    return TaskError(f"a state is a State, not {type(state).__name__}", help="write `State(at_us)`")


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


def parameters_of(policy: CompiledPolicy, values: Sequence[Any], state: State) -> tuple[Any, ...]:
    """The values of ``policy.parameters``, given those of its features; what no condition asks for is None."""
    known = (state.load, *time_facts(state.at_us)) if policy.uses_state else _NO_STATE
    return (*values, *known)


def verdicts_of(policy: CompiledPolicy, parameters: Sequence[Any]) -> tuple[bool | None, ...]:
    """The result of ``policy.evaluate``, for any feature values: each may be None."""
    for slot in policy.defaulted:
        if parameters[slot] is None:
            return verdicts_with_nulls(policy, parameters)
    return policy.evaluate(parameters)


def verdicts_with_nulls(policy: CompiledPolicy, parameters: Sequence[Any]) -> tuple[bool | None, ...]:
    """The same, but features that have a default may be None too.

    The compiled function of a policy assumes that features with defaults have values, which makes it fast. Where one
    has none, a second function is compiled once and kept.
    """
    return cast(tuple[bool | None, ...], _with_nulls(policy)(parameters))


_with_nulls = per_policy(lambda policy: compile_function(policy.conditions, policy.parameters))
