"""How large the answers of a server may be, by what was asked of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from .values import count_of

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""Bytes of an answer in one piece of JSON, or of one line of a stream, in addition to what was asked for."""

MAX_ERROR_BYTES: Final = 64 * 1024
"""Bytes of an error's body that are read; the rest is ignored."""

MAX_LISTS: Final = 2**17
"""Lists and objects in one piece of JSON: each takes a hundred bytes of memory but only two on the wire."""

MAX_VALUES: Final = 2**18
"""Values in one piece of JSON, counted by its commas."""

STREAM_BYTES: Final = 16 * 1024 * 1024
STREAM_BYTES_PER_TOKEN: Final = 4 * 1024
"""Bytes of a whole stream, including everything around its text; the second number is for each token asked for."""

TEXT_BYTES: Final = 1024 * 1024
TEXT_BYTES_PER_TOKEN: Final = 256
"""UTF-8 bytes of text, thoughts and tool arguments together; the second number is for each token asked for.

The best vocabularies average five bytes a token on prose, but one token may be a run of a hundred blanks.
"""

UNASKED_TOKENS: Final = 16_384
"""Assumed for a call that does not bound its answer; it leaves room for a million tokens of prose."""

VECTOR_BYTES_PER_NUMBER: Final = 32
"""A double has 17 digits, a sign, a point and an exponent: 25 bytes with the comma, and blanks."""

UNKNOWN_DIMENSIONS: Final = 16_384
"""Dimensions assumed when a request names none: four times the longest vector in use."""


class Sizes(NamedTuple):
    """How large an answer may be.

    Bytes, lists and objects, and values of one piece of JSON; bytes of a whole stream and of its text.
    """

    body: int = MAX_BODY_BYTES
    lists: int = MAX_LISTS
    values: int = MAX_VALUES
    stream: int = STREAM_BYTES
    text: int = TEXT_BYTES


SMALL_SIZES: Final = Sizes()
"""Sizes of answers that do not depend on the request."""


@lru_cache
def chat_sizes(asked_tokens: int | None) -> Sizes:
    """Sizes for a chat of at most ``asked_tokens`` of output; ``None`` means that the request does not bound it."""
    tokens = UNASKED_TOKENS if asked_tokens is None else asked_tokens
    text = TEXT_BYTES_PER_TOKEN * tokens
    return Sizes(
        body=MAX_BODY_BYTES + text,
        stream=STREAM_BYTES + STREAM_BYTES_PER_TOKEN * tokens,
        text=TEXT_BYTES + text,
    )


def vector_sizes(texts: int, dimensions: object) -> Sizes:
    """Sizes for the vectors of ``texts`` texts; ``dimensions`` that is not a positive number counts as unknown."""
    numbers = texts * (count_of(dimensions) or UNKNOWN_DIMENSIONS)
    return Sizes(
        MAX_BODY_BYTES + VECTOR_BYTES_PER_NUMBER * numbers, MAX_LISTS + 4 * texts, MAX_VALUES + numbers
    )
