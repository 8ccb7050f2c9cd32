"""A model and the situation of a task in, the gates that it does not pass out, in their order.

constraints → operation → capability → embedding space → context window → disabled, health, breaker → quota.
The same gates hold for every role: candidate, fallback, drafter, verifier, judge, ensemble member, pin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ..policy import MAY_FORWARD, NANO, Candidate, CompiledConstraint, CompiledModel, CompiledPolicy, Quota
from ..report import iso_time
from .decision import GateFailure, Mark
from .request import StatedFacts
from .task import ModelState, State, Task
from .token_limits import TOO_HIGH, affordable_tokens, fit_of, is_exact

HARD_FAILURES: Final = frozenset(("quota_exhausted",))
"""Failures that time alone mends, and whose end is known: the breaker that they open holds even for the last
model that is left. (Where somebody has to pay or sign in, that may have happened a moment ago.)"""

_NOTHING_KNOWN = ModelState()


@dataclass(frozen=True, slots=True)
class GateContext:
    """What the gates know of one task: worked out once, asked for each model.

    ``request`` is what is known of it, features that speak for it included. ``parameters`` are the values of
    features, then of ``state.*``. ``constraints`` are those that are not known to be off, each with whether
    that is known. ``needs`` are capabilities with what asks for each; ``perhaps_needs`` those that features
    without a value may ask for. ``reserves`` holds the verdict of each reserve's condition.
    """

    policy: CompiledPolicy
    task: Task
    request: StatedFacts
    state: State
    parameters: Sequence[Any]
    constraints: tuple[tuple[CompiledConstraint, bool], ...]
    needs: tuple[tuple[str, str], ...]
    perhaps_needs: frozenset[str]
    embedding_space: tuple[str | None, str] | None
    """For embeddings, the space and the id of the first candidate that offers them; fallbacks stay in that space."""
    reserves: Sequence[bool | None]


def situation_of(
    policy: CompiledPolicy,
    task: Task,
    request: StatedFacts,
    state: State,
    values: Sequence[Any],
    parameters: Sequence[Any],
    verdicts: Sequence[bool | None],
    candidates: Sequence[Candidate],
) -> GateContext:
    """What the gates know of the task; ``verdicts`` are all that ``policy.evaluate`` gave."""
    first_reserve = len(policy.rules) + len(policy.constraints)
    needs, perhaps_needs = _needs(policy, request, values)
    space = None
    if task.operation == "embed":
        models = (policy.catalog.models[candidate.model] for candidate in candidates)
        first = next((model for model in models if "embed" in model.operations), None)
        space = None if first is None else (first.embedding_space, first.id)
    return GateContext(
        policy=policy,
        task=task,
        request=request,
        state=state,
        parameters=parameters,
        constraints=_active_constraints(policy, verdicts[len(policy.rules) : first_reserve]),
        needs=needs,
        perhaps_needs=perhaps_needs,
        embedding_space=space,
        reserves=verdicts[first_reserve:],
    )


def marks(model: CompiledModel, situation: GateContext) -> tuple[Mark, ...]:
    """What could not be checked of a model, and passed for that."""
    known = situation.state.models.get(model.id, _NOTHING_KNOWN)
    found: list[Mark] = []
    if not situation.perhaps_needs <= model.capabilities:
        found.append("capability_unverified")
    if fit_of(model, situation.request, situation.task.operation) == "unverified":
        found.append("context_unverified")
    if known.health is None:
        found.append("health_unknown")
    if known.breaker == "half_open":
        found.append("breaker_half_open")
    used = situation.state.quota_used
    if any(model.index in quota.models and quota.name not in used for quota in situation.policy.quotas):
        found.append("quota_unverified")
    return tuple(found)


def _active_constraints(
    policy: CompiledPolicy, verdicts: Sequence[bool | None]
) -> tuple[tuple[CompiledConstraint, bool], ...]:
    """The constraints whose ``when`` is not false, with whether it is known to be true."""
    return tuple(
        (constraint, verdict is True)
        for constraint, verdict in zip(policy.constraints, verdicts, strict=True)
        if verdict is not False
    )


def _needs(
    policy: CompiledPolicy, request: StatedFacts, values: Sequence[Any]
) -> tuple[tuple[tuple[str, str], ...], frozenset[str]]:
    """The capabilities that the task needs, with what asks for each; and those that it may need besides."""
    needs: dict[str, str] = {}
    perhaps: set[str] = set()
    for feature, value in zip(policy.features, values, strict=True):
        if value is True:
            for capability in feature.needs:
                needs.setdefault(capability, f"feature {feature.name}")
        elif value is None:
            perhaps.update(feature.needs)
    if request.images:
        needs.setdefault("vision", "images in the request")
    if request.tools:
        needs.setdefault("tools", "tools in the request")
    if request.json_schema:
        needs.setdefault("json_schema", "a JSON schema in the request")
    return tuple(needs.items()), frozenset(perhaps)


def failures(model: CompiledModel, situation: GateContext) -> Iterator[GateFailure]:
    """The gates that ``model`` does not pass, in order; the first is the one that a record keeps."""
    yield from _constraints(model, situation)
    operation = situation.task.operation
    if operation not in model.operations:
        offered = operation in model.shape.operations
        who = f"backend {model.backend}" if offered else "the model"
        yield GateFailure("operation", f"{who} does not offer {operation}")
    yield from _capabilities(model, situation)
    fit = fit_of(model, situation.request, operation)
    if fit in ("prompt_too_long", "answer_too_long"):
        # INVARIANT: no number of the task's own stands here, as plans are remembered by what fits, not by length.
        what = "the prompt does" if fit == "prompt_too_long" else "the prompt and the answer asked for do"
        yield GateFailure("context_window", f"{what} not fit into {model.context_length} tokens")
    if model.disabled is not None:
        yield GateFailure("disabled", model.disabled)
    known = situation.state.models.get(model.id, _NOTHING_KNOWN)
    if known.health == "unhealthy":
        yield GateFailure("health", "the model is unhealthy")
    if known.breaker == "open":
        yield GateFailure("breaker", _open_words(known))
    for quota in situation.policy.quotas:
        if model.index in quota.models:
            yield from _quota(model, quota, situation)
    yield from _task_cost(model, situation)


def closes_first(models: Sequence[int], situation: GateContext) -> int | None:
    """Of models that nothing but an open breaker keeps from being used, the one to use all the same.

    The one whose breaker closes first; of several, and where nobody knows when, the first. None where each has
    to be left alone, since its provider's limit is used up: asking it sooner only wastes calls.
    """
    catalog = situation.policy.catalog.models
    best: tuple[float, int] | None = None
    for index in models:
        known = situation.state.models[catalog[index].id]
        until_us = float("inf") if known.breaker_until_us is None else known.breaker_until_us
        if known.breaker_after not in HARD_FAILURES and (best is None or until_us < best[0]):
            best = (until_us, index)
    return None if best is None else best[1]


def _open_words(known: ModelState) -> str:
    until = "" if known.breaker_until_us is None else f" until {iso_time(known.breaker_until_us)}"
    after = "" if known.breaker_after is None else f" after {known.breaker_after}"
    return f"its breaker is open{until}{after}"


def _constraints(model: CompiledModel, situation: GateContext) -> Iterator[GateFailure]:
    """``!(when) || require``, three-valued: whatever is not true excludes."""
    for constraint, known in situation.constraints:
        verdict = _require(constraint, model, situation)
        if verdict is True:
            continue
        why = constraint.name if constraint.reason is None else f"{constraint.name}: {constraint.reason}"
        unknown = ["whether it applies"] * (not known) + ["what it requires"] * (verdict is None)
        if unknown:
            why += f" ({' and '.join(unknown)} is unknown)"
        if verdict is None and model.location is None and "model.location" in constraint.require.names:
            why += f"; nothing says whether `{model.id}` runs on this machine: {MAY_FORWARD}"
        yield GateFailure("constraint", why)


def _require(constraint: CompiledConstraint, model: CompiledModel, situation: GateContext) -> bool | None:
    if constraint.by_model is not None:
        return constraint.by_model[model.index]
    assert constraint.function is not None
    known = situation.state.models.get(model.id, _NOTHING_KNOWN)
    facts = [
        known.latency_ms if name == "state.latency_ms" else model.facts.get(name)
        for name in constraint.model_names
    ]
    verdict: bool | None = constraint.function((*situation.parameters, *facts))[0]
    return verdict


def _capabilities(model: CompiledModel, situation: GateContext) -> Iterator[GateFailure]:
    for capability, asked_by in situation.needs:
        if capability not in model.capabilities:
            yield GateFailure("capability", f"{asked_by} needs {capability}")
    if situation.embedding_space is not None:
        space, first = situation.embedding_space
        if model.id != first and (space is None or model.embedding_space != space):
            mine = model.embedding_space or "an unnamed space"
            yield GateFailure("embedding_space", f"its vectors are of {mine}, those of {first} are not")


def _quota(model: CompiledModel, quota: Quota, situation: GateContext) -> Iterator[GateFailure]:
    if quota.refuses_unknown_cost and model.shape.price is None:
        yield GateFailure("quota", f"{quota.name}: its price is unknown, and unknown costs are refused")
    used = situation.state.quota_used.get(quota.name)
    limit, held = allowance(quota, situation.reserves)
    if used is None:
        # Whatever is used, nothing is left of nothing.
        if limit <= 0:
            yield GateFailure("quota", f"{quota.name}: {_amount(limit, quota)} may be used{_kept(held)}")
    elif used >= limit:
        kept = _kept(held) if used < quota.limit else ""
        yield GateFailure(
            "quota", f"{quota.name}: {_number(used, quota)} of {_amount(limit, quota)} used{kept}"
        )


def _task_cost(model: CompiledModel, situation: GateContext) -> Iterator[GateFailure]:
    """What one task may cost: only what is certain refuses here, the rest is reserved when it is executed."""
    cost = situation.policy.limits.cost
    if cost is None:
        return
    if model.shape.price is None:
        if cost.refuses_unknown:
            yield GateFailure("quota", f"{cost.control}: its price is unknown, and unknown costs are refused")
        return
    tokens, most = situation.request.prompt_tokens, affordable_tokens(model, cost)
    sure = 1 if is_exact(model, situation.request) else TOO_HIGH
    if tokens is not None and most is not None and tokens > sure * most:
        # INVARIANT: no number of the task's own stands here, as for the context window.
        limit = f"{cost.limit / NANO:.9f}".rstrip("0").rstrip(".")
        yield GateFailure(
            "quota", f"{cost.control}: the prompt alone costs more than {limit} {cost.currency}"
        )


def allowance(quota: Quota, reserves: Sequence[bool | None]) -> tuple[int, list[str]]:
    """What the task may use of a quota, at least 0, and the reserves that are kept from it.

    A reserve is kept from every task that is not known to be one that it is for.
    """
    held = [reserve for reserve in quota.reserves if reserves[reserve.condition] is not True]
    return max(0, quota.limit - sum(reserve.held for reserve in held)), [reserve.name for reserve in held]


def _kept(held: Sequence[str]) -> str:
    return f", the rest is kept by {', '.join(held)}" if held else ""


def _amount(value: int, quota: Quota) -> str:
    unit = (
        quota.currency
        if quota.unit == "cost"
        else "calls at once"
        if quota.unit == "concurrent"
        else quota.unit
    )
    return f"{_number(value, quota)} {unit}"


def _number(value: int, quota: Quota) -> str:
    return f"{value / NANO:.2f}" if quota.unit == "cost" else str(value)
