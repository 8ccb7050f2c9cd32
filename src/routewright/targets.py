"""Tasks and catalogs in, requests and simulated backends out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

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
from routewright.backends.tokens import Encoding, TokenCount, is_loaded, prompt_tokens, text_tokens
from routewright.engine.decision.task import SESSION, RequestFacts, Task
from routewright.engine.errors import TaskError
from routewright.engine.policy.base import Operation
from routewright.engine.policy.compiled import CompiledModel, CompiledPolicy

__all__ = [
    "described",
    "encoding_of",
    "messages_of",
    "models_with",
    "operation_of",
    "request_for",
    "simulated_backend",
    "simulated_backends",
    "task_of",
    "task_with",
    "texts_of",
]


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


COUNTED_AT_ONCE = 50_000
"""A request with more characters is counted by a thread: that may take longer than an event loop should stand."""


async def described(task: Task, request: Request, policy: CompiledPolicy) -> Task:
    """``task_with``, without keeping the event loop from other work."""
    encoding = encoding_of(policy, task)
    stated = task.request.prompt_tokens is not None
    ready = stated or encoding is None or is_loaded(encoding)
    if ready and (stated or _characters(request) <= COUNTED_AT_ONCE):
        return task_with(task, request, encoding)
    return await asyncio.to_thread(task_with, task, request, encoding)


def encoding_of(policy: CompiledPolicy, task: Task) -> Encoding | None:
    """What the prompt of a task is counted with, before anyone knows where it goes.

    The tokenizer of the model that it pins, else the one that most models have which do the task's operation and
    are not disabled: of several, the first in the catalog. None where no such model has one that is known.
    """
    pinned = None if task.pin is None else policy.catalog.find(task.pin)
    if pinned is not None:
        return pinned.tokenizer
    key = ("encoding", task.operation)
    if key not in policy.cache:
        found = Counter(
            model.tokenizer
            for model in policy.catalog.models
            if model.tokenizer is not None and model.disabled is None and task.operation in model.operations
        )
        policy.cache[key] = next((name for name, _ in found.most_common(1)), None)
    return cast("Encoding | None", policy.cache[key])


def task_with(task: Task, request: Request, encoding: Encoding | None = None) -> Task:
    """The task with what its request says of itself, so that rules and gates see it.

    Where task and request differ, the larger counts. A length that the task does not state is counted with
    ``encoding``, or else estimated, four bytes a token: of the whole conversation, or of the longest text that is
    embedded or ranked.
    """
    stated = task.request
    tokens, source, tokenizer = stated.prompt_tokens, stated.prompt_tokens_source, stated.tokenizer
    if tokens is None:
        count = _length(request, encoding)
        tokens, source = count.tokens, count.source
        tokenizer = count.encoding if source == "counted" else None
    messages, images, tools = stated.messages, stated.images, stated.tools
    json_schema, max_output_tokens = stated.json_schema, stated.max_output_tokens
    if isinstance(request, ChatRequest):
        messages = max(messages or 0, len(request.messages))
        images = max(images or 0, sum([len(message.images) for message in request.messages]))
        tools = max(tools or 0, len(request.tools))
        json_schema = bool(json_schema) or request.json_schema is not None
        max_output_tokens = max_output_tokens or request.max_output_tokens
    facts = RequestFacts(
        prompt_tokens=tokens,
        prompt_tokens_source=source,
        tokenizer=tokenizer,
        max_output_tokens=max_output_tokens,
        messages=messages,
        images=images,
        tools=tools,
        json_schema=json_schema,
        metadata=stated.metadata,
    )
    return replace(task, request=facts)


def _length(request: Request, encoding: Encoding | None) -> TokenCount:
    match request:
        case ChatRequest():
            return prompt_tokens(request, encoding)
        case EmbedRequest():
            counts = [text_tokens([text], encoding) for text in request.texts]
        case RerankRequest():
            counts = [text_tokens([request.query, text], encoding) for text in request.documents]
    return max(counts, key=lambda count: count.tokens, default=text_tokens([], encoding))


def _characters(request: Request) -> int:
    match request:
        case ChatRequest():
            return sum(len(message.content) for message in request.messages)
        case EmbedRequest():
            return sum(map(len, request.texts))
        case RerankRequest():
            return len(request.query) * (1 + len(request.documents)) + sum(map(len, request.documents))


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


_ROLES = frozenset(("system", "user", "assistant", "tool"))


def operation_of(request: Request) -> Operation:
    """What a request asks for."""
    match request:
        case ChatRequest():
            return "chat"
        case EmbedRequest():
            return "embed"
        case RerankRequest():
            return "rerank"


def messages_of(messages: Sequence[Message | Mapping[str, str]]) -> tuple[Message, ...]:
    """Messages as they are, and those written as ``{"role": …, "content": …}``.

    Raises TaskError for others, and for none at all: some models answer whatever they are asked, also nothing.
    """
    try:
        found = tuple(
            message if isinstance(message, Message) else Message(**message)  # type: ignore[arg-type]  # checked below
            for message in messages
        )
    except TypeError:
        raise TaskError("a message is {'role': …, 'content': …}") from None
    if not found:
        raise TaskError("there is no message", help="give at least one: {'role': 'user', 'content': …}")
    for message in found:
        if message.role not in _ROLES:
            raise TaskError(
                f"`{message.role}` is not a role of a message", help=f"roles: {', '.join(sorted(_ROLES))}"
            )
        if not isinstance(message.content, str):
            raise TaskError(
                "the content of a message is a text",
                help="images stand beside it: Message(role, text, images)",
            )
    return found


def texts_of(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts to embed. Raises TaskError for one alone, which would be taken for a list of letters, and for none."""
    if isinstance(texts, str):
        raise TaskError("embed takes a list of texts, not one text", help="write [text]")
    if not texts:
        raise TaskError("there is no text to embed", help="give at least one")
    return tuple(texts)


def task_of(
    request: ChatRequest | EmbedRequest,
    model: str | None,
    features: Mapping[str, object] | None,
    metadata: Mapping[str, str] | None,
    session: str | None = None,
) -> Task:
    """The task of a chat or of an embedding; ``model`` pins one, ``session`` is the conversation it belongs to.

    Raises TaskError for an answer of no length.
    """
    labels = dict(metadata or {})
    if session is not None:
        labels[SESSION] = session
    if isinstance(request, EmbedRequest):
        return Task(dict(features or {}), "embed", RequestFacts(metadata=labels), model)
    if request.max_output_tokens is not None and request.max_output_tokens < 1:
        raise TaskError(f"an answer of at most {request.max_output_tokens} tokens cannot be asked for")
    facts = RequestFacts(max_output_tokens=request.max_output_tokens, metadata=labels)
    return Task(dict(features or {}), "chat", facts, model)


def models_with(policy: CompiledPolicy, capability: str | None) -> list[CompiledModel]:
    """The catalog's models, in its order; with ``capability``, those that have it."""
    models = policy.catalog.models
    return [model for model in models if capability is None or capability in model.capabilities]
