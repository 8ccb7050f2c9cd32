"""Reads how long a model is kept in memory after its last call, as Ollama's `keep_alive` says it. Pure.

https://github.com/ollama/ollama/blob/main/docs/faq.mdx
"""

from __future__ import annotations

import re
from typing import Final

_UNIT_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000}
_PART: Final = r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)"


def kept_ms(written: str) -> int | None:
    """Milliseconds of a duration such as ``15m`` or ``1h30m``, or of a number of seconds; None for ever (negative).

    Raises ValueError for anything else.

    >>> kept_ms("15m"), kept_ms("90"), kept_ms("0"), kept_ms("-1")
    (900000, 90000, 0, None)
    """
    text = written.strip()
    if text.startswith("-"):
        kept_ms(text[1:])
        return None
    if re.fullmatch(r"\d{1,9}", text):
        return int(text) * 1_000
    if not re.fullmatch(rf"(?:{_PART})+", text):
        raise ValueError(f"`{written}` is no duration such as `15m`, and no number of seconds")
    return round(sum(float(number) * _UNIT_MS[unit] for number, unit in re.findall(_PART, text)))
