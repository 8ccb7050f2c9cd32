"""Tasks and catalogs in, requests and simulated backends out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from routewright.backends import (
    Backend,
    ChatRequest,
    EmbedRequest,
    Fault,
    Message,
    Request,
    RerankRequest,
    SimulatedBackend,
    SimulatedModel,
)
from routewright.engine.decision.task import Task
from routewright.engine.errors import TaskError
from routewright.engine.policy.compiled import CompiledModel, CompiledPolicy

__all__ = ["request_for", "simulated_backend", "simulated_backends"]


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


def simulated_backends(
    policy: CompiledPolicy,
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> Mapping[str, Backend]:
    """A simulated backend for each backend of the catalog. ``faults`` are by model id, one for each call."""
    return {
        backend_id: simulated_backend(
            [model for model in policy.catalog.models if model.backend == backend_id],
            seed=seed,
            faults=faults,
            sleep=sleep,
        )
        for backend_id in policy.catalog.backends
    }


def simulated_backend(
    models: Sequence[CompiledModel],
    *,
    seed: int = 0,
    faults: Mapping[str, Sequence[Fault]] | None = None,
    sleep: bool = False,
) -> Backend:
    """One simulated backend for ``models``, as the catalog describes them."""
    return SimulatedBackend(
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
