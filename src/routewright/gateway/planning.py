"""A decision in, the work that its plan allows out: models in order, steps, ensemble, limits, quotas, cache.

What the plan does not hold is not in the work, and nothing that is not in the work is called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from typing import Any, Literal

from routewright.backends import Limits, PriceFacts
from routewright.backends.control import QuotaKey, QuotaLimit
from routewright.backends.executing import CacheUse, Ensemble, Step, Target, Work, WorkLimits
from routewright.engine.decision import Decision, allowance, is_exact, time_facts, verdicts_of
from routewright.engine.policy import (
    CompiledEnsemble,
    CompiledModel,
    CompiledPolicy,
    CompiledStep,
    nano_units,
    per_policy,
)

TargetRole = Literal["answer", "fallback"]

LABEL_TEXT = 20_000
"""How much of an answer is searched for a label."""

MAX_LABELS = 1_000
"""Matches in one answer; an answer with more has no label, since finding them would block other calls."""


def work_of(decision: Decision) -> Work | None:
    """The work of a decision's plan; None where it has none."""
    plan, policy = decision.plan, decision.policy
    if plan is None:
        return None
    parts, quotas = _parts_of(policy), _quotas_by_model(decision)
    request = decision.request
    # The length of an embedding or a ranking is that of its longest text: what it may cost is that of them all.
    known_length = decision.task.operation == "chat"

    def target(index: int, role: TargetRole = "answer") -> Target:
        model = policy.catalog.models[index]
        known = parts.target(policy, index, role)
        counted = request.prompt_tokens if known_length and is_exact(model, request) else None
        if counted is None and index not in quotas:
            return known
        return replace(known, quotas=quotas.get(index, ()), prompt_tokens=counted)

    fallbacks = tuple(target(index, "fallback") for index in plan.fallbacks)
    return Work(
        # The members of an ensemble answer first; what else the plan holds is for when they cannot.
        targets=fallbacks if plan.ensemble is not None else (target(plan.target), *fallbacks),
        steps=tuple(_step(step, target(step.model)) for step in plan.steps),
        ensemble=None if plan.ensemble is None else _ensemble(plan.ensemble, policy, target),
        limits=parts.limits,
        cache=_cache(decision),
    )


def _limits(policy: CompiledPolicy) -> WorkLimits:
    limits = policy.limits
    found = WorkLimits(
        deadline_ms=limits.deadline_ms,
        max_attempts=limits.max_attempts,
        backoff_ms=limits.backoff_ms,
        first_token_within_ms=limits.first_token_within_ms,
    )
    if limits.lease_ms is not None:
        found = replace(found, lease_ms=limits.lease_ms)
    if limits.cost is not None:
        found = replace(
            found,
            max_cost_nano=limits.cost.limit,
            currency=limits.cost.currency,
            unknown_cost="refuse" if limits.cost.refuses_unknown else "allow",
        )
    return found


def quota_limits(policy: CompiledPolicy) -> tuple[QuotaLimit, ...]:
    """Every quota of a policy as it stands, nothing held in reserve: for reading what is used."""
    return tuple(
        QuotaLimit(
            control=quota.name,
            unit=quota.unit,
            limit=quota.limit,
            amount=0,
            per=quota.per,  # type: ignore[arg-type]  # the periods of policies are those of quotas
            timezone=quota.timezone,
            currency=quota.currency,
        )
        for quota in policy.quotas
    )


def state_key(model: CompiledModel) -> str:
    """What breaker and latency of a model are kept under: its id, or, of a stand-in, what truly answers.

    A small model that stands in for a large one must not open the large one's breaker, nor lend it its speed.
    """
    return model.id if model.shape.stands_in_for is None else f"{model.backend}:{model.tag}"


def quota_key(policy: CompiledPolicy, for_each: str | None, values: Sequence[object]) -> QuotaKey:
    """The quota key of a task, such as ``("team", "research")``; tasks without a value are counted together."""
    if for_each is None:
        return ()
    value = values[policy.slots[for_each]]
    return (for_each,) if value is None else (for_each, str(value))


def _quotas_by_model(decision: Decision) -> Mapping[int, tuple[QuotaLimit, ...]]:
    policy = decision.policy
    if not policy.quotas:
        return {}
    reserves = _reserve_verdicts(decision)
    found: dict[int, list[QuotaLimit]] = {}
    for quota, limit in zip(policy.quotas, quota_limits(policy), strict=True):
        allowed, _ = allowance(quota, reserves)
        key = quota_key(policy, quota.for_each, decision.values)
        for index in quota.models:
            found.setdefault(index, []).append(replace(limit, limit=allowed, key=key))
    return {index: tuple(limits) for index, limits in found.items()}


