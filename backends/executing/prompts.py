"""Builds requests from the prompt templates of the steps.

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
from random import Random
from typing import Final

from ..protocol import ChatAnswer, ChatRequest, Message, ToolCall


@dataclass(frozen=True, slots=True)
class Template:
    """The names that a template must use, and those that it may use beside ``word``.

    ``own_call`` is whether a call is made with it alone; else it is a message of the answer's own call, and how that is
    made is the request's to say.
    """

    must: frozenset[str]
    may: frozenset[str] = frozenset()
    own_call: bool = True


WORD = "word"
"""The name of the random word in the markers, which every template may use, also in its system part."""

_AS_IT_IS: Final = frozenset({"prompt"})
"""The request itself. It has no markers: small models repeat those, and its author gains nothing by imitating them."""

_WORD_DIGITS = 16
_CLOSING = re.compile(rf"^[a-z]+(?: [0-9]+)? ([0-9a-f]{{{_WORD_DIGITS}}})>>>$", re.MULTILINE)
PLACE = re.compile(r"\{\{(\w+)\}\}")


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

    def about(
        self, asked: ChatRequest, random: Random, *, may_think: bool, **given: Material | int
    ) -> ChatRequest:
        """``request`` with the images of ``asked`` and its conversation, beside what else is given."""
        images = tuple(image for message in asked.messages for image in message.images)
        conversation = conversation_of(asked.messages)
        return self.request(random, images, may_think=may_think, conversation=conversation, **given)

    def _filled(self, word: str, given: Mapping[str, Material | int]) -> list[str]:
        """The parts that the template has, the user part last."""
        texts = {
            name: str(material)
            if isinstance(material, int) or name in _AS_IT_IS
            else _block(Block(name, material), word)
            for name, material in given.items()
        }
        texts[WORD] = word
        parts = [self.user] if self.system is None else [self.system, self.user]
        return [PLACE.sub(lambda place: texts[place[1]], part) for part in parts]

    def most_tokens(self, *, may_think: bool) -> int | None:
        """What a model may write to it, thoughts included; None where nothing bounds it."""
        if self.max_output_tokens is None or not may_think:
            return self.max_output_tokens
        return self.max_output_tokens + (self.thinking_tokens or 0)


@dataclass(frozen=True, slots=True)
class Prompts:
    """The templates by name; ``digest`` tells files of prompts apart."""

    by_name: Mapping[str, Prompt]
    digest: str

    def __getitem__(self, name: str) -> Prompt:
        return self.by_name[name]


def conversation_of(messages: tuple[Message, ...]) -> tuple[Block, ...]:
    """The messages of a conversation, each under its role, with the number of its images and its tool calls."""
    return tuple(
        Block(message.role, _parts(message.content, message.tool_calls, len(message.images)))
        for message in messages
    )


def said_by(answer: ChatAnswer) -> Material:
    """The content of an answer: its text, or its text and its tool calls."""
    return _parts(answer.text, answer.tool_calls)


def spoken(answer: ChatAnswer) -> str:
    """What an answer says: its text, and the tools that it calls."""
    calls = (f"[calls {_called(call)}]" for call in answer.tool_calls)
    return "\n".join(filter(None, [answer.text, *calls]))


def without_markers(text: str, asked: ChatRequest) -> str:
    """The model's answer to ``asked``, without the markers of that call if it repeats them.

    No filled-in text contains their word, so a model that writes it has copied the markers.
    """
    *_, word = _CLOSING.findall(asked.messages[-1].content)
    return re.sub(rf"^(?:<<<[a-z0-9 ]+ {word}|[a-z0-9 ]+ {word}>>>)$\n?", "", text, flags=re.MULTILINE).strip(
        "\n"
    )


def _parts(text: str, calls: tuple[ToolCall, ...], images: int = 0) -> Material:
    if not calls and not images:
        return text
    parts = [Block("text", text)] if text else []
    parts += [Block("images", str(images))] if images else []
    parts += [Block("call", _called(call)) for call in calls]
    return tuple(parts)


def _called(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(dict(call.arguments), default=str)}"


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
