"""What becomes of values from outside: taken, made uniform, or refused with a reason."""

from __future__ import annotations

import copy
import pickle

import pytest

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    UNKNOWN,
    Declaration,
    ListType,
    Type,
    ValueRefused,
    check_value,
    evaluate,
    infer_declarations,
)
from routewright.engine.report.errors import ConditionError, FeatureError


def test_unknown_is_one_object_without_a_truth() -> None:
    assert repr(UNKNOWN) == "UNKNOWN"
    assert copy.copy(UNKNOWN) is copy.deepcopy(UNKNOWN) is pickle.loads(pickle.dumps(UNKNOWN)) is UNKNOWN
    with pytest.raises(TypeError, match="neither true nor false"):
        bool(UNKNOWN)


@pytest.mark.parametrize(
    ("value", "type_", "kept"),
    [
        (True, BOOLEAN, True),
        (2**53 - 1, INTEGER, 2**53 - 1),
        (3, NUMBER, 3.0),
        (-0.0, NUMBER, 0.0),
        ("é", STRING, "é"),
        ([1, 2], ListType(INTEGER), (1, 2)),
        ([1, 2.5], ListType(NUMBER), (1.0, 2.5)),
        ([["a"], []], ListType(ListType(STRING)), (("a",), ())),
    ],
)
def test_value_is_kept_in_one_form(value: object, type_: Type, kept: object) -> None:
    assert repr(check_value(value, type_)) == repr(kept)


@pytest.mark.parametrize(
    ("value", "type_", "message", "help"),
    [
        (1, BOOLEAN, "expected a boolean, got an integer", "write `true`"),
        ("true", BOOLEAN, "expected a boolean, got a string", "write `true` without quotes"),
        ("yes", BOOLEAN, "expected a boolean, got a string", "write `true`"),
        ("Off", BOOLEAN, "expected a boolean, got a string", "write `false`"),
        (True, INTEGER, "expected an integer, got a boolean", None),
        (
            2**53,
            INTEGER,
            "the integer is too large",
            "integers reach from -9007199254740991 to 9007199254740991",
        ),
        (3.0, INTEGER, "expected an integer, got a number", "write `3`"),
        (3.5, INTEGER, "expected an integer, got a number", None),
        ("5", INTEGER, "expected an integer, got a string", "write the number without quotes"),
        (float("nan"), NUMBER, "`nan` is not a finite number", "leave the feature out if it has no value"),
        (float("-inf"), INTEGER, "`-inf` is not a finite number", "leave the feature out if it has no value"),
        (
            2**60,
            NUMBER,
            "the integer is too large",
            "integers reach from -9007199254740991 to 9007199254740991",
        ),
        (5, STRING, "expected a string, got an integer", None),
        ("\ud800", STRING, "the string holds half of a surrogate pair", None),
        ("a" * 500_001, STRING, "the string has more than 500000 characters", None),
        (
            "a",
            ListType(STRING),
            "expected an array of string, got a string",
            "an array of one is written `[…]`",
        ),
        (["a", None], ListType(STRING), "element 1: expected a value, got nothing", None),
        ([["a"]], ListType(STRING), "element 0: expected a string, got an array", None),
        ([0] * 10_001, ListType(INTEGER), "the array has more than 10000 elements", None),
        ({"a": 1}, STRING, "expected a string, got a value of type dict", None),
        (None, STRING, "expected a value, got nothing", None),
    ],
)
def test_value_is_refused_with_a_reason(value: object, type_: Type, message: str, help: str | None) -> None:
    with pytest.raises(ValueRefused) as raised:
        check_value(value, type_)
    assert (str(raised.value), raised.value.help) == (message, help)


def test_enum_binds_values_and_elements() -> None:
    kind = Declaration(STRING, enum=("chat", "embedding"))
    assert check_value("chat", kind) == "chat"
    with pytest.raises(ValueRefused) as raised:
        check_value("embeding", kind)
    assert str(raised.value) == "`'embeding'` is not one of the allowed values"
    assert raised.value.help == "did you mean `'embedding'`? allowed: 'chat', 'embedding'"
    with pytest.raises(ValueRefused):
        check_value(["chat", "x"], Declaration(ListType(STRING), enum=("chat",)))


def test_types_are_inferred_from_values() -> None:
    declarations = infer_declarations(
        {"a": True, "b": 1, "c": 1.5, "d": "x", "e": [1, 2.5], "f": None, "g": []}
    )
    assert {name: str(declaration.type) for name, declaration in declarations.items()} == {
        "a": "boolean",
        "b": "integer",
        "c": "number",
        "d": "string",
        "e": "array of number",
        "f": "nothing",
        "g": "array",
    }
    assert [name for name, declaration in declarations.items() if declaration.may_be_unknown] == ["f"]


@pytest.mark.parametrize("value", [float("nan"), 2**53, {"a": 1}, [1, "a"], [None], object(), b"a", "\udfff"])
def test_evaluate_refuses_values_that_are_none(value: object) -> None:
    with pytest.raises(FeatureError) as raised:
        evaluate("x == x", {"x": value})
    assert raised.value.feature == "x"
    assert evaluate("true", {"x": value}) is True  # what a condition does not use is not looked at


def test_absent_names_are_errors_unless_asked_for() -> None:
    with pytest.raises(ConditionError, match="unknown feature `x`"):
        evaluate("x > 3", {})
    assert evaluate("has(x) && x > 3", {}) is False
    assert evaluate("x > 3", {}, {"x": Declaration(INTEGER)}) is UNKNOWN


def test_what_is_always_unknown_fits_every_type() -> None:
    for condition in (
        "x",
        "!x",
        "x > 3",
        "x + 1",
        "x.startsWith('a')",
        "x.exists(y, y > 1)",
        "x[0] == 'a'",
        "-x",
    ):
        assert evaluate(condition, {"x": None}) is UNKNOWN
