"""YAML text in, the templates of the steps out; a template and texts in, a request out.

``{{name}}`` is the whole syntax. It is looked for in the template alone and filled in one pass, so nothing that a
user or a model wrote is ever taken for template syntax.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, get_args

from routewright.engine.errors import RoutewrightError

from ..protocol import ChatAnswer, ChatRequest, Message

__all__ = [
    "Prompt",
    "PromptError",
    "PromptName",
    "Prompts",
    "conversation_text",
    "read_prompts",
    "shipped_prompts",
    "spoken",
]

PromptName = Literal["screen", "draft", "answer_with_draft", "verify", "retry", "refine", "judge"]

_NAMES: Final[Mapping[PromptName, frozenset[str]]] = {
    "screen": frozenset({"subject"}),
    "draft": frozenset({"prompt"}),
    "answer_with_draft": frozenset({"prompt", "draft"}),
    "verify": frozenset({"conversation", "answer"}),
    "retry": frozenset({"notes"}),
    "refine": frozenset({"conversation", "answer"}),
    "judge": frozenset({"conversation", "answers", "count"}),
}
"""What each template must name. ``screen`` may name the conversation too."""

_CALLS_OF_OTHERS: Final = frozenset({"answer_with_draft", "retry"})
"""Messages of the answer's own call: how that is made is the request's to say."""

_ALSO: Final[Mapping[str, frozenset[str]]] = {"screen": frozenset({"conversation"})}

_KEYS = frozenset({"system", "user", "temperature", "max_output_tokens", "thinking_tokens"})
_WHOLE_NUMBERS = ("max_output_tokens", "thinking_tokens")
_PLACE = re.compile(r"\{\{(\w+)\}\}")


class PromptError(RoutewrightError):
    """A file of prompts that cannot be used."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One template, and how the call is made that uses it.

    ``max_output_tokens`` bounds what is to be said. A model that may think beforehand gets ``thinking_tokens``
    more, as servers count both together.
    """

    user: str
    system: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    thinking_tokens: int | None = None

    def fill(self, **texts: str) -> str:
        """The user's part with its names replaced, each literally."""
        return _PLACE.sub(lambda place: texts[place[1]], self.user)

    def request(self, images: tuple[bytes, ...] = (), *, may_think: bool = True, **texts: str) -> ChatRequest:
        """A conversation of its own with the filled template, for a model that thinks or may."""
        user = Message("user", self.fill(**texts), images)
        messages = (user,) if self.system is None else (Message("system", self.system), user)
        most = self.most_tokens(may_think=may_think)
        return ChatRequest(messages, max_output_tokens=most, temperature=self.temperature)

    def most_tokens(self, *, may_think: bool) -> int | None:
        """What a model may write to it, thoughts included; None where nothing bounds it."""
        if self.max_output_tokens is None or not may_think:
            return self.max_output_tokens
        return self.max_output_tokens + (self.thinking_tokens or 0)


@dataclass(frozen=True, slots=True)
class Prompts:
    """The templates by name; ``digest`` tells files of prompts apart."""

    by_name: Mapping[PromptName, Prompt]
    digest: str

    def __getitem__(self, name: PromptName) -> Prompt:
        return self.by_name[name]


@cache
def shipped_prompts() -> Prompts:
    """The templates of ``policies/prompts.yaml``."""
    text = files("routewright").joinpath("policies", "prompts.yaml").read_text(encoding="utf-8")
    return read_prompts(text)


def read_prompts(text: str) -> Prompts:
    """The templates of a YAML text. Raises PromptError for what is missing, unknown or of the wrong kind."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise PromptError(f"the prompts are not YAML: {str(error).splitlines()[0].lower()}") from None
    if not isinstance(tree, dict) or tree.get("prompts") != 1:
        raise PromptError("prompts begin with `prompts: 1`")
    names: tuple[PromptName, ...] = get_args(PromptName)
    unknown = sorted(str(name) for name in tree.keys() - {"prompts", *names})
    if unknown:
        raise PromptError(f"unknown prompt `{unknown[0]}`: there are {', '.join(names)}")
    return Prompts({name: _prompt(name, tree.get(name)) for name in names}, _digest(tree))


def conversation_text(request: ChatRequest) -> str:
    """The turns of a conversation as text, each under its role."""
    turns = []
    for message in request.messages:
        calls = [
            f"[calls {call.name} {json.dumps(dict(call.arguments), default=str)}]"
            for call in message.tool_calls
        ]
        images = [f"[{len(message.images)} images]"] if message.images else []
        turns.append("\n".join([f"{message.role}:", *filter(None, [message.content, *images, *calls])]))
    return "\n\n".join(turns)


def spoken(answer: ChatAnswer) -> str:
    """What an answer says: its text, and the tools that it calls."""
    calls = [
        f"[calls {call.name} {json.dumps(dict(call.arguments), default=str)}]" for call in answer.tool_calls
    ]
    return "\n".join(filter(None, [answer.text, *calls]))


def _prompt(name: PromptName, body: Any) -> Prompt:
    if not isinstance(body, dict) or not isinstance(body.get("user"), str):
        raise PromptError(f"prompt `{name}` needs a text `user`")
    unknown = sorted(str(key) for key in body.keys() - ({"user"} if name in _CALLS_OF_OTHERS else _KEYS))
    if unknown:
        raise PromptError(f"prompt `{name}` has an unknown key `{unknown[0]}`")
    system, temperature = body.get("system"), body.get("temperature")
    if system is not None and not isinstance(system, str):
        raise PromptError(f"prompt `{name}`: `system` is a text")
    if temperature is not None and (
        isinstance(temperature, bool) or not isinstance(temperature, int | float)
    ):
        raise PromptError(f"prompt `{name}`: `temperature` is a number")
    for key in _WHOLE_NUMBERS:
        most = body.get(key)
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise PromptError(f"prompt `{name}`: `{key}` is a whole number above 0")
    named, must = set(_PLACE.findall(body["user"])), _NAMES[name]
    for missing in sorted(must - named):
        raise PromptError(f"prompt `{name}` must name `{{{{{missing}}}}}`")
    for other in sorted(named - must - _ALSO.get(name, frozenset())):
        raise PromptError(f"prompt `{name}` names `{{{{{other}}}}}`, which it is not given")
    return Prompt(
        body["user"], system, temperature, body.get("max_output_tokens"), body.get("thinking_tokens")
    )


def _digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
