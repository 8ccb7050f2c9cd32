"""What is told about a condition: the values of its parts, why it is not true, what it depends on."""

from __future__ import annotations

import pytest

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NOT_CONSTANT,
    NUMBER,
    STRING,
    UNKNOWN,
    CheckedExpr,
    Declaration,
    ListType,
    atoms,
    check_expr,
    constant_value,
    evaluate,
    failing_parts,
    parse_condition,
    render_expr,
    specialise,
    thresholds,
    trace,
)
from routewright.engine.report.errors import ConditionError, FeatureError
from routewright.engine.report.problems import Span

SCOPE = {
    "moe": Declaration(BOOLEAN, may_be_unknown=False),
    "urgent": Declaration(BOOLEAN),
    "tokens": Declaration(INTEGER),
    "score": Declaration(NUMBER),
    "kind": Declaration(STRING),
    "tags": Declaration(ListType(STRING)),
    "model.location": Declaration(STRING, kind="model"),
}


def checked(condition: object) -> CheckedExpr:
    return check_expr(parse_condition(condition), SCOPE, expected=None)


def parts(condition: object, **features: object) -> list[tuple[str, object, int]]:
    return [(part.text, part.value, part.depth) for part in trace(checked(condition), features).parts]


def failing(condition: object, **features: object) -> list[tuple[str, object]]:
    return [(part.text, part.value) for part in failing_parts(checked(condition), features)]


def test_trace_gives_every_part_its_value_also_where_others_decide() -> None:
    assert parts("tokens > 1000 || moe && urgent", tokens=5000, moe=False) == [
        ("tokens > 1000 || moe && urgent", True, 0),
        ("tokens > 1000", True, 1),
        ("tokens", 5000, 2),
        ("moe && urgent", False, 1),
        ("moe", False, 2),
        ("urgent", UNKNOWN, 2),
    ]


def test_trace_leaves_out_literals_widening_and_the_inside_of_macros() -> None:
    assert parts(
        "has(score) && tokens < 2.5 && tags.exists(t, t == kind)", tokens=1, tags=["a"], kind="a"
    ) == [
        ("has(score) && tokens < 2.5 && tags.exists(t, t == kind)", False, 0),
        ("has(score)", False, 1),
        ("score", UNKNOWN, 2),
        ("tokens < 2.5", True, 1),
        ("tokens", 1, 2),
        ("tags.exists(t, t == kind)", True, 1),
        ("tags", ("a",), 2),
    ]


def test_trace_knows_the_place_of_each_part() -> None:
    (whole, inner) = trace(checked("!moe"), {"moe": True}).parts
    assert (whole.span, inner.span) == (Span(0, 4), Span(1, 4))
    spans = [part.span for part in trace(checked({"any": ["moe", "urgent"]}), {"moe": True}).parts]
    assert spans == [Span(0, 1, ("any",)), Span(0, 3, ("any", 0)), Span(0, 6, ("any", 1))]


def test_specialised_names_keep_their_text_in_the_trace() -> None:
    part = specialise(checked("model.location == kind"), {"model.location": "local"})
    assert [(p.text, p.value) for p in trace(part, {"kind": "cloud"}).parts] == [
        ("model.location == kind", False),
        ("model.location", "local"),
        ("kind", "cloud"),
    ]


def test_failing_parts_are_the_smallest_that_decide() -> None:
    assert failing("moe", moe=True) == []
    assert failing("moe && tokens > 5 && urgent", moe=True, tokens=3, urgent=False) == [("tokens > 5", False)]
    assert failing("moe || tokens > 5 || urgent", moe=False, tokens=3) == [
        ("moe", False),
        ("tokens > 5", False),
        ("urgent", UNKNOWN),
    ]
    assert failing("moe && (urgent || tokens > 5)", moe=True, urgent=False, tokens=1) == [
        ("urgent", False),
        ("tokens > 5", False),
    ]
    assert failing("!(moe || urgent)", moe=True, urgent=False) == [("moe", True)]
    assert failing("!(moe && urgent)", moe=True, urgent=True) == [("moe", True), ("urgent", True)]
    assert failing("moe ? urgent : tokens > 5", moe=True, urgent=False) == [("urgent", False)]
    assert failing("urgent ? moe : moe") == [("urgent", UNKNOWN)]
    assert failing("'x' in tags", tags=[]) == [("'x' in tags", False)]


def test_thresholds_are_the_literals_that_names_are_compared_with() -> None:
    condition = (
        "tokens > 1000 && 5 <= tokens || kind in ['a', 'b'] || kind != 'c' || score < 2 || 'x' in tags"
    )
    assert thresholds(checked(condition)) == {"tokens": {1000, 5}, "kind": {"a", "b", "c"}, "score": {2.0}}


def test_atoms_are_the_parts_below_the_logic() -> None:
    condition = {"any": ["moe && !urgent", {"none": ["tokens > 5 ? moe : true"]}]}
    assert [render_expr(atom.source) for atom in atoms(checked(condition))] == [
        "moe",
        "urgent",
        "tokens > 5",
        "moe",
    ]


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("true || moe", True),
        ("moe && 1 > 2", False),
        ("1 / 0 > 0", UNKNOWN),
        ("moe", NOT_CONSTANT),
        ("urgent && 1 / 0 > 0", NOT_CONSTANT),
        ("[1, 2].all(x, x > 0)", True),
        ("has(moe)", True),
        ("has(urgent)", NOT_CONSTANT),
    ],
)
def test_constant_value_is_found_without_any_feature(condition: str, value: object) -> None:
    assert repr(constant_value(checked(condition))) == repr(value)


def test_specialising_leaves_what_still_depends_on_names() -> None:
    whole = checked("model.location == 'local' && (moe || tokens > 5)")
    assert specialise(whole, {"model.location": "cloud"}).names == frozenset()
    assert specialise(whole, {"model.location": "local"}).names == {"moe", "tokens"}
    assert specialise(whole, {"model.location": "local", "moe": True}).names == frozenset()
    with pytest.raises(FeatureError, match="feature `tokens`: expected an integer, got a string"):
        specialise(whole, {"tokens": "many"})


def test_errors_of_evaluate_show_the_line_they_are_on() -> None:
    with pytest.raises(ConditionError) as raised:
        evaluate("true &&\n  tokens >> 3", {"tokens": 1})
    assert str(raised.value).splitlines() == [
        "error[bad-operator]: `>>` is not an operator of conditions",
        "  |   tokens >> 3",
        "  |          ^^",
        "  = help: conditions have no bit operators",
    ]
    with pytest.raises(ConditionError, match=r"\| tokens > 'x'"):
        evaluate({"any": ["true", {"none": ["tokens > 'x'"]}]}, {"tokens": 1})
