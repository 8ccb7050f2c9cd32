"""Tells from a model's names which tokenizer counts its prompts. Counts nothing itself."""

from __future__ import annotations

import re
from typing import Final, Literal

Encoding = Literal["cl100k_base", "o200k_base", "o200k_harmony", "llama3", "qwen3"]

# By the beginning of a model's name in lower case, without the organisation before it. Later generations
# of a family have other vocabularies, so the patterns end where a generation ends.
_FAMILIES: Final[tuple[tuple[re.Pattern[str], Encoding], ...]] = (
    (re.compile(r"gpt-oss\b"), "o200k_harmony"),
    (re.compile(r"(chatgpt-4o|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|o1|o3|o4)([-.:]|$)"), "o200k_base"),
    (re.compile(r"(gpt-4|gpt-3\.5|gpt-35)([-.:]|$)|text-embedding-(3|ada-002)"), "cl100k_base"),
    (re.compile(r"(meta-)?llama-?3(\.[123])?([-:]|$)"), "llama3"),
    (re.compile(r"(qwen-?2\.5|qwen-?3|qwq)([-:]|$)"), "qwen3"),
)


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
