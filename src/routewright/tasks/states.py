"""Reads what a decision is to take as known: time, load, models, memory, quotas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from routewright.engine.decision import (
    NOTHING_KNOWN,
    MemoryState,
    ModelState,
    Resident,
    State,
    needed_bytes,
)
from routewright.engine.policy import (
    CaseModelState,
    CaseState,
    CompiledModel,
    CompiledPolicy,
    MoneyAmount,
    Quota,
    nano_units,
)
from routewright.engine.report import BYTES_PER_GB, EPOCH, TaskError, suggest

from .json_text import shape_of_text

_EXAMPLE = 'one JSON object such as {"load": 0.5, "models": {"glm-4.5": {"breaker": "open"}}}'

_COUNTED = {"requests": "requests", "tokens": "tokens", "concurrent": "calls at once"}


def parse_state(text: str) -> CaseState:
    """The state in a JSON object. Raises TaskError with all that is wrong with it."""
    return shape_of_text(text, CaseState, "state", _EXAMPLE)


def state_from(shape: CaseState, policy: CompiledPolicy, *, at_us: int) -> State:
    """The state that a shape describes; ``at_us`` is the time where the shape has none.

    Raises TaskError for a model or control that neither the policy nor the candidate of its rollout has, and for use
    in another unit.
    """
    policies = policy.with_candidate
    models: dict[str, ModelState] = {}
    loaded = {
        id: [models_named(name, policy)[0] for name in held.loaded] for id, held in shape.memory.items()
    }
    for backend, ids in loaded.items():
        models |= {model.id: ModelState(loaded=model.id in ids) for model in _models_on(backend, policy)}
    for name, known in shape.models.items():
        for id in models_named(name, policy):
            models[id] = _model_state(known, models.get(id, NOTHING_KNOWN))
    memory = {
        id: MemoryState(_bytes(held.limit_gb), tuple(_resident(one, models, policy) for one in loaded[id]))
        for id, held in shape.memory.items()
    }
    # Of a control that both have, the use is counted under the name: the policy in force says in which unit.
    quotas = {quota.name: quota for one in reversed(policies) for quota in one.quotas}
    used = {}
    for name, amount in shape.quota_used.items():
        if name not in quotas:
            raise TaskError(
                f"the state names an unknown quota `{name}`", help=suggest(name, quotas, label="quotas")
            )
        used[name] = _used(quotas[name], amount)
    session_model = shape.session_model
    if session_model is not None:
        session_model = models_named(session_model, policy)[0]
    at_us = parse_time(shape.at) if shape.at else at_us
    return State(at_us, shape.load, models, used, session_model, memory)


def _model_state(known: CaseModelState, otherwise: ModelState) -> ModelState:
    return ModelState(
        known.health,
        known.breaker,
        None if known.latency_ms is None else float(known.latency_ms),
        None if known.breaker_until is None else parse_time(known.breaker_until),
        known.breaker_after,
        loaded=otherwise.loaded if known.loaded is None else known.loaded,
        load_ms=known.load_ms,
        memory_bytes=_bytes(known.memory_gb),
    )


def _models_on(backend: str, policy: CompiledPolicy) -> Sequence[CompiledModel]:
    """The models of a backend, in either arm. Raises TaskError for a backend that neither has."""
    policies = policy.with_candidate
    backends = {id: None for one in policies for id in one.catalog.backends}
    if backend not in backends:
        help = suggest(backend, backends, label="backends")
        raise TaskError(f"the state names an unknown backend `{backend}`", help=help)
    return [model for one in policies for model in one.catalog.models if model.backend == backend]


def _resident(id: str, models: Mapping[str, ModelState], policy: CompiledPolicy) -> Resident:
    model = next(found for one in policy.with_candidate if (found := one.catalog.find(id)) is not None)
    return Resident(id, needed_bytes(model, models.get(id, NOTHING_KNOWN).memory_bytes))


def _bytes(size_gb: float | None) -> int | None:
    return None if size_gb is None else round(size_gb * BYTES_PER_GB)


def models_named(name: str, policy: CompiledPolicy, by: str = "the state") -> list[str]:
    """The id that a name stands for in the policy, and in the candidate of its rollout, where they know it.

    Raises TaskError where neither does; ``by`` says what names it.
    """
    known = [one.catalog.find(name) for one in policy.with_candidate]
    found = list(dict.fromkeys(model.id for model in known if model is not None))
    if not found:
        raise TaskError(f"{by} names an unknown model `{name}`", help=policy.catalog.hint(name))
    return found


def _used(quota: Quota, amount: int | float | MoneyAmount) -> int:
    """An amount in the quota's unit; money in nano-units. Raises TaskError for one of another unit."""
    if quota.unit == "cost":
        if not isinstance(amount, MoneyAmount):
            return nano_units(amount)
        if amount.currency != quota.currency:
            message = f"quota `{quota.name}` is counted in {quota.currency}, not in {amount.currency}"
            raise TaskError(message, help="nothing is ever converted")
        return amount.nano
    if isinstance(amount, MoneyAmount):
        raise TaskError(f"quota `{quota.name}` is counted in {_COUNTED[quota.unit]}, not in money")
    if amount != int(amount) or amount < 0:
        raise TaskError(f"quota `{quota.name}` is counted in whole {_COUNTED[quota.unit]}, not `{amount}`")
    return int(amount)


def parse_time(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time; without a zone it is taken as UTC. Raises TaskError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise TaskError(f"`{text}` is not a time", help="such as 2026-01-31T12:00:00Z") from None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    # Whole microseconds: a float of seconds would lose the last ones.
    at_us = (at - EPOCH) // timedelta(microseconds=1)
    if at_us < 0:
        raise TaskError(f"`{text}` is before 1970", help="ids and records hold times from 1970 on")
    return at_us
