"""The functions of conditions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from string import ascii_lowercase, ascii_uppercase
from typing import Any, Final

from ..limits import INT64_MIN
from ..patterns import compile_pattern
from ..search_steps import search_steps
from ..types import ANY, ANY_LIST, BOOLEAN, INTEGER, NUMBER, STRING, ListType, Type
from .declaration import CALL, SHORT_TEXT, Function, Operand, Operation
from .operators import WIDEN, compared, every_element, finite, in_64_bits, in_range, int64

# -- the account of the compiled function ------------------------------------------------------------------

_DECIMAL_INTEGER = re.compile(r"([+-]?)0*([0-9]{1,19})", re.ASCII)
_DECIMAL_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?", re.ASCII)

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "true", "True", "TRUE"), True),
    **dict.fromkeys(("0", "f", "false", "False", "FALSE"), False),
}
"""CEL's own list (cel-spec, tests/simple/testdata/conversions.textproto, section ``bool``)."""


def _integer_of_number(value: float) -> int | None:
    # Both ends excluded, as CEL's conformance tests want: the doubles there stand for a range of numbers.
    return int(value) if -(2.0**63) < value < 2.0**63 else None


def _integer_of_string(value: str) -> int | None:
    found = _DECIMAL_INTEGER.fullmatch(value)
    return None if found is None else int64(int(found[1] + found[2]))


def _number_of_string(value: str) -> float | None:
    return finite(float(value)) if _DECIMAL_NUMBER.fullmatch(value) else None


def _boolean_of_string(value: str) -> bool | None:
    # Looking up a long string would hash all of it.
    return _BOOLEANS.get(value) if len(value) <= len("false") else None


def _matches(value: str, pattern: str) -> bool:
    return compile_pattern(pattern)(value)


def itself(value: Any) -> Any:
    """What a function does whose argument is already its result: nothing, and the checker leaves it out."""
    return value


# -- the account of the reference --------------------------------------------------------------------------

_DIGITS = set("0123456789")
_CAPITALS, _SMALL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"abcdefghijklmnopqrstuvwxyz"


def _exchanged(text: str, letters: bytes, others: bytes) -> str:
    return text.encode().translate(bytes.maketrans(letters, others)).decode()


def _are_digits(text: str) -> bool:
    return set(text) <= _DIGITS


def _signed(text: str) -> tuple[int, str]:
    return (-1 if text.startswith("-") else 1), text[text.startswith(("+", "-")) :]


def _truth(text: str) -> bool | None:
    if text in {"1", "t", "true", "True", "TRUE"}:
        return True
    return False if text in {"0", "f", "false", "False", "FALSE"} else None


def _truncated(value: float) -> int | None:
    exact = Fraction(value)
    return math.trunc(exact) if abs(exact) < 2**63 else None


def _read_integer(text: str) -> Any:
    sign, digits = _signed(text)
    if not digits or not _are_digits(digits):
        return None
    significant = digits.lstrip("0") or "0"
    return None if len(significant) > 19 else in_range(sign * int(significant))


def _read_number(text: str) -> Any:
    sign, rest = _signed(text)
    mantissa, e, power = rest.replace("E", "e").partition("e")
    whole, _, fraction = mantissa.partition(".")
    direction, power_digits = _signed(power)
    if not (whole or fraction) or not _are_digits(whole + fraction) or bool(e) != bool(power_digits):
        return None
    if not _are_digits(power_digits):
        return None
    power_digits = power_digits.lstrip("0") or "0"
    if len(power_digits) > 7:  # no mantissa is long enough to make up for such a power
        return 0.0 if direction < 0 or not (whole + fraction).strip("0") else None
    digits = (0, tuple(map(int, whole + fraction)), direction * int(power_digits) - len(fraction))
    return in_range(sign * float(Decimal(digits)))


def _without_sign(value: Any) -> Any:
    return in_range(-value if value < 0 else value)


def _digits_of(value: int) -> str:
    rest, digits = abs(value), ""
    while rest or not digits:
        rest, digit = divmod(rest, 10)
        digits = "0123456789"[digit] + digits
    return "-" + digits if value < 0 else digits


def _shortest(value: float) -> str:
    """The fewest digits that read back as `value`; with an exponent from 1e16 on and below 0.0001."""
    exact = Decimal(abs(value))
    rounded = (
        Context(prec=digits, rounding=rounding).create_decimal(exact)
        for digits in range(1, 18)
        for rounding in (ROUND_HALF_EVEN, ROUND_FLOOR, ROUND_CEILING)
    )
    short = next(one for one in rounded if float(one) == abs(value))
    digits = "".join(map(str, short.as_tuple().digits)).rstrip("0") or "0"
    sign, exponent = "-" * (value < 0), short.adjusted()
    if not -4 <= exponent < 16:
        point = "." if len(digits) > 1 else ""
        return f"{sign}{digits[0]}{point}{digits[1:]}e{'-' if exponent < 0 else '+'}{abs(exponent):02}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    return f"{sign}{digits[: exponent + 1].ljust(exponent + 1, '0')}.{digits[exponent + 1 :] or '0'}"


