"""Numbers that are fixed by a seed and a request: the same on every machine."""

from __future__ import annotations

import hashlib
import json
import math


class SeededRandom:
    """A source of numbers fixed by ``seed``, ``model``, ``operation`` and ``request``.

    Each number is drawn by name, so that adding one later leaves the others as they were.
    """

    def __init__(self, seed: int, model: str, operation: str, request: object) -> None:
        text = json.dumps([seed, model, operation, request], sort_keys=True, default=str)
        self._key = hashlib.sha256(text.encode()).digest()

    @property
    def name(self) -> str:
        """Six hexadecimal digits that tell draws apart."""
        return self._key.hex()[:6]

    def integer(self, what: str, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        return low + self._bits(what) % (high - low + 1)

    def fraction(self, what: str) -> float:
        """A number from 0 to 1, 1 excluded."""
        return (self._bits(what) >> 11) / (1 << 53)

    def _bits(self, what: str) -> int:
        return int.from_bytes(hashlib.sha256(self._key + what.encode()).digest()[:8])


def estimated_tokens(text: str) -> int:
    """A rough count, four characters to a token: only for where no tokenizer is at hand.

    >>> estimated_tokens("which model?")
    3
    """
    return -(-len(text) // 4)


def unit_vector(draw: SeededRandom, size: int) -> tuple[float, ...]:
    """A vector of length 1 with ``size`` components, each rounded to 9 decimals."""
    raw = [2 * draw.fraction(str(at)) - 1 for at in range(size)]
    length = math.sqrt(math.fsum(x * x for x in raw)) or 1.0
    # Rounded, because the last bit of a square root may differ between platforms.
    return tuple(round(x / length, 9) for x in raw)
