"""How many tokens a prompt has, before anyone is asked: counted with the model's tokenizer, or estimated.

The tokenizers are those of the package ``quicktok-v1`` (extra ``tokens``); without it, or for a model whose
tokenizer it does not carry, the number is estimated and says so. No network, no files beside the package's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, Literal, NamedTuple

from routewright.engine.policy import Encoding

from .protocol import ChatRequest, Message

_BYTES_PER_TOKEN: Final = 4
"""Measured: right for English and code within a quarter, and too low by 1.6 to 2.4 for JSON full of numbers and for
Chinese with a small vocabulary, which `token_limits.TOO_LOW` in the engine allows for."""

_IMAGE_TOKENS: Final = 1_000
"""Models differ much here; a number that is not 0 keeps images from looking free."""

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


_LOADED: Final[set[Encoding]] = set()


class TokenCount(NamedTuple):
    """A number of tokens, how it came about, and the tokenizer that counted, if one did."""

    tokens: int
    source: Literal["counted", "estimated"]
    encoding: Encoding | None = None


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
        return TokenCount(tokens, "counted", encoding)
    return TokenCount(tokens, "estimated", counted.encoding)


def text_tokens(texts: Sequence[str], encoding: Encoding | None) -> TokenCount:
    """The tokens of texts, added up, without special ones.

    >>> text_tokens(["a longer text than that"], None)
    TokenCount(tokens=6, source='estimated', encoding=None)
    """
    tokenizer = None if encoding is None else _tokenizer(encoding)
    if tokenizer is None:
        tokens = sum(math.ceil(len(text.encode(errors="replace")) / _BYTES_PER_TOKEN) for text in texts)
        return TokenCount(tokens, "estimated")
    # What looks like a special token is counted as the text that it is: a prompt must not be able to refuse itself.
    tokens = sum(tokenizer.count(text.encode(errors="replace").decode()) for text in texts)
    return TokenCount(tokens, "counted", encoding)


def is_loaded(encoding: Encoding) -> bool:
    """Whether counting with it can begin at once."""
    return encoding in _LOADED


def _texts(message: Message) -> Iterator[str]:
    yield message.content
    for call in message.tool_calls:
        yield call.name
        yield json.dumps(dict(call.arguments), ensure_ascii=False, default=str)


@cache
def _tokenizer(encoding: Encoding) -> Any | None:
    """Loaded once, in a third of a second; ``None`` where the package is not installed."""
    found = None if find_spec("quicktok") is None else import_module("quicktok").get_encoding(encoding)
    _LOADED.add(encoding)
    return found
