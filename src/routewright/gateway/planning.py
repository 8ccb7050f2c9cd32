"""Makes the work that a decision's plan allows: models in order, steps, ensemble, limits, quotas, cache.

What the plan does not hold is not in the work, and nothing that is not in the work is called.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from routewright.backends import Limits, PriceFacts
from routewright.backends.control import QuotaKey, QuotaLimit
from routewright.backends.executing import (
    CacheUse,
    Ensemble,
    Step,
    Target,
    Work,
)
from routewright.engine.decision import Decision, Plan, allowance, is_exact, parameters_of, verdicts_of
from routewright.engine.policy import (
    CompiledEnsemble,
    CompiledModel,
    CompiledPolicy,
    Quota,
    nano_units,
)

from .endpoints import endpoints_of
from .vote_labels import label_finder

TargetRole = Literal["answer", "fallback"]

_MAX_REMEMBERED = 256
"""Plans whose work is kept; when there are more, all are forgotten."""


class Planner:
    """Makes the work of one policy's decisions.

    ``counted_for`` is the name of the policy whose quotas count: in both arms of a rollout the control's. ``endpoints``
    are what is called for each of the catalog's models; ``quotas`` are the limits with nothing held in reserve, for
    reading what is used.
    """

    def __init__(
        self,
        policy: CompiledPolicy,
        *,
        counted_for: str | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.policy = policy
        self._counted_for, self._environment = counted_for or policy.name, environment
        self.endpoints = endpoints_of(policy, environment)
        self.quotas = tuple(_quota_limit(quota, self._counted_for) for quota in policy.quotas)
        # Made when they are first asked for.
        self._targets: dict[tuple[int, TargetRole], Target] = {}
        self._works: dict[int, tuple[Plan, Work]] = {}

    def work_of(self, decision: Decision) -> Work | None:
        """The work of a decision's plan; None where it has none."""
        plan, policy = decision.plan, self.policy
        if plan is None:
            return None
        if decision.policy is not policy:
            # It means the same, and may number its models otherwise.
            own = Planner(decision.policy, counted_for=self._counted_for, environment=self._environment)
            return own.work_of(decision)
        if policy.quotas or decision.request.prompt_tokens_source in ("counted", "stated"):
            work = self._work_of_plan(decision, plan)
        else:
            # Nothing else in it depends on the task, and tasks that are alike have one plan.
            kept = self._works.get(id(plan))
            if kept is None or kept[0] is not plan:
                if len(self._works) >= _MAX_REMEMBERED:
                    self._works.clear()
                kept = self._works[id(plan)] = plan, self._work_of_plan(decision, plan)
            work = kept[1]
        observed, cache = _observed(decision), _cache(decision)
        if not observed and cache is None:
            return work
        return Work(work.targets, work.steps, work.ensemble, work.limits, cache, observed_ms=observed)

    def _work_of_plan(self, decision: Decision, plan: Plan) -> Work:
        policy, request = self.policy, decision.request
        quotas = self._quotas_by_model(decision)
        # The length of an embedding or a ranking is that of its longest text: what it may cost is that of them all.
        known_length = decision.task.operation == "chat"

        def target(index: int, role: TargetRole = "answer") -> Target:
            model = policy.catalog.models[index]
            known = self._target(index, role)
            counted = request.prompt_tokens if known_length and is_exact(model, request) else None
            if counted is None and index not in quotas:
                return known
            return replace(known, quotas=quotas.get(index, ()), prompt_tokens=counted)

        fallbacks = tuple(target(index, "fallback") for index in plan.fallbacks)
        return Work(
            # The members of an ensemble answer first; what else the plan holds is for when they cannot.
            targets=fallbacks if plan.ensemble is not None else (target(plan.target), *fallbacks),
            steps=tuple(
                Step(step.role, target(step.model), step.required, step.options) for step in plan.steps
            ),
            ensemble=None if plan.ensemble is None else _ensemble(plan.ensemble, policy, target),
            limits=policy.limits,
        )

    def quotas_of(self, values: Sequence[object]) -> list[QuotaLimit]:
        """The policy's quotas for a task with these values of features."""
        return [
            replace(limit, key=_quota_key(self.policy, quota.for_each, values))
            for quota, limit in zip(self.policy.quotas, self.quotas, strict=True)
        ]

    def _quotas_by_model(self, decision: Decision) -> Mapping[int, tuple[QuotaLimit, ...]]:
        quotas = self.policy.quotas
        if not quotas:
            return {}
        reserves = _reserve_verdicts(decision)
        found: dict[int, list[QuotaLimit]] = {}
        for quota, limit in zip(quotas, self.quotas_of(decision.values), strict=True):
            allowed, _ = allowance(quota, reserves)
            for index in quota.models:
                found.setdefault(index, []).append(replace(limit, limit=allowed))
        return {index: tuple(limits) for index, limits in found.items()}

    def _target(self, index: int, role: TargetRole) -> Target:
        known = self._targets.get((index, role))
        if known is None:
            model = self.policy.catalog.models[index]
            known = _target(model, self.policy, role, self.endpoints[index])
            self._targets[index, role] = known
        return known