# -- the account in SQL ------------------------------------------------------------------------------------

_BOOLEAN_IN_SQL: Final = ", ".join(f"'{text}': {str(value).lower()}" for text, value in _BOOLEANS.items())

# DuckDB's own casts from text take spaces, underscores and words besides. Text without a match becomes '', and NULL.
_READ_INTEGER: Final = "TRY_CAST(regexp_extract({a}, '^[+-]?0*[0-9]{{1,19}}$') AS BIGINT)"
_READ_NUMBER: Final = (
    r"TRY_CAST(regexp_extract({a}, '^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$') AS DOUBLE)"
)
_AS_TEXT: Final = "CAST({a} AS VARCHAR)"
_IN_RANGE: Final = f"({{a}} > ({INT64_MIN}e0)) AND ({{a}} < {-INT64_MIN}e0)"
_WHOLE: Final = f"(CASE WHEN {_IN_RANGE} THEN CAST(trunc({{a}}) AS BIGINT) END)"


# -- the time that they take -------------------------------------------------------------------------------


def _every_character(value: Operand) -> int:
    return CALL + value.characters


def _half(value: Operand) -> int:
    return CALL + value.characters // 2


def _found(value: Operand, part: Operand) -> int:
    """The steps of `contains` in CPython (`Objects/stringlib/fastsearch.h`), which depend on both lengths.

    Searching for a long text in a short string, or for a short one in a string of medium length, is quadratic; in long
    strings it takes a step or less for each character, whatever the text. Twice what the worst strings took.
    """
    steps = CALL + value.characters
    if part.characters > 5:
        steps += min(value.characters, 30_000) * min(part.characters, 100) // 25
        steps += min(value.characters, 2_500) * min(part.characters, 1_250) // 40
    return steps


def _searched(value: Operand, pattern: Operand) -> int:
    return CALL + search_steps(str(pattern.constant), value.characters)


def _as_long(value: Operand) -> Operand:
    return Operand(0, value.characters)


def _short_text(value: Operand) -> Operand:
    return Operand(0, SHORT_TEXT)


def _asks(
    name: str,
    python: Callable[..., Any],
    reference: Callable[..., Any],
    sql: str,
    steps: Callable[..., int],
    with_literal: Callable[[Any], Callable[..., Any]] | None = None,
) -> tuple[Operation]:
    """A question about two strings, which `sql` is the function for."""
    types, sql = (STRING, STRING), f"{sql}({{a}}, {{b}})"
    return (Operation(name, types, BOOLEAN, python, reference, sql, steps=steps, with_literal=with_literal),)


def _itself(type_: Type) -> Operation:
    return Operation("itself", (type_,), None, itself, itself, "{a}")


def _extreme(name: str, python: Callable[..., Any], place: int, sql: str) -> tuple[Operation, ...]:
    def least(items: tuple[Any, ...]) -> Any:
        return sorted(items)[place] if items else None

    return (
        Operation(
            name,
            (NUMBER,),
            None,
            lambda *values: python(values),
            lambda *values: least(values),
            f"(CASE WHEN {{a}} {sql} {{b}} THEN {{a}} WHEN NOT ({{a}} {sql} {{b}}) THEN {{b}} END)",
        ),
        Operation(
            f"{name}_list",
            (ListType(NUMBER),),
            None,
            lambda items: python(items, default=None),
            least,
            f"list_{name}({{a}})",
            True,
            every_element,
        ),
    )


