"""Reads the messages of a conversation: our own, answers as they are, and those in the shape of OpenAI's API.

https://platform.openai.com/docs/api-reference/chat/create names the keys. What would be lost on the way to a model is
an error, never left out.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard, cast, get_args, get_type_hints

from routewright.backends import IMAGE_TYPES, ChatAnswer, Message, ToolCall, image_type
from routewright.engine.report import TaskError, suggest

AnyMessage = Message | ChatAnswer | Mapping[str, Any]
"""A turn of a conversation as a caller may write it; an answer stands for its ``message``."""

_ROLES: Final = get_args(get_type_hints(Message)["role"])
_EMPTY_WITHOUT_MEANING: Final = frozenset({"annotations", "audio", "function_call", "name", "refusal"})
"""What an SDK writes into every message; with a value, it would be lost."""

_MOST_HAVE: Final = frozenset({"role", "content"})
_OF_TEXTS: Final = tuple(role for role in _ROLES if role != "tool")
"""The roles of messages that need no more than a text: most have no more, and nothing else to be looked at."""

_EXAMPLE: Final = 'such as {"role": "user", "content": "Why is the sky blue?"}'
_NO_TEXT: Final = "write a text, or a list of {'type': 'text', 'text': …} and {'type': 'image_url', …}"


def messages_of(messages: Sequence[AnyMessage]) -> tuple[Message, ...]:
    """The messages of a conversation, in order. Raises TaskError for a message that no model could be asked with."""
    if not _is_list(messages):
        raise TaskError("`messages` is a list of messages", help=f"write [message], also for one, {_EXAMPLE}")
    # Some models answer whatever they are asked, also nothing.
    if not messages:
        raise TaskError("there is no message", help=f"give at least one, {_EXAMPLE}")
    return tuple(_message(one, f"message {number}") for number, one in enumerate(messages, start=1))


def _message(given: AnyMessage, where: str) -> Message:
    if isinstance(given, ChatAnswer):
        return given.message
    if isinstance(given, Message):
        return _checked(given, where)
    if not _is_mapping(given):
        dumped = hasattr(given, "model_dump")
        raise TaskError(
            f"{where} is a `{type(given).__name__}`, and no message",
            help="write `message.model_dump()`" if dumped else f"write a mapping, {_EXAMPLE}",
        )
    if given.keys() == _MOST_HAVE and type(given["content"]) is str and given["role"] in _OF_TEXTS:
        return Message(given["role"], given["content"])
    keys = _meant(given, where)
    if "role" not in keys:
        raise TaskError(f"{where} has no `role`", help=f"roles: {', '.join(_ROLES)}")
    role: Any = "system" if keys["role"] == "developer" else keys["role"]  # newer models' name for it
    calls = tuple(_tool_calls(given_calls, where)) if (given_calls := keys.get("tool_calls")) else ()
    text, images = _content(keys.get("content"), where, may_be_none=bool(calls))
    if more := keys.get("images"):
        images += tuple(_list(more, "images", where))
    said = Message(role, text, images, calls, keys.get("tool_call_id"))
    return _checked(said, where)


def _meant(given: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """What a message holds, without what means nothing. Raises TaskError for what would be lost."""
    keys = {
        name: value for name, value in given.items() if not (name in _EMPTY_WITHOUT_MEANING and not value)
    }
    if keys.get("role") == "tool":
        keys.pop("name", None)  # that of the tool, which the id of the call says
    _check_known(keys, ("role", "content", "images", "tool_calls", "tool_call_id"), where)
    return keys


def _checked(message: Message, where: str) -> Message:
    if message.role not in _ROLES:
        raise TaskError(f"`{message.role}` is not a role of a message", help=f"roles: {', '.join(_ROLES)}")
    if not isinstance(message.content, str):
        raise TaskError(
            f"the content of {where} is a text", help="images stand beside it: Message(role, text, images)"
        )
    for image in _list(message.images, "images", where):
        if not isinstance(image, bytes):
            raise TaskError(f"`images` of {where} are the bytes of files", help="write [path.read_bytes()]")
        if image_type(image) is None:
            raise TaskError(f"an image of {where} is of no type that can be sent", help=f"send {IMAGE_TYPES}")
    for call in _list(message.tool_calls, "tool_calls", where):
        if not isinstance(call, ToolCall):
            raise TaskError(f"`tool_calls` of {where} are ToolCall(id, name, arguments)")
    if message.role == "tool" and not (isinstance(message.tool_call_id, str) and message.tool_call_id):
        help = "give the id of the call that it answers: `answer.tool_calls[0].id`"
        raise TaskError(f"{where} answers a tool without `tool_call_id`", help=help)
    return message


def _content(content: object, where: str, *, may_be_none: bool) -> tuple[str, tuple[bytes, ...]]:
    """Text and images. The parts of a list are joined by line breaks, as llama.cpp and vLLM do."""
    if content is None and may_be_none:
        return "", ()
    if isinstance(content, str):
        return content, ()
    if isinstance(content, bytes) or not isinstance(content, Sequence):
        what = "is missing" if content is None else f"is a `{type(content).__name__}`, and no text"
        is_value = isinstance(content, Mapping | int | float)
        raise TaskError(
            f"the content of {where} {what}", help="write it as JSON: json.dumps(…)" if is_value else _NO_TEXT
        )
    texts, images = [], []
    for part in content:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "text" and isinstance(part.get("text"), str):
            _check_known(part, ("type", "text"), f"a text of {where}")
            texts.append(part["text"])
        elif kind == "image_url":
            _check_known(part, ("type", "image_url"), f"an image of {where}")
            images.append(_image(part["image_url"] if "image_url" in part else None, where))
        else:
            said = f"of type `{kind}`" if isinstance(kind, str) and kind != "text" else "without a text"
            raise TaskError(f"the content of {where} has a part {said}", help=_NO_TEXT)
    return "\n".join(texts), tuple(images)


def _image(given: object, where: str) -> bytes:
    url = given
    if isinstance(given, Mapping):
        _check_known(given, ("url", "detail"), f"an image of {where}")
        if given.get("detail") not in (None, "auto"):
            raise TaskError(f"`detail` of an image of {where} is not passed on", help="leave it out")
        url = given.get("url")
    head, comma, data = url.partition(",") if isinstance(url, str) else ("", "", "")
    if not (head.startswith("data:") and head.endswith(";base64") and comma):
        raise TaskError(
            f"an image of {where} is not given as data",
            help="write data:image/png;base64,… (nothing is fetched from an address), or Message(role, text, [bytes])",
        )
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise TaskError(f"the data of an image of {where} is not base64") from None


def _tool_calls(calls: object, where: str) -> list[ToolCall]:
    return [
        call if isinstance(call, ToolCall) else _tool_call(call, where)
        for call in _list(calls, "tool_calls", where)
    ]


def _tool_call(call: object, where: str) -> ToolCall:
    what = f"a call of a tool of {where}"
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(call, Mapping) or not isinstance(function, Mapping):
        help = "it is {'id': …, 'type': 'function', 'function': {'name': …, 'arguments': …}}, or a ToolCall"
        raise TaskError(f"{what} has no `function`", help=help)
    _check_known(call, ("id", "type", "function", "index"), what)
    _check_known(function, ("name", "arguments"), what)
    id, name, arguments = call.get("id"), function.get("name"), function.get("arguments")
    if not (isinstance(id, str) and isinstance(name, str) and id and name):
        raise TaskError(f"{what} has no `{'name' if isinstance(id, str) and id else 'id'}`")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments or "{}")
        except (ValueError, RecursionError):
            raise TaskError(f"the arguments of {what} are not JSON: `{str(arguments)[:100]}`") from None
    if not isinstance(arguments, Mapping):
        raise TaskError(f"the arguments of {what} are not a JSON object")
    return ToolCall(id, name, arguments)


def _list(given: Any, key: str, where: str) -> Sequence[Any]:
    if not _is_list(given):
        raise TaskError(f"`{key}` of {where} is a list", help="write [...], also for a single one")
    return cast(Sequence[Any], given)


# Asking an abstract class takes ten times as long as asking for the types that nearly everybody uses.


def _is_list(given: object) -> bool:
    return type(given) in (list, tuple) or (
        isinstance(given, Sequence) and not isinstance(given, str | bytes | Mapping)
    )


def _is_mapping(given: object) -> TypeGuard[Mapping[str, Any]]:
    return type(given) is dict or isinstance(given, Mapping)


def _check_known(given: Mapping[Any, Any], known: Sequence[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise TaskError(
                f"{where} has the key `{str(name)[:100]}`, which is not passed on",
                help=suggest(str(name), known, label="known"),
            )
