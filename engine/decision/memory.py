"""Remembers the plans that a policy has led to, by everything that they follow from.

INVARIANT: remembering changes no result. The key holds every fact that the plan or a verdict in it depends on. Where
that would be an open set of values (a price, a latency, a feature inside a constraint), there is no key and the plan is
made anew. Words of a failed gate that depend on the call are made from it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from ..policy import CompiledPolicy, CompiledRule, Quota, per_policy
from .gates import GATES, allowance
from .plan import Planned
from .task import MemoryState, RequestFacts, State, Task
from .token_limits import closing_lengths

MAX_REMEMBERED_PLANS = 4096
"""Plans kept for a policy; when there are more, all are forgotten."""

_NOT_ASKED = object()


class PlanMemory:
    """The plans of one policy."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self._plans: dict[object, Planned] = {}
        self._lengths: dict[int | None, list[int]] = {}
        self._needs = [slot for slot, feature in enumerate(policy.features) if feature.needs]
        self._first_verdict = len(policy.rules)
        self._first_reserve = len(policy.rules) + len(policy.constraints)
        # A constraint that compares a model with features or with the state depends on their values.
        closed = all(constraint.by_model is not None for constraint in policy.constraints)
        closed = closed and all(gate.remembered for gate in GATES)
        # Computed for a rule when it first matches: most of very many rules may never meet a quota.
        self._rules: list[Any] = [_NOT_ASKED if closed else None] * len(policy.rules)

    def get(self, key: object) -> Planned | None:
        """The plan that was kept under ``key``; none is kept under None."""
        return self._plans.get(key)

    def keep(self, key: object, planned: Planned) -> Planned:
        """Return a plan, after it is kept under ``key`` if that is not None."""
        if key is not None:
            if len(self._plans) >= MAX_REMEMBERED_PLANS:
                self.forget()
            self._plans[key] = planned
        return planned

    def forget(self) -> None:
        """Forget all plans."""
        self._plans.clear()

    def key(
        self,
        policy: CompiledPolicy,
        rule: CompiledRule | None,
        task: Task,
        request: RequestFacts,
        state: State,
        parameters: Sequence[Any],
        verdicts: Sequence[bool | None],
    ) -> object:
        """All that the plan follows from, or None where that is too much to compare.

        The prompt's length counts by how many of the lengths it exceeds at which a gate closes.
        """
        if rule is None or task.pin is not None:
            return None
        facts = self._rules[rule.index]
        if facts is _NOT_ASKED:
            facts = self._rules[rule.index] = _facts_of(rule, policy)
        if facts is None:
            return None
        models, quotas = facts
        tokens = request.prompt_tokens
        reserves = verdicts[self._first_reserve :]
        return (
            rule.index,
            task.operation,
            verdicts[self._first_verdict :],
            tuple([parameters[slot] for slot in self._needs]),
            None if tokens is None else bisect_left(self._closing_lengths(policy, request), tokens),
            request.prompt_tokens_source,
            request.tokenizer,
            request.max_output_tokens,
            bool(request.images),
            bool(request.tools),
            bool(request.json_schema),
            _known(models, state) if state.models else None,
            _limits(state.memory) if state.memory else None,
            tuple([_exhausted(quota, state, reserves) for quota in quotas]) if state.quota_used else None,
            _session(policy, rule, task, state) if rule.sticky else None,
        )

    def _closing_lengths(self, policy: CompiledPolicy, request: RequestFacts) -> list[int]:
        wanted = request.max_output_tokens
        found = self._lengths.get(wanted)
        if found is None:
            if len(self._lengths) >= MAX_REMEMBERED_PLANS // 16:
                self._lengths.clear()
            found = self._lengths[wanted] = closing_lengths(policy, wanted)
        return found


memory_of = per_policy(PlanMemory)
"""The policy's memory."""


def _facts_of(rule: CompiledRule, policy: CompiledPolicy) -> tuple[tuple[str, ...], tuple[Quota, ...]] | None:
    """The models that a rule may put into a plan and the quotas that bind them; None if it compares numbers."""
    if rule.choose != "first":
        return None
    models = {candidate.model for candidate in rule.candidates}
    models.update(step.model for step in rule.steps)
    if rule.ensemble is not None and rule.ensemble.judge is not None:
        models.add(rule.ensemble.judge)
    quotas = tuple(quota for quota in policy.quotas if not quota.models.isdisjoint(models))
    return tuple(policy.catalog.models[index].id for index in sorted(models)), quotas


def _session(policy: CompiledPolicy, rule: CompiledRule, task: Task, state: State) -> object:
    """What a sticky rule goes by: no session, a new one, one of its own models, or any other model."""
    if task.session is None or state.session_model is None:
        return task.session is not None
    models = policy.catalog.models
    own = any(models[c.model].id == state.session_model for c in rule.candidates[: rule.chosen_from])
    return state.session_model if own else ""


def _known(models: Sequence[str], state: State) -> tuple[object, ...]:
    """What gates ask of the state of each model."""
    return tuple(
        [
            None
            if m is None
            else (
                m.health,
                m.health_detail,
                m.breaker,
                m.breaker_until_us,
                m.breaker_after,
                m.loaded,
                m.memory_bytes,
            )
            for m in map(state.models.get, models)
        ]
    )


def _limits(memory: Mapping[str, MemoryState]) -> tuple[object, ...]:
    """What gates and marks ask of the memory of each backend; which models are in it is told of each of them."""
    return tuple(
        [
            (id, one.limit_bytes, any(resident.memory_bytes is None for resident in one.loaded))
            for id, one in memory.items()
        ]
    )


def _exhausted(quota: Quota, state: State, reserves: Sequence[bool | None]) -> bool | None:
    """Whether nothing is left of a quota for the task; None where nobody knows."""
    used = state.quota_used.get(quota.name)
    return None if used is None else used >= allowance(quota, reserves)[0]
