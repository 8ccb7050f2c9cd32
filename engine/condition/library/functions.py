"""The functions that conditions may call: a table of names, types and spellings."""

from __future__ import annotations

from dataclasses import dataclass

from ..types import BOOLEAN, INTEGER, NOTHING, NUMBER, STRING, ListType, Type


@dataclass(frozen=True, slots=True)
class Signature:
    """One choice of argument types, the result's type, and the operation that computes it.

    An empty `operation` returns the argument itself.
    """

    parameters: tuple[Type, ...]
    result: Type
    operation: str


@dataclass(frozen=True, slots=True)
class Function:
    """A function by its name; `method` is whether `x.f(…)` works, `f(x, …)` always does.

    Signatures are tried in order, so one for integers stands before one for numbers.
    """

    name: str
    signatures: tuple[Signature, ...]
    method: bool
    says: str
    example: str


_ANY_LIST = ListType(NOTHING)

FUNCTIONS = {
    function.name: function
    for function in (
        Function(
            "size",
            (Signature((STRING,), INTEGER, "size"), Signature((_ANY_LIST,), INTEGER, "size")),
            True,
            "characters (code points) of a string, or elements of a list",
            "size('naïve') == 5",
        ),
        Function(
            "startsWith",
            (Signature((STRING, STRING), BOOLEAN, "startsWith"),),
            True,
            "whether the string begins so",
            "'kimi-k2'.startsWith('kimi')",
        ),
        Function(
            "endsWith",
            (Signature((STRING, STRING), BOOLEAN, "endsWith"),),
            True,
            "whether the string ends so",
            "'kimi-k2:1t-cloud'.endsWith('-cloud')",
        ),
        Function(
            "contains",
            (Signature((STRING, STRING), BOOLEAN, "contains"),),
            True,
            "whether the text occurs in the string",
            "'glm-4.5'.contains('4.5')",
        ),
        Function(
            "matches",
            (Signature((STRING, STRING), BOOLEAN, "matches"),),
            True,
            "whether the RE2 pattern, a literal, occurs in the string",
            r"'v12'.matches(r'^v\d+$')",
        ),
        Function(
            "lowerAscii",
            (Signature((STRING,), STRING, "lowerAscii"),),
            True,
            "the string with `A` to `Z` made small",
            "'GLM-É'.lowerAscii() == 'glm-É'",
        ),
        Function(
            "upperAscii",
            (Signature((STRING,), STRING, "upperAscii"),),
            True,
            "the string with `a` to `z` made large",
            "'ß1a'.upperAscii() == 'ß1A'",
        ),
        Function(
            "bool",
            (
                Signature((BOOLEAN,), BOOLEAN, ""),
                Signature((STRING,), BOOLEAN, "boolean_of_string"),
            ),
            False,
            "a boolean: from one of the strings `1 t true True TRUE 0 f false False FALSE`; unknown for others",
            "bool('true')",
        ),
        Function(
            "int",
            (
                Signature((INTEGER,), INTEGER, ""),
                Signature((NUMBER,), INTEGER, "integer_of_number"),
                Signature((STRING,), INTEGER, "integer_of_string"),
            ),
            False,
            "an integer: a number without its fraction, or a string of decimal digits; "
            "unknown when out of range or not a number",
            "int(-7.9) == -7",
        ),
        Function(
            "double",
            (
                Signature((INTEGER,), NUMBER, "widen"),
                Signature((NUMBER,), NUMBER, ""),
                Signature((STRING,), NUMBER, "number_of_string"),
            ),
            False,
            "a number: from an integer, or from a string in decimal notation; unknown for other strings",
            "double('2.5e3') == 2500.0",
        ),
        Function(
            "string",
            (
                Signature((STRING,), STRING, ""),
                Signature((BOOLEAN,), STRING, "string_of_boolean"),
                Signature((INTEGER,), STRING, "string_of_integer"),
                Signature((NUMBER,), STRING, "string_of_number"),
            ),
            False,
            "the value as text; a number in the shortest form that reads back as the same number",
            "string(0.25) == '0.25'",
        ),
        Function(
            "abs",
            (Signature((INTEGER,), INTEGER, "abs_integer"), Signature((NUMBER,), NUMBER, "abs_number")),
            False,
            "the value without its sign",
            "abs(-3) == 3",
        ),
    )
}
"""Functions with fixed parameters, by name."""

SPECIAL_FUNCTIONS = {
    "has": "whether the feature has a value (a default counts); never unknown",
    "min": "the least of two or more numbers, or of one list of numbers; unknown for an empty list",
    "max": "the greatest of two or more numbers, or of one list of numbers; unknown for an empty list",
    "dyn": "its argument; CEL's way to defer types, accepted and without effect",
}
"""Functions that the checker treats itself, with what they return."""

MACROS = {
    "exists": "whether the condition is true for an element of the list",
    "all": "whether the condition is true for every element of the list",
}
