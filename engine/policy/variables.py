"""Finds and replaces the environment variables that a catalog names, written ``${NAME}``. Reads no environment."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

VARIABLE: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
"""The pattern of one."""

_VARIABLE: Final = re.compile(VARIABLE)


def variables_in(text: str) -> list[str]:
    """The names of the variables in a text, in order.

    >>> variables_in("${HOME_OF_MODELS}/qwen")
    ['HOME_OF_MODELS']
    """
    return [found[2:-1] for found in _VARIABLE.findall(text)]


def with_variables(text: str, value_of: Callable[[str], str]) -> str:
    """``text`` with each variable replaced by its value."""
    return _VARIABLE.sub(lambda found: value_of(found[0][2:-1]), text)
