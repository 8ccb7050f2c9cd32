"""How many tokens a prompt has, before anyone is asked: counted with the model's tokenizer, or estimated.

The tokenizers are those of the package ``quicktok-v1`` (extra ``tokens``); without it, or for a model whose
tokenizer it does not carry, the number is estimated and says so. No network, no files beside the package's.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal

from .protocol import ChatRequest, Message

__all__ = ["ESTIMATE_MARGIN", "Encoding", "TokenCount", "encoding_for", "prompt_tokens", "text_tokens"]

Encoding = Literal["cl100k_base", "o200k_base", "o200k_harmony", "llama3", "qwen3"]

ESTIMATE_MARGIN: Final = 2.5
"""How far an estimate may be too low: measured, four bytes a token is right for English and code within a
quarter, and too low by 1.6 to 2.4 for JSON full of numbers and for Chinese with a small vocabulary."""

_BYTES_PER_TOKEN: Final = 4
_IMAGE_TOKENS: Final = 1_000
"""Models differ by more than the margin here; a number that is not 0 keeps images from looking free."""

# By the beginning of a model's name in lower case, without the organisation before it. Later generations
# of a family have other vocabularies, so the patterns end where a generation ends.
_FAMILIES: Final[tuple[tuple[re.Pattern[str], Encoding], ...]] = (
    (re.compile(r"gpt-oss\b"), "o200k_harmony"),
    (re.compile(r"(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o1|o3|o4)([-.:]|$)"), "o200k_base"),
    (re.compile(r"(gpt-4|gpt-3\.5|gpt-35)([-.:]|$)|text-embedding-(3|ada-002)"), "cl100k_base"),
    (re.compile(r"(meta-)?llama-?3(\.[123])?([-:]|$)"), "llama3"),
    (re.compile(r"(qwen-?2\.5|qwen-?3|qwq)([-:]|$)"), "qwen3"),
)

# What a chat template puts around one message, and before the answer, in tokens. OpenAI's numbers are from
# https://cookbook.openai.com/examples/how_to_count_tokens_with_tiktoken, the others counted in the templates;
# harmony opens with a system message of its own.
_AROUND: Final[dict[Encoding, tuple[int, int]]] = {
    "cl100k_base": (4, 3),
    "o200k_base": (4, 3),
    "o200k_harmony": (5, 90),
    "llama3": (5, 5),
    "qwen3": (5, 3),
}


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A number of tokens, and how it came about.

    ``margin`` is the factor by which the true number may be higher: 1 where it was counted. ``encoding`` names
    the tokenizer that counted.
    """

    tokens: int
    source: Literal["counted", "estimated"]
    margin: float
    encoding: Encoding | None = None

    @property
    def at_most(self) -> int:
        """What a check of a window or a budget has to reckon with."""
        return math.ceil(self.tokens * self.margin)


def encoding_for(*names: str) -> Encoding | None:
    """The tokenizer of a model, by the first of its names (tag, source, id) that tells; ``None`` if none does.

    >>> encoding_for("mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit")
    'qwen3'
    >>> encoding_for("kimi-k2:1t-cloud") is None
    True
    """
    for name in names:
        bare = name.lower().rsplit("/", 1)[-1]
        for pattern, encoding in _FAMILIES:
            if pattern.match(bare):
                return encoding
    return None


def prompt_tokens(request: ChatRequest, encoding: Encoding | None) -> TokenCount:
    """The tokens of a conversation, its tools and what a template puts around them.

    Tools and images make it an estimate: each template writes tools in its own way, and no tokenizer knows
    images.
    """
    texts = [text for message in request.messages for text in _texts(message)]
    tools = [json.dumps(tool, ensure_ascii=False, default=str) for tool in request.tools]
    images = sum(len(message.images) for message in request.messages)
    counted = text_tokens([*texts, *tools], encoding)
    each, once = _AROUND[encoding] if encoding is not None else (4, 4)
    tokens = counted.tokens + each * len(request.messages) + once + _IMAGE_TOKENS * images
    if counted.source == "counted" and not (tools or images):
        return TokenCount(tokens, "counted", 1.0, encoding)
    return TokenCount(tokens, "estimated", ESTIMATE_MARGIN, counted.encoding)


def text_tokens(texts: Sequence[str], encoding: Encoding | None) -> TokenCount:
    """The tokens of texts, added up, without special ones.

    >>> text_tokens(["a longer text than that"], None)
    TokenCount(tokens=6, source='estimated', margin=2.5, encoding=None)
    """
    tokenizer = None if encoding is None else _tokenizer(encoding)
    if tokenizer is None:
        tokens = sum(math.ceil(len(text.encode(errors="replace")) / _BYTES_PER_TOKEN) for text in texts)
        return TokenCount(tokens, "estimated", ESTIMATE_MARGIN)
    tokens = sum(len(tokenizer.encode(text.encode(errors="replace").decode())) for text in texts)
    return TokenCount(tokens, "counted", 1.0, encoding)


def _texts(message: Message) -> Iterator[str]:
    yield message.content
    for call in message.tool_calls:
        yield call.name
        yield json.dumps(dict(call.arguments), ensure_ascii=False, default=str)


@cache
def _tokenizer(encoding: Encoding) -> Any | None:
    """Loaded once, in a third of a second; ``None`` where the package is not installed."""
    if find_spec("quicktok") is None:
        return None
    return import_module("quicktok").get_encoding(encoding)
