"""What a caller asks in; requests, and tasks that say of them what deciding may know, out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

from routewright.backends import (
    ChatRequest,
    EmbedRequest,
    Message,
    RerankRequest,
    TokenCount,
    ToolCall,
    is_loaded,
    prompt_tokens,
    text_tokens,
)
from routewright.backends.executing import Request
from routewright.engine.decision import NO_REQUEST, SESSION, RequestFacts, Task
from routewright.engine.policy import CompiledPolicy, Encoding, Operation
from routewright.engine.report import TaskError


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


_ROLES = frozenset(("system", "user", "assistant", "tool"))

COUNTED_AT_ONCE = 50_000
"""A request with more characters is counted by a thread: that may take longer than an event loop should stand."""


class ChatOptions(TypedDict, total=False):
    """What a chat may ask of its answer beside the conversation; each as in ``ChatRequest``, and None for nothing."""

    max_output_tokens: int | None
    temperature: float | None
    seed: int | None
    stop: Sequence[str] | None
    tools: Sequence[Mapping[str, Any]] | None
    json_schema: Mapping[str, Any] | None


MAX_TEMPERATURE = 100
"""No model takes one that is higher; most take 2 at most, and say so."""

MAX_SEED = 2**63 - 1


def chat_request(
    messages: Sequence[Message | Mapping[str, str]],
    *,
    max_output_tokens: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    stop: Sequence[str] | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    json_schema: Mapping[str, Any] | None = None,
) -> ChatRequest:
    """A conversation to continue; messages may be written as ``{"role": …, "content": …}``.

    Raises TaskError for no messages, for what is none, and for what no model can be asked.
    """
    if max_output_tokens is not None and (type(max_output_tokens) is not int or max_output_tokens < 1):
        raise TaskError(f"an answer of at most {max_output_tokens!r} tokens cannot be asked for")
    if temperature is not None and not (
        type(temperature) in (int, float) and 0 <= temperature <= MAX_TEMPERATURE
    ):
        raise TaskError(f"the temperature is a number from 0 to {MAX_TEMPERATURE}, not {temperature!r}"[:200])
    if seed is not None and not (type(seed) is int and -MAX_SEED <= seed <= MAX_SEED):
        raise TaskError(f"the seed is a whole number of at most 63 bits, not {seed!r}"[:200])
    if stop and (isinstance(stop, str) or not all(isinstance(text, str) for text in _listed(stop, "stop"))):
        raise TaskError("`stop` is a list of texts", help="write [text], also for a single one")
    if tools:
        if not all(isinstance(tool, Mapping) for tool in _listed(tools, "tools")):
            raise TaskError(
                "`tools` is a list of tools, each a mapping", help="write [tool], also for a single one"
            )
        _check_json(tools, "tools")
    if json_schema is not None:
        if not isinstance(json_schema, Mapping):
            raise TaskError("`json_schema` is a JSON Schema as a mapping")
        _check_json(json_schema, "json_schema")
    return ChatRequest(
        _messages(messages),
        max_output_tokens,
        temperature,
        seed,
        tuple(stop or ()),
        tuple(tools or ()),
        json_schema,
    )


def _listed(values: Any, name: str) -> Sequence[Any]:
    if isinstance(values, Mapping | str | bytes) or not isinstance(values, Sequence):
        raise TaskError(f"`{name}` is a list", help="write [...], also for a single one")
    return values


def _check_json(values: Any, name: str) -> None:
    """Raise TaskError for what cannot be sent: found here, it is nobody's failed call."""
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(f"`{name}` cannot be written as JSON: {error}") from None


def embed_request(texts: Sequence[str]) -> EmbedRequest:
    """Texts to embed. Raises TaskError for one alone, which would be taken for a list of letters, and for none."""
    if isinstance(texts, str):
        raise TaskError("embed takes a list of texts, not one text", help="write [text]")
    if not texts:
        raise TaskError("there is no text to embed", help="give at least one")
    if not all(isinstance(text, str) and text for text in texts):
        raise TaskError("a text to embed is empty, or none", help="servers refuse it, and the others with it")
    return EmbedRequest(tuple(texts))


