"""What holds for every condition and every binding."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from math import trunc

from hypothesis import given
from hypothesis import strategies as st
from support.strategies import SCOPE, bindings, condition_texts, conditions, expressions, logic, macros

from routewright.engine.condition import (
    UNKNOWN,
    CheckedExpr,
    Constant,
    atoms,
    check_expr,
    compile_function,
    evaluate,
    evaluate_reference,
    failing_parts,
    parse_expr,
    render_expr,
    specialise,
    trace,
)
from routewright.engine.condition.syntax.expr import Expr
from routewright.engine.report.errors import RoutewrightError

NAMES = tuple(SCOPE)


def folded_value(checked: CheckedExpr) -> object:
    """The value of an expression without names, as folding computes it."""
    folded = specialise(checked, {}).expr
    assert isinstance(folded, Constant)
    return folded.value


def run_compiled(checked: CheckedExpr, features: dict[str, object]) -> object:
    (value,) = compile_function([checked], NAMES)([features[name] for name in NAMES])
    return UNKNOWN if value is None else value


def exactly(value: object) -> str:
    """Values with their types: 1, 1.0 and True are three."""
    return repr(value)


@given(expressions() | conditions() | macros(), st.lists(bindings(), min_size=1, max_size=6))
def test_reference_and_compiled_function_agree(expr: Expr, tasks: list[dict[str, object]]) -> None:
    checked = check_expr(expr, SCOPE, expected=None)
    for features in tasks:
        value = evaluate_reference(checked, features)
        assert exactly(run_compiled(checked, features)) == exactly(value), render_expr(expr)
        assert checked.may_be_unknown or value is not UNKNOWN


@given(logic(), st.lists(bindings(), min_size=4, max_size=8))
def test_targets_agree_on_three_valued_logic(expr: Expr, tasks: list[dict[str, object]]) -> None:
    checked = check_expr(expr, SCOPE)
    for features in tasks:
        value = evaluate_reference(checked, features)
        assert exactly(run_compiled(checked, features)) == exactly(value), render_expr(expr)
        known = {name: value for name, value in features.items() if value is not None}
        assert exactly(evaluate_reference(specialise(checked, known), features)) == exactly(value)
        assert checked.may_be_unknown or value is not UNKNOWN


INT64 = st.integers(-7, 7) | st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1])


def in_integers(op: str, a: int, b: int) -> int | None:
    """The result without a bound, None for a division by zero and the one remainder that overflows."""
    if op in "/%" and b == 0 or op == "%" and (a, b) == (-(2**63), -1):
        return None
    quotient = trunc(Fraction(a, b)) if op in "/%" else 0
    return {"+": a + b, "-": a - b, "*": a * b, "/": quotient, "%": a - b * quotient}[op]


@given(st.sampled_from("+-*/%"), INT64, INT64)
def test_integer_arithmetic_is_that_of_64_bits(op: str, a: int, b: int) -> None:
    exact = in_integers(op, a, b)
    wanted = exact if exact is not None and -(2**63) <= exact < 2**63 else UNKNOWN
    checked = check_expr(parse_expr(f"{a} {op} {b}"), {}, expected=None)
    for value in (
        evaluate_reference(checked, {}),
        run_compiled(checked, dict.fromkeys(NAMES)),
        folded_value(checked),
    ):
        assert exactly(value) == exactly(wanted)


@given(st.lists(conditions(2), min_size=2, max_size=6), bindings())
def test_conditions_in_one_function_do_not_disturb_one_another(
    exprs: list[Expr], features: dict[str, object]
) -> None:
    checked = [check_expr(expr, SCOPE) for expr in exprs]
    together = compile_function(checked, NAMES)([features[name] for name in NAMES])
    alone = [run_compiled(one, features) for one in checked]
    assert ["UNKNOWN" if value is None else repr(value) for value in together] == list(map(exactly, alone))


@given(expressions() | macros(), bindings(), st.sets(st.sampled_from(NAMES)))
def test_specialising_changes_no_value(expr: Expr, features: dict[str, object], chosen: set[str]) -> None:
    checked = check_expr(expr, SCOPE, expected=None)
    value = exactly(evaluate_reference(checked, features))
    part = specialise(checked, {name: features[name] for name in chosen})
    assert not part.names & chosen
    assert exactly(evaluate_reference(part, features)) == value
    assert exactly(run_compiled(part, features)) == value
    assert exactly(folded_value(specialise(checked, features))) == value
    if not (folded := specialise(checked, {})).names:
        assert exactly(folded_value(folded)) == value


@given(expressions())
def test_rendered_expressions_parse_to_the_same_expression(expr: Expr) -> None:
    text = render_expr(expr)
    assert repr(parse_expr(text)) == repr(expr)
    assert render_expr(parse_expr(text)) == text


@given(conditions(), bindings())
def test_failing_parts_and_trace_tell_the_value(expr: Expr, features: dict[str, object]) -> None:
    checked = check_expr(expr, SCOPE)
    value = evaluate_reference(checked, features)
    assert exactly(trace(checked, features).value) == exactly(value)
    assert bool(failing_parts(checked, features)) == (value is not True)
    for atom in atoms(checked):
        evaluate_reference(atom, features)


@given(condition_texts(), bindings())
def test_any_text_gives_a_value_or_our_error(text: str, features: dict[str, object]) -> None:
    for schema in (None, SCOPE):
        try:
            evaluate(text, features, schema)
        except RoutewrightError as error:
            assert str(error)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["any", "all", "none", "x"]), inner, max_size=2)
    ),
    max_leaves=10,
)


@given(_JSON, st.dictionaries(st.sampled_from(["x", "y"]), _JSON, max_size=2))
def test_any_structure_gives_a_value_or_our_error(condition: object, features: dict[str, object]) -> None:
    for text in (condition, "has(x) && x == y"):
        try:
            evaluate(text, features)
        except RoutewrightError as error:
            assert str(error)


@given(expressions(), bindings())
def test_features_are_never_changed(expr: Expr, features: dict[str, object]) -> None:
    given_features: dict[str, object] = json.loads(json.dumps(features))  # tuples become lists
    before = copy.deepcopy(given_features)
    evaluate(render_expr(expr), given_features, SCOPE)
    assert exactly(given_features) == exactly(before)


def test_a_branch_that_is_unknown_leaves_the_other() -> None:
    checked = check_expr(parse_expr("urgent ? flag : vision"), SCOPE, expected=None)
    part = specialise(checked, {"flag": None})
    features: dict[str, object] = dict.fromkeys(NAMES) | {"urgent": False, "vision": True}
    assert evaluate_reference(part, features) is True