def _quota_limit(quota: Quota, policy: str) -> QuotaLimit:
    return QuotaLimit(
        control=quota.name,
        unit=quota.unit,
        limit=quota.limit,
        amount=0,
        per=quota.per,  # type: ignore[arg-type]  # the periods of policies are those of quotas
        timezone=quota.timezone,
        currency=quota.currency,
        # No name of a policy or a control has a slash in it.
        counted_as=quota.name if quota.shared else f"{policy}/{quota.name}",
    )


def _quota_key(policy: CompiledPolicy, for_each: str | None, values: Sequence[object]) -> QuotaKey:
    """The quota key of a task, such as ``("team", "research")``; tasks without a value are counted together."""
    if for_each is None:
        return ()
    value = values[policy.slots[for_each]]
    return (for_each,) if value is None else (for_each, str(value))


def _observed(decision: Decision) -> Mapping[str, float]:
    """What the models of the plan took of late, where the decision knew it."""
    plan = decision.plan
    if plan is None or not plan.fallbacks or not decision.state.models:
        return {}
    models, state = decision.policy.catalog.models, decision.state.models
    found = {}
    for index in (plan.target, *plan.fallbacks):
        known = state.get(models[index].id)
        if known is not None and known.latency_ms is not None:
            found[models[index].id] = known.latency_ms
    return found


def _reserve_verdicts(decision: Decision) -> Sequence[bool | None]:
    policy = decision.policy
    parameters = parameters_of(policy, decision.values, decision.state)
    return verdicts_of(policy, parameters)[len(policy.rules) + len(policy.constraints) :]


def _target(model: CompiledModel, policy: CompiledPolicy, role: TargetRole, endpoint: str) -> Target:
    price, backend = model.shape.price, policy.catalog.backends[model.backend]
    return Target(
        model_id=model.id,
        backend_id=model.backend,
        tag=model.tag,
        role=role,
        endpoint=endpoint,
        price=None
        if price is None
        else PriceFacts(
            input_nano=nano_units(price.input),
            output_nano=nano_units(price.output),
            cached_input_nano=None if price.cached_input is None else nano_units(price.cached_input),
            currency=price.currency,
            since=price.since,
        ),
        limits=Limits(**{f"{phase}_ms": most for phase, most in backend.timeouts}),
        max_output_tokens=model.shape.max_output_tokens,
        may_load=model.may_load,
        expected_ms=model.shape.expected_latency,
        think=model.shape.think,
        keep_alive=model.shape.keep_alive,
        # Servers of the cloud hold as much as the model can.
        window=model.context_length if model.kind == "ollama" and model.location == "local" else None,
        location=model.location or "unknown",
        host=backend.server.host,
    )


def _ensemble(
    ensemble: CompiledEnsemble, policy: CompiledPolicy, target: Callable[[int], Target]
) -> Ensemble:
    models = policy.catalog.models
    return Ensemble(
        members=tuple(map(target, ensemble.members)),
        combine=ensemble.combine,  # type: ignore[arg-type]  # the shape allows these words alone
        quorum=ensemble.quorum,
        judge=None if ensemble.judge is None else target(ensemble.judge),
        override=None if ensemble.override is None else models[ensemble.override].id,
        label=ensemble.label,
        label_of=None if ensemble.label is None else label_finder(ensemble.label),
    )


def _cache(decision: Decision) -> CacheUse | None:
    """None where nothing says for how long, or where it is not known whose answer it would be."""
    policy, limits = decision.policy, decision.policy.limits
    if limits.cache_ttl_ms is None:
        return None
    given: list[object]
    if limits.cache_by is None:
        task = decision.task
        given = ["given", dict(task.features), dict(task.request.metadata)]
    else:
        values = [decision.values[policy.slots[name]] for name in limits.cache_by]
        if None in values:
            return None
        given = ["by", dict(zip(limits.cache_by, values, strict=True))]
    return CacheUse(
        ttl_ms=limits.cache_ttl_ms,
        given=given,
        constraints=tuple(constraint.name for constraint in policy.constraints),
        policy=policy.digest,
    )
