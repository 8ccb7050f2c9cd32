"""A model and the situation of a task in, the gates that it does not pass out, in their order.

constraints → operation → capability → embedding space → context window → disabled, health, breaker → quota.
The same gates hold for every role: candidate, fallback, drafter, verifier, judge, ensemble member, pin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..policy.compiled import CompiledConstraint, CompiledModel, CompiledPolicy, Quota
from ..policy.quantities import NANO
from .decision import GateFailure
from .task import ModelState, State, Task

__all__ = ["Situation", "active_constraints", "failures", "needed_capabilities", "needs_of"]

_NOTHING_KNOWN = ModelState()


@dataclass(frozen=True, slots=True)
class Situation:
    """What the gates know of one task: worked out once, asked for each model.

    ``parameters`` are the values of features, then of ``state.*``. ``constraints`` are those that are not
    known to be off, each with whether that is known. ``needs`` are capabilities with what asks for each.
    ``reserves`` holds the verdict of each reserve's condition.
    """

    policy: CompiledPolicy
    task: Task
    state: State
    parameters: Sequence[Any]
    constraints: tuple[tuple[CompiledConstraint, bool], ...]
    needs: tuple[tuple[str, str], ...]
    unknown_needs: bool
    prompt_tokens: int | None
    embedding_space: tuple[str | None, str] | None
    """For embeddings, the space of the first candidate and that candidate's id: fallbacks stay inside it."""
    reserves: Sequence[bool | None]

    def marks(self, model: CompiledModel) -> tuple[str, ...]:
        """What could not be checked of a model, and passed for that."""
        known = self.state.models.get(model.id, _NOTHING_KNOWN)
        marks = []
        if self.prompt_tokens is None or model.context_length is None:
            marks.append("context_unverified")
        if self.unknown_needs:
            marks.append("capability_unverified")
        if known.health is None:
            marks.append("health_unknown")
        if known.breaker == "half_open":
            marks.append("breaker_half_open")
        return tuple(marks)


def active_constraints(
    policy: CompiledPolicy, verdicts: Sequence[bool | None]
) -> tuple[tuple[CompiledConstraint, bool], ...]:
    """The constraints whose ``when`` is not false, with whether it is known to be true."""
    return tuple(
        (constraint, verdict is True)
        for constraint, verdict in zip(policy.constraints, verdicts, strict=True)
        if verdict is not False
    )


def needs_of(policy: CompiledPolicy) -> tuple[tuple[int, tuple[str, ...], str], ...]:
    """The features that need capabilities: position, capabilities, name."""
    return tuple(
        (slot, feature.needs, feature.name) for slot, feature in enumerate(policy.features) if feature.needs
    )


def needed_capabilities(
    policy: CompiledPolicy, task: Task, values: Sequence[Any]
) -> tuple[tuple[tuple[str, str], ...], bool]:
    """The capabilities that the task needs, with what asks for each; and whether some feature is unknown."""
    needs: dict[str, str] = {}
    unknown = False
    for slot, capabilities, name in needs_of(policy):
        if values[slot] is True:
            for capability in capabilities:
                needs.setdefault(capability, f"feature {name}")
        elif values[slot] is None:
            unknown = True
    request = task.request
    if request.images:
        needs.setdefault("vision", "images in the request")
    if request.tools:
        needs.setdefault("tools", "tools in the request")
    if request.json_schema:
        needs.setdefault("json_schema", "a JSON schema in the request")
    return tuple(needs.items()), unknown


def failures(model: CompiledModel, situation: Situation) -> Iterator[GateFailure]:
    """The gates that ``model`` does not pass, in order; the first is the one that a record keeps."""
    yield from _constraints(model, situation)
    operation = situation.task.operation
    if operation not in model.operations:
        offered = operation in model.shape.operations
        who = f"backend {model.backend}" if offered else "the model"
        yield GateFailure("operation", f"{who} does not offer {operation}")
    yield from _capabilities(model, situation)
    tokens = situation.prompt_tokens
    if tokens is not None and model.context_length is not None and tokens > model.context_length:
        yield GateFailure("context_window", f"{tokens} tokens do not fit into {model.context_length}")
    if model.disabled is not None:
        yield GateFailure("disabled", model.disabled)
    known = situation.state.models.get(model.id, _NOTHING_KNOWN)
    if known.health == "unhealthy":
        yield GateFailure("health", "the model is unhealthy")
    if known.breaker == "open":
        yield GateFailure("breaker", "its breaker is open")
    for quota in situation.policy.quotas:
        if model.index in quota.models:
            yield from _quota(model, quota, situation)


def _constraints(model: CompiledModel, situation: Situation) -> Iterator[GateFailure]:
    """``!(when) || require``, three-valued: whatever is not true excludes."""
    for constraint, known in situation.constraints:
        verdict = _require(constraint, model, situation)
        if verdict is True:
            continue
        why = constraint.name if constraint.reason is None else f"{constraint.name}: {constraint.reason}"
        if verdict is None:
            why += " (what it requires is unknown)"
        elif not known:
            why += " (whether it applies is unknown)"
        yield GateFailure("constraint", why)


def _require(constraint: CompiledConstraint, model: CompiledModel, situation: Situation) -> bool | None:
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


def _capabilities(model: CompiledModel, situation: Situation) -> Iterator[GateFailure]:
    for capability, asked_by in situation.needs:
        if capability not in model.capabilities:
            yield GateFailure("capability", f"{asked_by} needs {capability}")
    if situation.embedding_space is not None:
        space, first = situation.embedding_space
        if model.id != first and (space is None or model.embedding_space != space):
            mine = model.embedding_space or "an unnamed space"
            yield GateFailure("embedding_space", f"its vectors are of {mine}, those of {first} are not")


def _quota(model: CompiledModel, quota: Quota, situation: Situation) -> Iterator[GateFailure]:
    if quota.refuses_unknown_cost and model.shape.price is None:
        yield GateFailure("quota", f"{quota.name}: its price is unknown, and unknown costs are refused")
    used = situation.state.quota_used.get(quota.name)
    if used is None:
        return
    held = [reserve for reserve in quota.reserves if situation.reserves[reserve.condition] is not True]
    limit = quota.limit - sum(reserve.held for reserve in held)
    if used >= limit:
        kept = (
            f", the rest is kept by {', '.join(r.name for r in held)}" if held and used < quota.limit else ""
        )
        yield GateFailure(
            "quota", f"{quota.name}: {_amount(used, quota)} of {_amount(limit, quota)} used{kept}"
        )


def _amount(value: int, quota: Quota) -> str:
    if quota.unit != "cost":
        return f"{value} {quota.unit}"
    return f"{value / NANO:.2f} {quota.currency}"
