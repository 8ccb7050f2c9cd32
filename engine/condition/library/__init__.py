"""Every operator and function of conditions: its types, what it computes, how long that takes, and its documentation.

Each is declared once. What the checker, the targets, the bounds of work and the docs say of it is derived from there.
"""

from __future__ import annotations

from .functions import FUNCTIONS, MACROS, itself
from .operators import OPERATORS, WIDEN
from .sources import SOURCES as SOURCES

OPERATIONS = {
    operation.name: operation
    for function in (*OPERATORS.values(), *FUNCTIONS.values())
    for operation in function.operations
    if operation.python is not itself
} | {WIDEN.name: WIDEN}
"""Every operation by the name that `typed.Apply` carries."""

COMPARISONS = frozenset(
    operation.name
    for symbol in ("==", "!=", "<", "<=", ">", ">=", "in")
    for operation in OPERATORS[symbol].operations
)
"""The operations that compare two values."""

MEANT = {
    other: function.name
    for functions in (FUNCTIONS, MACROS)
    for function in functions.values()
    for other in function.other_names
}
"""What functions of other languages are called here."""
