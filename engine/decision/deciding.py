"""Decides where a task goes. Pure and total: the same inputs give the same decision.

Time, ids and random draws are arguments; nothing is read. What is kept beside a policy (``PlanMemory``) follows from it
alone and changes no result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..policy import CompiledPolicy, CompiledRule
from .bind import binder_of
from .decision import Arm, Decision
from .gates import context_of
from .memory import memory_of
from .plan import Planned, make_plan
from .request import request_facts
from .task import RequestFacts, State, Task
from .verdicts import parameters_of, verdicts_with_nulls


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
    for a pin that names no model or for a random split without a draw.
    """
    values, sources, ignored, nulls = binder_of(policy).bind(task, state, strict=strict)
    parameters = parameters_of(policy, values, state)
    verdicts = verdicts_with_nulls(policy, parameters) if nulls else policy.evaluate(parameters)
    rule_verdicts = verdicts[: len(policy.rules)]
    winner, undecided = _winner(policy.rules, rule_verdicts)
    request = request_facts(policy, task, values, sources)
    if task.pin is None and (winner is None or undecided):
        planned: Planned = ("undecided" if undecided else "no_match", (), None, None)
    else:
        rule = None if winner is None else policy.rules[winner]
        planned = _planned(policy, rule, task, request, state, parameters, verdicts)
    given = (decision_id, policy, task, state, tuple(values), tuple(sources), request, ignored)
    return Decision(*given, rule_verdicts, winner, *planned, arm)


def _planned(
    policy: CompiledPolicy,
    rule: CompiledRule | None,
    task: Task,
    request: RequestFacts,
    state: State,
    parameters: Sequence[Any],
    verdicts: Sequence[bool | None],
) -> Planned:
    """The plan for the rule or pin: the one that is remembered, where all is the same that it follows from."""
    memory = memory_of(policy)
    key = memory.key(policy, rule, task, request, state, parameters, verdicts)
    planned = None if key is None else memory.get(key)
    if planned is None:
        planned = make_plan(context_of(policy, rule, task, request, state, parameters, verdicts))
        if key is not None:
            memory.keep(key, planned)
    return planned


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
