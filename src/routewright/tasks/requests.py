"""Builds requests from what a caller gives, and refuses what no model can be asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, Unpack

from routewright.backends import ChatRequest, EmbedRequest, Message, RerankRequest
from routewright.backends.executing import Request
from routewright.engine.decision import Task
from routewright.engine.policy import Operation
from routewright.engine.report import TaskError, closest

from .messages import AnyMessage, messages_of


class ChatOptions(TypedDict, total=False):
    """What a chat may ask of its answer beside the conversation; each as in ``ChatRequest``, and None for nothing."""

    max_output_tokens: int | None
    temperature: float | None
    top_p: float | None
    seed: int | None
    stop: Sequence[str] | None
    tools: Sequence[Mapping[str, Any]] | None
    json_schema: Mapping[str, Any] | None
    think: bool | Literal["low", "medium", "high"] | None
    options: Mapping[str, object] | None


_ELSEWHERE: Final = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "response_format": "json_schema",
    "reasoning_effort": "think",
    "stream": "stream_chat",
}
"""What other clients call things that have another name here."""

MAX_TEMPERATURE = 100
"""No model takes one that is higher; most take 2 at most, and say so."""

MAX_SEED = 2**63 - 1


_ONLY_FOR: Final[Mapping[str, Operation]] = {
    **dict.fromkeys(("system", "image", *ChatOptions.__annotations__), "chat"),
    "documents": "rerank",
}
"""What means something to one operation alone."""


def check_operation(
    operation: Operation, given: Mapping[str, object], spelled: Callable[[str], str] = "`{}`".format
) -> None:
    """Raise TaskError for what is given and means nothing to the operation; ``spelled`` writes its name."""
    for name, value in given.items():
        needed = _ONLY_FOR.get(name, operation)
        if needed != operation and value not in (None, (), []):
            raise TaskError(
                f"{spelled(name)} needs {spelled('operation')} {needed}",
                help=f"{operation} has no use for it",
            )


def request_for(
    task: Task,
    prompt: str,
    documents: Sequence[str] = (),
    *,
    system: str | None = None,
    images: Sequence[bytes] = (),
    **options: Unpack[ChatOptions],
) -> Request:
    """The request of a task's operation: a user's message, a text to embed, or documents to rank.

    ``system``, ``images`` and ``options`` are for chats alone. Raises TaskError for an empty prompt, for a rerank
    without documents, for what the operation has no use for, and for what no model can be asked.
    """
    _check_names(options)
    if not prompt.strip():
        raise TaskError("the prompt is empty")
    check_operation(task.operation, {"system": system, "image": images, **options})
    if task.operation == "embed":
        return EmbedRequest((prompt,))
    if task.operation == "rerank":
        if not documents:
            raise TaskError("rerank needs documents to rank", help="give at least one document")
        return RerankRequest(prompt, tuple(documents))
    before = [] if system is None else [Message("system", system)]
    options.setdefault("max_output_tokens", task.request.max_output_tokens)
    return chat_request([*before, Message("user", prompt, tuple(images))], **options)


def chat_request(messages: Sequence[AnyMessage], **options: Unpack[ChatOptions]) -> ChatRequest:
    """A conversation to continue; messages as ``messages_of`` takes them.

    Raises TaskError if there are no messages, if one is malformed, or if an option is out of range.
    """
    if not options:
        return ChatRequest(messages_of(messages))
    _check_names(options)
    _check_numbers(options)
    _check_lists(options)
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    given |= {name: tuple(given[name]) for name in ("stop", "tools") if name in given}
    return ChatRequest(messages_of(messages), **given)


def _check_names(options: ChatOptions) -> None:
    for name in options:
        check_known(name, ChatOptions.__annotations__)


def check_known(name: str, known: Iterable[str]) -> None:
    """Raise TypeError, as Python does, for a keyword that a call does not take."""
    if name not in known:
        listed = list(known)
        elsewhere = _ELSEWHERE.get(name) if "max_output_tokens" in listed else None
        meant = elsewhere or closest(name, listed)
        hint = f"did you mean `{meant}`? " if meant else ""
        own = not elsewhere and "options" in listed
        more = "; those that only the backend knows go into `options`, such as {'top_k': 20}" if own else ""
        raise TypeError(f"there is no option `{name}`; {hint}it takes {', '.join(listed)}{more}")


def _check_numbers(options: ChatOptions) -> None:
    longest, temperature = options.get("max_output_tokens"), options.get("temperature")
    seed, top_p, think = options.get("seed"), options.get("top_p"), options.get("think")
    if longest is not None and (type(longest) is not int or longest < 1):
        raise TaskError(f"an answer of at most {longest!r} tokens cannot be asked for")
    if temperature is not None and not (
        type(temperature) in (int, float) and 0 <= temperature <= MAX_TEMPERATURE
    ):
        raise TaskError(f"the temperature is a number from 0 to {MAX_TEMPERATURE}, not {temperature!r}"[:200])
    if top_p is not None and not (type(top_p) in (int, float) and 0 < top_p <= 1):
        raise TaskError(f"`top_p` is a number above 0 and at most 1, not {top_p!r}"[:200])
    if think is not None and think not in (True, False, "low", "medium", "high"):
        raise TaskError(f"`think` is true, false, low, medium or high, not {think!r}"[:200])
    if seed is not None and not (type(seed) is int and -MAX_SEED <= seed <= MAX_SEED):
        raise TaskError(f"the seed is a whole number of at most 63 bits, not {seed!r}"[:200])


def _check_lists(options: ChatOptions) -> None:
    stop, tools, json_schema = options.get("stop"), options.get("tools"), options.get("json_schema")
    if stop:
        # One text alone is told the same as a list of anything else.
        given = [None] if isinstance(stop, str) else stop
        _check_list(given, "stop", str, "`stop` is a list of texts", "write [text], also for a single one")
    if tools:
        help = "write [tool], also for a single one"
        _check_list(tools, "tools", Mapping, "`tools` is a list of tools, each a mapping", help)
        _check_json(tools, "tools")
        for number, tool in enumerate(tools, start=1):
            _check_tool(tool, number)
    if json_schema is not None:
        if not isinstance(json_schema, Mapping):
            raise TaskError("`json_schema` is a JSON Schema as a mapping")
        if any(isinstance(json_schema.get(name), Mapping) for name in ("schema", "json_schema")):
            help = "give what stands under its `schema`: the schema itself"
            raise TaskError("`json_schema` is a `response_format`, and no JSON Schema", help=help)
        _check_json(json_schema, "json_schema")
    more = options.get("options")
    if more is not None:
        if not isinstance(more, Mapping):
            raise TaskError("`options` is a mapping", help='such as {"top_k": 20}')
        _check_json(more, "options")


def _check_tool(tool: Mapping[str, Any], number: int) -> None:
    """Raise TaskError for a function that is declared in another API's shape. Other types of tools are a server's own
    affair."""
    function = tool.get("function")
    named = isinstance(function, Mapping) and isinstance(function.get("name"), str)
    if tool.get("type", "function") == "function" and not named:
        raise TaskError(
            f"tool {number} has no `function` with a `name`",
            help='write {"type": "function", "function": {"name": …, "description": …, "parameters": {…}}}',
        )


def _check_list(values: Any, name: str, kind: type, message: str, help: str | None = None) -> None:
    """Raise TaskError for what is no list, and with ``message`` for an entry of another kind."""
    if isinstance(values, Mapping | str | bytes) or not isinstance(values, Sequence):
        raise TaskError(f"`{name}` is a list", help="write [...], also for a single one")
    if not all(isinstance(value, kind) for value in values):
        raise TaskError(message, help=help)


def _check_json(values: Any, name: str) -> None:
    """Raise TaskError for what cannot be sent: found here, it is nobody's failed call."""
    try:
        json.dumps(values, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(f"`{name}` cannot be written as JSON: {error}") from None


def embed_request(texts: Sequence[str]) -> EmbedRequest:
    """Texts to embed. Raises TaskError for a bare string, a list of letters to Python, and if there are no texts."""
    if isinstance(texts, str):
        raise TaskError("embed takes a list of texts, not one text", help="write [text]")
    if not texts:
        raise TaskError("no texts to embed", help="give at least one")
    if not all(isinstance(text, str) and text for text in texts):
        raise TaskError("a text to embed is empty, or none", help="servers refuse it, and the others with it")
    return EmbedRequest(tuple(texts))


def operation_of(request: Request) -> Operation:
    """What a request asks for."""
    if isinstance(request, ChatRequest):
        return "chat"
    return "embed" if isinstance(request, EmbedRequest) else "rerank"
