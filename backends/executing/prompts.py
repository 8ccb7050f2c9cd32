"""Reads the prompt templates of the steps, and builds requests from them.

``{{name}}`` is the whole syntax. Only the template is searched for it, and all names are filled in one pass, so text
from a user or a model is never read as template syntax. Such text is put between two marker lines that hold a random
word, new for each call, so no text can close its block and continue as if it were the template:

    <<<answer 3f9c41d0a7b2e865
    the text, as it is
    answer 3f9c41d0a7b2e865>>>
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from random import Random
from typing import Any, Final, Literal, get_args

from routewright.engine.report import RoutewrightError

from ..protocol import ChatAnswer, ChatRequest, Message, ToolCall

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
"""The names that each template must use. ``screen`` may also use the conversation, and all may use ``word``."""

_CALLS_OF_OTHERS: Final = frozenset({"answer_with_draft", "retry"})
"""Messages of the answer's own call: how that is made is the request's to say."""

_ALSO: Final[Mapping[str, frozenset[str]]] = {"screen": frozenset({"conversation"})}

_WORD = "word"
"""The name of the random word in the markers, which every template may use, also in its system part."""

_AS_IT_IS: Final = frozenset({"prompt"})
"""The request itself. It has no markers: small models repeat those, and its author gains nothing by imitating them."""

_WORD_DIGITS = 16
_KEYS = frozenset({"system", "user", "temperature", "max_output_tokens", "thinking_tokens"})
_WHOLE_NUMBERS = ("max_output_tokens", "thinking_tokens")
_CLOSING = re.compile(rf"^[a-z]+(?: [0-9]+)? ([0-9a-f]{{{_WORD_DIGITS}}})>>>$", re.MULTILINE)
_PLACE = re.compile(r"\{\{(\w+)\}\}")


class PromptError(RoutewrightError):
    """A file of prompts that cannot be used."""


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the filled-in text, between markers of its own. ``name`` is ours, never text from outside."""

    name: str
    content: Material


Material = str | tuple[Block, ...]
"""Text from a user or a model: one text, or several separate parts."""


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

    def fill(self, random: Random, **given: Material | int) -> str:
        """The user part with its names replaced: a number and the request as they are, everything else as a block."""
        return self._filled(_word(random, given), given)[-1]

    def request(
        self,
        random: Random,
        images: tuple[bytes, ...] = (),
        *,
        may_think: bool = True,
        **given: Material | int,
    ) -> ChatRequest:
        """A conversation of its own with the filled template, for a model that thinks or may."""
        *system, user = self._filled(_word(random, given), given)
        messages = (*(Message("system", text) for text in system), Message("user", user, images))
        most = self.most_tokens(may_think=may_think)
        return ChatRequest(messages, max_output_tokens=most, temperature=self.temperature)

    def _filled(self, word: str, given: Mapping[str, Material | int]) -> list[str]:
        """The parts that the template has, the user part last."""
        texts = {
            name: str(material)
            if isinstance(material, int) or name in _AS_IT_IS
            else _block(Block(name, material), word)
            for name, material in given.items()
        }
        texts[_WORD] = word
        parts = [self.user] if self.system is None else [self.system, self.user]
        return [_PLACE.sub(lambda place: texts[place[1]], part) for part in parts]

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


def conversation_of(messages: tuple[Message, ...]) -> tuple[Block, ...]:
    """The messages of a conversation, each under its role, with the number of its images and its tool calls."""
    return tuple(Block(message.role, _turn(message)) for message in messages)


def said_by(answer: ChatAnswer) -> Material:
    """The content of an answer: its text, or its text and its tool calls."""
    return _parts(answer.text, answer.tool_calls)


def spoken(answer: ChatAnswer) -> str:
    """What an answer says: its text, and the tools that it calls."""
    calls = [
        f"[calls {call.name} {json.dumps(dict(call.arguments), default=str)}]" for call in answer.tool_calls
    ]
    return "\n".join(filter(None, [answer.text, *calls]))


def without_markers(text: str, asked: ChatRequest) -> str:
    """The model's answer to ``asked``, without the markers of that call if it repeats them.

    No filled-in text contains their word, so a model that writes it has copied the markers.
    """
    *_, word = _CLOSING.findall(asked.messages[-1].content)
    return re.sub(rf"^(?:<<<[a-z0-9 ]+ {word}|[a-z0-9 ]+ {word}>>>)$\n?", "", text, flags=re.MULTILINE).strip(
        "\n"
    )


def _turn(message: Message) -> Material:
    return _parts(message.content, message.tool_calls, len(message.images))


def _parts(text: str, calls: tuple[ToolCall, ...], images: int = 0) -> Material:
    if not calls and not images:
        return text
    parts = [Block("text", text)] if text else []
    parts += [Block("images", str(images))] if images else []
    parts += [Block("call", f"{call.name} {json.dumps(dict(call.arguments), default=str)}") for call in calls]
    return tuple(parts)


def _block(block: Block, word: str) -> str:
    content = block.content
    inner = content if isinstance(content, str) else "\n".join(_block(part, word) for part in content)
    return f"<<<{block.name} {word}\n{inner}\n{block.name} {word}>>>"


def _texts(material: Material | int) -> Iterator[str]:
    if isinstance(material, str):
        yield material
    elif isinstance(material, tuple):
        for block in material:
            yield from _texts(block.content)


def _word(random: Random, given: Mapping[str, Material | int]) -> str:
    """A random word that none of the texts contains.

    It also depends on the texts: even under a known seed, as in a repeatable dry run, nobody can write a text that
    contains the word derived from that same text.
    """
    texts = [text for material in given.values() for text in _texts(material)]
    while True:
        digest = hashlib.sha256(random.getrandbits(128).to_bytes(16))
        for text in texts:
            digest.update(text.encode(errors="surrogatepass"))
        word = digest.hexdigest()[:_WORD_DIGITS]
        if not any(word in text for text in texts):
            return word


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
    strange = named - must - _ALSO.get(name, frozenset()) | set(_PLACE.findall(system or ""))
    for other in sorted(strange - {_WORD}):
        raise PromptError(f"prompt `{name}` names `{{{{{other}}}}}`, which it is not given")
    return Prompt(
        body["user"], system, temperature, body.get("max_output_tokens"), body.get("thinking_tokens")
    )


def _digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
