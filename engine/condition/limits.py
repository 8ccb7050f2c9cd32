"""The limits of conditions.

They hold for every text and every value, so that a condition costs at most a second and 256 MiB whoever
wrote it.  A text past a limit is an error; a value past a limit is unknown; a feature past one is refused.
`docs/conditions.md` lists them for authors.
"""

from __future__ import annotations

MAX_EXPRESSION_LENGTH = 10_000
"""Characters of one expression, and of all the expressions of a structured condition together."""

MAX_NESTING = 64
"""Levels of parentheses, operators and calls inside one another; also terms in one chain of `+` or `*`.
Chains of `&&` and `||` are one level however long."""

MAX_CONDITION_PARTS = 1_000
"""Groups and expressions of one structured condition."""

MAX_LIST_LITERAL = 1_000
"""Elements of one list written in a condition."""

MAX_LIST_LENGTH = 10_000
"""Elements of a list value, nested ones counted; a longer feature is refused, a longer sum is unknown."""

MAX_STRING_LENGTH = 32_768
"""Characters of a string made by `+`; a longer one is unknown."""

MAX_FEATURE_STRING_LENGTH = 500_000
"""Characters of a string feature, or of all strings of an array; longer values are refused."""

MAX_PATTERN_LENGTH = 1_000
"""Characters of a pattern of `matches`."""

MAX_PATTERN_MEMORY = 1 << 20
"""Bytes that one compiled pattern may take."""

MAX_PATTERNS = 64
"""Patterns in one condition."""

MAX_MACRO_NESTING = 3
"""How deep `exists` and `all` may stand inside one another."""

MAX_CONDITION_WORK = 40_000_000
"""Steps that the macros and patterns of one condition may take for the values at hand; where they could take more,
`exists`, `all` and `matches` are unknown. A step is what the compiled function needs for a comparison, 5 ns; it counts
100, as it takes the interpreter that explains it, unless it is one of many over a long string or list."""

MAX_PROBLEMS = 20
"""Problems reported for one condition."""

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1

MAX_EXACT_INTEGER = 2**53 - 1
"""Largest integer feature: JSON, Python and SQL mean the same number up to here."""
