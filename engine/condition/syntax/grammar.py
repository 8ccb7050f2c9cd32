"""The words and levels of the grammar, and what to say where one stands in the wrong place."""

from __future__ import annotations

OR, AND, NOT, RELATION, SUM, PRODUCT = range(1, 7)

LEVELS = {
    **{"||": OR, "or": OR, "&&": AND, "and": AND},
    **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), RELATION),
    **dict.fromkeys("+-", SUM),
    **dict.fromkeys("*/%", PRODUCT),
}
LOGICAL = {"or": "||", "and": "&&", "||": "||", "&&": "&&"}
RESERVED = frozenset(
    "as break const continue else for function if import in let loop package namespace return var void "
    "while and or not".split()
)
BOOLEANS = {"true": True, "True": True, "false": False, "False": False}
NULLS = {"null", "None"}

WORD_HINTS = {
    "if": "write `condition ? a : b`",
    "else": "write `condition ? a : b`",
    "is": "write `==` or `!=`",
    "lambda": "conditions define no functions; `xs.exists(x, …)` and `xs.all(x, …)` look into lists",
    "for": "conditions have no loops; `xs.exists(x, …)` and `xs.all(x, …)` look into lists",
    "import": "conditions reach nothing but the declared features",
    "not": "put parentheses around it: `(not …)`",
    "AND": "write `&&` or `and`",
    "OR": "write `||` or `or`",
    "NOT": "write `!` or `not`",
    "IN": "write `in`",
    "xor": "write `a != b`",
    "between": "write `low <= x && x <= high`",
    "contains": "write `x.contains('…')`; for a list, `'…' in x`",
    "startsWith": "write `x.startsWith('…')`",
    "endsWith": "write `x.endsWith('…')`",
    "matches": "write `x.matches(r'…')`",
    "like": "write `x.matches(r'…')`",
}