# fmt: off
_ALL = (
    Function(
        "size", (
            Operation("size", (STRING,), INTEGER, len, len, "length({a})"),
            Operation("size_list", (ANY_LIST,), INTEGER, len, len, "len({a})"),
        ),
        "the number of characters (code points) of a string, or of elements of a list", "size('naïve') == 5",
        method=True, other_names=("len", "length", "count"),
    ),
    Function(
        "startsWith",
        _asks("startsWith", str.startswith, lambda a, b: a[: len(b)] == b, "starts_with", compared),
        "whether the string begins with the other", "'kimi-k2'.startsWith('kimi')",
        method=True, other_names=("startswith",),
    ),
    Function(
        "endsWith",
        _asks("endsWith", str.endswith, lambda a, b: a[max(0, len(a) - len(b)) :] == b, "ends_with", compared),
        "whether the string ends with the other", "'kimi-k2:1t-cloud'.endsWith('-cloud')",
        method=True, other_names=("endswith",),
    ),
    Function(
        "contains",
        _asks("contains", lambda a, b: b in a, lambda a, b: a.find(b) != -1, "contains", _found),
        "whether the string holds the other", "'glm-4.5'.contains('4.5')",
        method=True, other_names=("includes",),
    ),
    Function(
        "matches",
        _asks("matches", _matches, lambda a, b: compile_pattern(b)(a), "regexp_matches", _searched, compile_pattern),
        "whether the RE2 pattern, a literal, matches anywhere in the string", r"'v12'.matches(r'^v\d+$')",
        method=True, other_names=("match", "search"),
    ),
    # Bytes know no letters but those of ASCII, and UTF-8 keeps those apart from all others.
    Function(
        "lowerAscii",
        (Operation("lowerAscii", (STRING,), STRING, lambda value: value.encode().lower().decode(),
                   lambda value: _exchanged(value, _CAPITALS, _SMALL),
                   f"translate({{a}}, '{ascii_uppercase}', '{ascii_lowercase}')",
                   steps=_every_character, size=_as_long),),
        "the string with `A` to `Z` in lower case", "'GLM-É'.lowerAscii() == 'glm-É'",
        method=True, other_names=("lower", "toLowerCase"),
    ),
    Function(
        "upperAscii",
        (Operation("upperAscii", (STRING,), STRING, lambda value: value.encode().upper().decode(),
                   lambda value: _exchanged(value, _SMALL, _CAPITALS),
                   f"translate({{a}}, '{ascii_lowercase}', '{ascii_uppercase}')",
                   steps=_every_character, size=_as_long),),
        "the string with `a` to `z` in upper case", "'ß1a'.upperAscii() == 'ß1A'",
        method=True, other_names=("upper",),
    ),
    Function(
        "bool", (
            _itself(BOOLEAN),
            Operation("boolean_of_string", (STRING,), BOOLEAN, _boolean_of_string, _truth,
                      f"MAP {{{{{_BOOLEAN_IN_SQL}}}}}[{{a}}]", True),
        ),
        "a boolean from one of the strings `1 t true True TRUE 0 f false False FALSE`; unknown for others",
        "bool('true')", other_names=("boolean",),
    ),
    Function(
        "int", (
            _itself(INTEGER),
            Operation("integer_of_number", (NUMBER,), INTEGER, _integer_of_number, _truncated, _WHOLE, True),
            Operation("integer_of_string", (STRING,), INTEGER, _integer_of_string, _read_integer, _READ_INTEGER,
                      True, _half),
        ),
        "an integer: a number without its fraction, or a string of decimal digits; "
        "unknown when out of range or not a number",
        "int(-7.9) == -7",
    ),
    Function(
        "double", (
            WIDEN,
            _itself(NUMBER),
            Operation("number_of_string", (STRING,), NUMBER, _number_of_string, _read_number, _READ_NUMBER,
                      True, _half, overflows=True),
        ),
        "a number from an integer, or from a string in decimal notation; unknown for other strings",
        "double('2.5e3') == 2500.0", other_names=("float",),
    ),
    Function(
        "string", (
            _itself(STRING),
            Operation("string_of_boolean", (BOOLEAN,), STRING, lambda value: "true" if value else "false",
                      lambda value: ["false", "true"][value], _AS_TEXT, size=_short_text),
            Operation("string_of_integer", (INTEGER,), STRING, str, _digits_of, _AS_TEXT, size=_short_text),
            Operation("string_of_number", (NUMBER,), STRING, repr, _shortest, _AS_TEXT, size=_short_text),
        ),
        "the value as text; a number in the shortest form that reads back as the same number", "string(0.25) == '0.25'",
        other_names=("str",),
    ),
    Function(
        "abs", (
            Operation("abs_integer", (INTEGER,), INTEGER, lambda a: int64(abs(a)), _without_sign,
                      in_64_bits("abs(CAST({a} AS HUGEINT))"), True),
            Operation("abs_number", (NUMBER,), NUMBER, abs, _without_sign, "abs({A})"),
        ),
        "the value without its sign", "abs(-3) == 3",
    ),
    Function(
        "has", (), "whether the feature has a value (a default counts); never unknown", "has(urgent)",
        other_names=("defined", "isset"), takes="a feature's name", gives="boolean",
    ),
    Function(
        "min", _extreme("min", min, 0, "<="),
        "the smallest of two or more numbers, or of one list of numbers; unknown for an empty list",
        "min(3, 1, 2) == 1",
        variadic=True, takes="two or more numbers, or an array of them", gives="number",
    ),
    Function(
        "max", _extreme("max", max, -1, ">="),
        "the largest of two or more numbers, or of one list of numbers; unknown for an empty list", "max([1, 4]) == 4",
        variadic=True, takes="two or more numbers, or an array of them", gives="number",
    ),
    Function(
        "dyn", (_itself(ANY),), "its argument: CEL's way to defer types, without effect here", "dyn(1) == 1.0",
        takes="anything", gives="the same",
    ),
)
# fmt: on

FUNCTIONS = {function.name: function for function in _ALL}
"""The functions by name. `has` is a node of its own, as it asks about a name and not about a value."""

MACROS = {
    name: Function(
        name,
        (),
        f"whether the condition is true for {which} element of the list",
        example,
        other_names=others,
    )
    for name, which, example, others in (
        ("exists", "an", "sizes.exists(n, n > 2)", ("any",)),
        ("all", "every", "sizes.all(n, n > 0)", ()),
    )
}
"""The macros, which are written as methods of a list."""