def operation_of(request: Request) -> Operation:
    """What a request asks for."""
    match request:
        case ChatRequest():
            return "chat"
        case EmbedRequest():
            return "embed"
        case RerankRequest():
            return "rerank"


async def task_of(
    request: Request,
    policy: CompiledPolicy,
    model: str | None,
    features: Mapping[str, object] | None,
    metadata: Mapping[str, str] | None,
    session: str | None,
) -> Task:
    """The task of a request, described as ``described`` does; ``model`` pins one.

    ``session`` is the conversation that it belongs to. Raises TaskError as ``described`` does.
    """
    _check_texts(request)
    labels = dict(metadata or {})
    if session is not None:
        labels[SESSION] = session
    operation = operation_of(request)
    count = await _counted(request, encoding_of(policy, operation, model))
    facts = _facts(NO_REQUEST, request, count, labels)
    return Task(dict(features or {}), operation, facts, model)


def check_task(task: object) -> None:
    """Raise TaskError for anything that is not a Task."""
    if not isinstance(task, Task):
        help = 'write `Task({"name": value})`, with the features by name'
        raise TaskError(f"a task is a Task, not {type(task).__name__}", help=help)


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
    _check_texts(request)
    stated = task.request
    count = None
    if stated.prompt_tokens is None:
        count = await _counted(request, encoding_of(policy, task.operation, task.pin))
    return replace(task, request=_facts(stated, request, count, stated.metadata))


def encoding_of(policy: CompiledPolicy, operation: Operation, pin: str | None) -> Encoding | None:
    """The tokenizer to count the prompt of a task with before its target is known.

    The tokenizer of the pinned model, else the commonest among the enabled models that offer the task's operation; if
    several are as common, the first by name. None if no such model has a known tokenizer.
    """
    pinned = None if pin is None else policy.catalog.find(pin)
    if pinned is not None:
        return pinned.tokenizer
    return policy.catalog.tokenizers[operation]


async def _counted(request: Request, encoding: Encoding | None) -> TokenCount:
    """The request's length, counted without keeping the event loop from other work."""
    if (encoding is None or is_loaded(encoding)) and _characters(request) <= COUNTED_AT_ONCE:
        return _length(request, encoding)
    return await asyncio.to_thread(_length, request, encoding)


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
            return sum([len(message.content) for message in request.messages])
        case EmbedRequest():
            return sum(map(len, request.texts))
        case RerankRequest():
            return len(request.query) * (1 + len(request.documents)) + sum(map(len, request.documents))


def _check_texts(request: Request) -> None:
    """Raise TaskError for half of a surrogate pair: found at a backend, it would count as that model's failure."""
    match request:
        case ChatRequest():
            texts: Sequence[str] = [message.content for message in request.messages]
        case EmbedRequest():
            texts = request.texts
        case RerankRequest():
            texts = (request.query, *request.documents)
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


def _messages(messages: Sequence[Message | Mapping[str, str]]) -> tuple[Message, ...]:
    try:
        found = tuple(
            [
                message if isinstance(message, Message) else Message(**message)  # type: ignore[arg-type]  # checked below
                for message in messages
            ]
        )
    except TypeError:
        raise TaskError("a message is {'role': …, 'content': …}") from None
    # Some models answer whatever they are asked, also nothing.
    if not found:
        raise TaskError("there is no message", help="give at least one: {'role': 'user', 'content': …}")
    for message in found:
        if not isinstance(message.role, str) or message.role not in _ROLES:
            raise TaskError(
                f"`{message.role}` is not a role of a message", help=f"roles: {', '.join(sorted(_ROLES))}"
            )
        if not isinstance(message.content, str):
            raise TaskError(
                "the content of a message is a text",
                help="images stand beside it: Message(role, text, images)",
            )
        if message.images and not all(
            isinstance(image, bytes) for image in _listed(message.images, "images")
        ):
            raise TaskError(
                "`images` of a message are the bytes of files", help="write [bytes], also for one"
            )
        if message.tool_calls and not all(
            isinstance(call, ToolCall) for call in _listed(message.tool_calls, "tool_calls")
        ):
            raise TaskError("`tool_calls` of a message are ToolCall(id, name, arguments)")
    return found
