"""How large the answers of a server may be, by what was asked of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from .untrusted_values import count_of

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_ERROR_BYTES",
    "MAX_LISTS",
    "MAX_VALUES",
    "SMALL_SIZES",
    "STREAM_BYTES",
    "STREAM_BYTES_PER_TOKEN",
    "TEXT_BYTES",
    "TEXT_BYTES_PER_TOKEN",
    "UNASKED_TOKENS",
    "UNKNOWN_DIMENSIONS",
    "VECTOR_BYTES_PER_NUMBER",
    "Sizes",
    "chat_sizes",
    "vector_sizes",
]

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""Of an answer that comes as one piece of JSON, and of one line of a stream, beside what was asked for."""

MAX_ERROR_BYTES: Final = 64 * 1024
"""Of the body of an error: what comes after it is not read."""

MAX_LISTS: Final = 2**17
"""Lists and objects in one piece of JSON: each takes a hundred bytes of memory, and only two on the wire."""

MAX_VALUES: Final = 2**18
"""Values in one piece of JSON, which its commas tell apart."""

STREAM_BYTES: Final = 16 * 1024 * 1024
STREAM_BYTES_PER_TOKEN: Final = 4 * 1024
"""Of a whole stream, with all that stands around its text: the second for each token asked for."""

TEXT_BYTES: Final = 1024 * 1024
TEXT_BYTES_PER_TOKEN: Final = 256
"""Of text, thoughts and arguments of tools together, in UTF-8: the second for each token asked for.

The best vocabularies reach five bytes a token on prose; a single token may be a run of a hundred blanks.
"""

UNASKED_TOKENS: Final = 16_384
"""What a call is taken to ask for that does not bound its answer: there is room for a million tokens of prose."""

VECTOR_BYTES_PER_NUMBER: Final = 32
"""A double has 17 digits, a sign, a point and an exponent: 25 bytes with the comma, and blanks."""

UNKNOWN_DIMENSIONS: Final = 16_384
"""How long a vector may be where nobody said: four times the longest in use."""


class Sizes(NamedTuple):
    """How large an answer may be: the bytes of a piece of JSON, its lists and objects, its values; the bytes of a
    whole stream, and those of its text.
    """

    body: int = MAX_BODY_BYTES
    lists: int = MAX_LISTS
    values: int = MAX_VALUES
    stream: int = STREAM_BYTES
    text: int = TEXT_BYTES


SMALL_SIZES: Final = Sizes()
"""Of answers whose size does not depend on what was asked."""


@lru_cache
def chat_sizes(asked_tokens: int | None) -> Sizes:
    """For a chat of at most ``asked_tokens`` of output; ``None``: the request does not bound it."""
    tokens = UNASKED_TOKENS if asked_tokens is None else asked_tokens
    text = TEXT_BYTES_PER_TOKEN * tokens
    return Sizes(
        body=MAX_BODY_BYTES + text,
        stream=STREAM_BYTES + STREAM_BYTES_PER_TOKEN * tokens,
        text=TEXT_BYTES + text,
    )


def vector_sizes(texts: int, dimensions: object) -> Sizes:
    """For the vectors of so many texts; what is no positive number of dimensions is unknown."""
    numbers = texts * (count_of(dimensions) or UNKNOWN_DIMENSIONS)
    return Sizes(
        MAX_BODY_BYTES + VECTOR_BYTES_PER_NUMBER * numbers, MAX_LISTS + 4 * texts, MAX_VALUES + numbers
    )
