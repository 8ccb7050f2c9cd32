"""Tells a task the facts of its request: how long it is, its messages, images, tools and schema."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from routewright.backends import (
    ChatRequest,
    EmbedRequest,
    RerankRequest,
    TokenCount,
    is_loaded,
    prompt_tokens,
    text_tokens,
)
from routewright.backends.executing import Request
from routewright.engine.decision import NO_REQUEST, SESSION, RequestFacts, Task, check_task
from routewright.engine.policy import CompiledPolicy, Encoding, Operation
from routewright.engine.report import TaskError

from .messages import messages_of
from .requests import operation_of

COUNTED_AT_ONCE = 50_000
"""A request with more characters is counted by a thread: that may take longer than an event loop should stand."""


async def task_of(
    request: Request,
    policy: CompiledPolicy,
    model: str | None,
    features: Mapping[str, object] | None,
    metadata: Mapping[str, str] | None,
    session: str | None,
) -> Task:
    """The task of a request, described as ``described`` does; ``model`` pins one.

    ``session`` is the conversation that it belongs to. ``request`` is one that a function of this package has made:
    its messages are not looked at again. Raises TaskError as ``described`` does.
    """
    labels = {**(metadata or {}), **({} if session is None else {SESSION: session})}
    operation = operation_of(request)
    facts = await _told(NO_REQUEST, labels, request, policy, operation, model)
    return Task(dict(features or {}), operation, facts, model)


async def described(task: Task, request: Request, policy: CompiledPolicy) -> Task:
    """The task with the facts of its request, so that rules and gates see them.

    Where task and request differ, the larger value counts. A length that the task does not state is counted with the
    policy's tokenizer, or estimated at four bytes a token: of the whole conversation, or of the longest text to embed
    or rank. Raises TaskError for anything that is not a task or a request, and for text that cannot be sent to a
    server.
    """
    check_task(task)
    if not isinstance(request, ChatRequest | EmbedRequest | RerankRequest):
        raise TaskError(
            f"a request is a ChatRequest, an EmbedRequest or a RerankRequest, not {type(request).__name__}",
            help="make one of a text with `request_for(task, text)`",
        )
    if isinstance(request, ChatRequest):
        messages_of(request.messages)
    stated = task.request
    facts = await _told(stated, stated.metadata, request, policy, task.operation, task.pin)
    return replace(task, request=facts)


async def _told(
    stated: RequestFacts,
    metadata: Mapping[str, str],
    request: Request,
    policy: CompiledPolicy,
    operation: Operation,
    pin: str | None,
) -> RequestFacts:
    texts = _texts(request)
    _check_texts(texts)
    count = None
    if stated.prompt_tokens is None:
        encoding = encoding_of(policy, operation, pin)
        if _is_counted_at_once(request, encoding, sum(map(len, texts))):
            count = _length(request, encoding)
        else:
            count = await asyncio.to_thread(_length, request, encoding)
    return _facts(stated, request, count, metadata)


def encoding_of(policy: CompiledPolicy, operation: Operation, pin: str | None) -> Encoding | None:
    """The tokenizer to count the prompt of a task with before its target is known.

    The tokenizer of the pinned model, else the commonest among the enabled models that offer the task's operation; if
    several are as common, the first by name. None if no such model has a known tokenizer.
    """
    pinned = policy.catalog.find(pin) if isinstance(pin, str) else None
    if pinned is not None:
        return pinned.tokenizer
    return policy.catalog.tokenizers[operation]


def _is_counted_at_once(request: Request, encoding: Encoding | None, characters: int) -> bool:
    """Whether counting the request's length does not keep the event loop from other work."""
    # A query is counted with each of the documents.
    if isinstance(request, RerankRequest):
        characters += len(request.query) * len(request.documents)
    return (encoding is None or is_loaded(encoding)) and characters <= COUNTED_AT_ONCE


def _facts(
    stated: RequestFacts, request: Request, count: TokenCount | None, metadata: Mapping[str, str]
) -> RequestFacts:
    """What is stated and what the request says; ``count`` is given where no length is stated."""
    tokens, source, tokenizer = stated.prompt_tokens, stated.prompt_tokens_source, stated.tokenizer
    if count is not None:
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
    return RequestFacts(
        tokens, max_output_tokens, messages, images, tools, json_schema, metadata, source, tokenizer
    )


def _length(request: Request, encoding: Encoding | None) -> TokenCount:
    if isinstance(request, ChatRequest):
        return prompt_tokens(request, encoding)
    before = [request.query] if isinstance(request, RerankRequest) else []
    own = request.documents if isinstance(request, RerankRequest) else request.texts
    counts = [text_tokens([*before, text], encoding) for text in own]
    return max(counts, key=lambda count: count.tokens, default=text_tokens([], encoding))


def _texts(request: Request) -> Sequence[str]:
    """All that is sent: the messages' contents, the texts to embed, or the query with its documents."""
    match request:
        case ChatRequest():
            return [message.content for message in request.messages]
        case EmbedRequest():
            return request.texts
        case RerankRequest():
            return (request.query, *request.documents)


def _check_texts(texts: Sequence[str]) -> None:
    """Raise TaskError for half of a surrogate pair: found at a backend, it would count as that model's failure."""
    for text in texts:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                found = f"`\\u{ord(text[error.start]):04x}` at character {error.start + 1}"
                raise TaskError(
                    f"the text cannot be sent: {found} is half of a character",
                    help="decode it as UTF-16 first",
                ) from None