def _reserve_verdicts(decision: Decision) -> Sequence[bool | None]:
    policy = decision.policy
    state: tuple[Any, ...] = (None, None, None)
    if policy.uses_state:
        state = (decision.state.load, *time_facts(decision.state.at_us))
    return verdicts_of(policy, (*decision.values, *state))[len(policy.rules) + len(policy.constraints) :]


class _Parts:
    """The parts of works that follow from the policy alone. Targets are made when they are first asked for."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self.limits = _limits(policy)
        self._targets: dict[tuple[int, TargetRole], Target] = {}

    def target(self, policy: CompiledPolicy, index: int, role: TargetRole) -> Target:
        known = self._targets.get((index, role))
        if known is None:
            target = _target(policy.catalog.models[index], policy)
            known = self._targets[index, role] = replace(target, role=role)
        return known


_parts_of = per_policy(_Parts)


def _target(model: CompiledModel, policy: CompiledPolicy) -> Target:
    price, timeouts = model.shape.price, policy.catalog.backends[model.backend].timeouts
    return Target(
        model_id=model.id,
        backend_id=model.backend,
        tag=model.tag,
        price=None
        if price is None
        else PriceFacts(
            input_nano=nano_units(price.input),
            output_nano=nano_units(price.output),
            cached_input_nano=None if price.cached_input is None else nano_units(price.cached_input),
            currency=price.currency,
            since=price.since,
        ),
        limits=Limits(
            connect_ms=timeouts.connect,
            load_ms=timeouts.load,
            first_token_ms=timeouts.first_token,
            idle_ms=timeouts.idle,
            total_ms=timeouts.total,
        ),
        max_output_tokens=model.shape.max_output_tokens,
        # Any server on this machine may have to load the model first.
        may_load=model.location != "cloud",
        think=model.shape.think,
        keep_alive=model.shape.keep_alive,
        # Servers of the cloud hold as much as the model can.
        window=model.context_length if model.kind == "ollama" and model.location == "local" else None,
        state_key=state_key(model),
    )


def _step(step: CompiledStep, target: Target) -> Step:
    options: dict[str, Any] = dict(step.options)
    return Step(
        role=step.role,
        target=target,
        required=step.required,
        on_reject=options.get("on_reject", "annotate"),
        rounds=options.get("rounds", 1),
        on=options.get("on", "prompt"),
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
        label_of=None if ensemble.label is None else _label_finder(ensemble.label),
    )


@lru_cache(maxsize=64)
def _label_finder(pattern: str) -> Callable[[str], str | None]:
    """The label of an answer: the text of the pattern's group, or of the whole pattern if it has none.

    A label that begins the text counts, unless its line holds a different one or a later line begins with one.
    Otherwise all matches must be the same label, or there is none: an answer that quotes another label must not vote
    for it.
    """
    from routewright.engine.condition import compile_search

    search = compile_search(pattern)

    def label_of(text: str) -> str | None:
        text = text.strip()[:LABEL_TEXT]
        found = list(islice(search(text), MAX_LABELS + 1))
        if not found or len(found) > MAX_LABELS:
            return None
        start, label = found[0]
        if _begins_line(text, start) and "\n" not in text[:start]:
            end = len(text.partition("\n")[0])
            found = [one for one in found if one[0] < end or _begins_line(text, one[0])]
        same = {" ".join(other.split()).casefold() for _, other in found}
        return label if len(same) == 1 else None

    return label_of


def _begins_line(text: str, start: int) -> bool:
    """Whether only emphasis marks precede a position in its line; after a quotation mark it would be a quotation."""
    return not text[text.rfind("\n", 0, start) + 1 : start].strip(" \t*_#")


def _cache(decision: Decision) -> CacheUse | None:
    policy = decision.policy
    ttl_ms = policy.limits.cache_ttl_ms
    if ttl_ms is None:
        return None
    metadata = decision.task.request.metadata
    tenant = tuple((name, metadata[name]) for name in ("tenant", "team", "user") if name in metadata)
    return CacheUse(
        ttl_ms=ttl_ms,
        tenant=tenant,
        constraints=tuple(constraint.name for constraint in policy.constraints),
        policy=policy.digest,
    )
