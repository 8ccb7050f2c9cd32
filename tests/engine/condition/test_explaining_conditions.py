"""What is told about a condition: the values of its parts, why it is not true, what it depends on."""

from __future__ import annotations

import pytest

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    UNKNOWN,
    CheckedExpr,
    Constant,
    Declaration,
    ListType,
    TracedPart,
    atoms,
    check_expr,
    compile_function,
    evaluate,
    evaluate_reference,
    failing_parts,
    parse_condition,
    render_expr,
    specialise,
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
        ("moe", None),
        ("urgent && 1 / 0 > 0", None),
        ("[1, 2].all(x, x > 0)", True),
        ("has(moe)", True),
        ("has(urgent)", None),
    ],
)
def test_what_depends_on_no_feature_is_computed_without_any(condition: str, value: object) -> None:
    folded = specialise(checked(condition), {}).expr
    assert isinstance(folded, Constant) == (value is not None)
    assert not isinstance(folded, Constant) or folded.value is value


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


CROSSED = "files.exists(f, langs.exists(l, f.lowerAscii().endsWith(l)))"


def crossed(text: str) -> CheckedExpr:
    scope = {name: Declaration(ListType(STRING)) for name in ("files", "langs")} | {
        "moe": Declaration(BOOLEAN)
    }
    return check_expr(parse_condition(text), scope)


def test_short_lists_are_not_cut_short() -> None:
    for files, langs in ((15, 1), (15, 300), (1_000, 3)):
        values = {"files": ["Main.PY"] * files, "langs": [".rs"] * langs}
        assert evaluate_reference(crossed(CROSSED), values) is False
    literal = crossed("files.exists(f, ['.rs', '.py'].exists(l, f.lowerAscii().endsWith(l)))")
    assert evaluate_reference(literal, {"files": ["Main.PY"] * 1_000, "langs": None}) is True


def test_part_that_is_cut_short_says_so() -> None:
    long: dict[str, object] = {"files": ["x"] * 5_000, "langs": ["y"] * 5_000, "moe": False}
    text = f"moe || {CROSSED}"
    reason = "cut short: it may take more than 40,000,000 steps"
    assert trace(crossed(text), long).parts == (
        TracedPart(text, Span(0, len(text)), UNKNOWN, 0),
        TracedPart("moe", Span(0, 3), False, 1),
        TracedPart(CROSSED, Span(7, len(text)), UNKNOWN, 1, reason),
    )
    assert failing_parts(crossed(text), long) == (
        TracedPart("moe", Span(0, 3), False, 0),
        TracedPart(CROSSED, Span(7, len(text)), UNKNOWN, 0, reason),
    )
    assert evaluate_reference(crossed(text), {**long, "moe": True}) is True


@pytest.mark.parametrize("names", [("files",), ("langs",), ("files", "langs")])
def test_specialising_keeps_what_is_cut_short(names: tuple[str, ...]) -> None:
    for elements, value in ((5_000, UNKNOWN), (50, False)):
        long: dict[str, object] = {"files": ["x"] * elements, "langs": ["y"] * elements}
        part = specialise(crossed(CROSSED), {name: long[name] for name in names})
        assert part.names <= long.keys() - set(names)
        assert evaluate_reference(part, long) is value
        (compiled,) = compile_function([part], ["files", "langs"])([tuple(map(str, long[n])) for n in long])  # type: ignore[call-overload]
        assert compiled is (None if value is UNKNOWN else value)
