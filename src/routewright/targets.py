"""Decisions and catalogs in, what backends are called with out: requests, targets, simulated backends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from routewright.backends import (
    Backend,
    ChatRequest,
    EmbedRequest,
    Fault,
    Limits,
    Message,
    PriceFacts,
    Request,
    RerankRequest,
    SimulatedBackend,
    SimulatedModel,
    Target,
)
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import Task
from routewright.engine.errors import TaskError
from routewright.engine.policy.compiled import CompiledModel, CompiledPolicy
from routewright.engine.policy.quantities import nano_units

__all__ = ["request_for", "simulated_backends", "targets_of"]


def request_for(task: Task, prompt: str, documents: Sequence[str] = ()) -> Request:
    """The request of a task's operation: a user's message, a text to embed, or documents to rank.

    Raises TaskError for a rerank without documents.
    """
    if task.operation == "embed":
        return EmbedRequest((prompt,))
    if task.operation == "rerank":
        if not documents:
            raise TaskError("rerank needs documents to rank", help="give at least one document")
        return RerankRequest(prompt, tuple(documents))
    return ChatRequest((Message("user", prompt),), max_output_tokens=task.request.max_output_tokens)


def targets_of(decision: Decision) -> list[Target]:
    """What the plan allows to be called: its target, then its fallbacks."""
    plan = decision.plan
    if plan is None:
        return []
    models = decision.policy.catalog.models
    targets = [_target(models[plan.target], decision.policy)]
    targets += [replace(_target(models[index], decision.policy), role="fallback") for index in plan.fallbacks]
    return targets


def simulated_backends(
    policy: CompiledPolicy,
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> Mapping[str, Backend]:
    """A simulated backend for each backend of the catalog. ``faults`` are by model id, one for each call."""
    backends: dict[str, Backend] = {}
    for backend_id in policy.catalog.backends:
        models = [model for model in policy.catalog.models if model.backend == backend_id]
        backends[backend_id] = SimulatedBackend(
            {
                model.tag: SimulatedModel(
                    operations=frozenset(model.operations),
                    expected_latency_ms=model.shape.expected_latency,
                    dimensions=model.shape.dimensions,
                    context_length=model.context_length,
                )
                for model in models
            },
            seed=seed,
            faults={model.tag: faults[model.id] for model in models if faults and model.id in faults},
            sleep=sleep,
        )
    return backends


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
    )
