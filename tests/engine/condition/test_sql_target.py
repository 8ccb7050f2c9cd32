"""Conditions as SQL: DuckDB gives for each row what the reference interpreter gives for its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.case_runner import load_cases
from support.shipped import ROOT
from support.sql_rows import connection, values_in_sql
from support.strategies import SCOPE, bindings, conditions, expressions, logic, macros

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    UNKNOWN,
    CheckedExpr,
    Constant,
    Declaration,
    Feature,
    ListType,
    NotInSql,
    Sizes,
    SqlColumn,
    Type,
    check_expr,
    compile_function,
    evaluate_reference,
    parse_expr,
    render_expr,
    render_value,
    specialise,
    sql_name,
    sql_of,
    sql_text,
    sql_within,
    walk_typed,
)
from routewright.engine.condition.syntax.expr import Expr
from routewright.engine.policy.compiled import CompiledPolicy

COLUMNS = {
    name: SqlColumn(sql_name(name), declared.type, is_known=not declared.may_be_unknown)
    for name, declared in SCOPE.items()
}
TYPES = {name: declared.type for name, declared in SCOPE.items()}


def exactly(value: object) -> str:
    """Values with their types: 1, 1.0 and True are three."""
    return repr(None if value is UNKNOWN else value)


def checked_over(text: str, **types: Type) -> tuple[CheckedExpr, dict[str, SqlColumn]]:
    scope = {name: Declaration(type_) for name, type_ in types.items()}
    columns = {name: SqlColumn(sql_name(name), type_) for name, type_ in types.items()}
    return check_expr(parse_expr(text), scope, expected=None), columns


@given(expressions(4) | conditions(4) | macros(3) | logic(), st.lists(bindings(), min_size=1, max_size=8))
def test_sql_agrees_with_the_reference(expr: Expr, tasks: list[dict[str, object]]) -> None:
    checked = check_expr(expr, SCOPE, expected=None)
    for one in (checked, specialise(checked, {"urgent": True, "kind": "a", "sizes": (1, 2), "tags": ("b",)})):
        tasks = tasks if one is checked else tasks[:1]
        found = values_in_sql(sql_within(one, COLUMNS), TYPES, tasks)
        for features, (value, holds) in zip(tasks, found, strict=True):
            assert holds is True or value is None
            if holds:
                assert exactly(value) == exactly(evaluate_reference(one, features)), render_expr(expr)


# -- what policies say -------------------------------------------------------------------------------------


def policies() -> list[CompiledPolicy]:
    """The shipped policy and those of the cases."""
    files = [ROOT / "policies" / "hybrid.test.yaml", *sorted((ROOT / "tests" / "cases").glob("*/tests.yaml"))]
    return [load_cases(path)[0] for path in files]


def conditions_of(policy: CompiledPolicy) -> list[CheckedExpr]:
    """All that a policy asks; what constraints and assertions say of models, for each model."""
    of_models = [constraint.require for constraint in policy.constraints]
    of_models += [assertion.condition for assertion in policy.assertions]
    facts = [{**dict.fromkeys(policy.catalog.scope), **model.facts} for model in policy.catalog.models]
    return [*policy.conditions, *(specialise(one, known) for one in of_models for known in facts)]


def rows_for(asked: list[CheckedExpr], types: Mapping[str, Type]) -> list[dict[str, object]]:
    """Random values, those that the conditions name among them."""
    pools: dict[Type, list[object]] = {
        BOOLEAN: [None, True, False],
        INTEGER: [None, 0],
        NUMBER: [None, 0.0],
        STRING: [None, "other"],
    }
    for node in (node for one in asked for node in walk_typed(one.expr)):
        if isinstance(node, Constant) and isinstance(node.value, tuple):
            pools[STRING] += [value for value in node.value if isinstance(value, str)]
        elif isinstance(node, Constant) and node.type in pools:
            near = [node.value - 1, node.value + 1] if type(node.value) in (int, float) else []  # type: ignore[operator]
            pools[node.type] += [node.value, *near]
    random = Random(1)

    def value(type_: Type) -> object:
        if isinstance(type_, ListType):
            known = [one for one in pools[type_.element] if one is not None]
            return random.choice([None, tuple(random.sample(known, min(2, len(known))))])
        found = random.choice(pools[type_])
        return None if found is UNKNOWN else found

    return [{name: value(type_) for name, type_ in types.items()} for _ in range(40)]


def test_every_condition_of_policies_can_be_said_in_sql() -> None:
    count = 0
    for policy in policies():
        asked = conditions_of(policy)
        nodes = [node for one in asked for node in walk_typed(one.expr) if isinstance(node, Feature)]
        types = {node.name: node.type for node in nodes}
        columns = {name: SqlColumn(sql_name(name), type_) for name, type_ in types.items()}
        rows = rows_for(asked, types)
        found = values_in_sql([sql_of(one, columns) for one in asked], types, rows)
        compiled = compile_function(asked, list(types))
        for row, got in zip(rows, found, strict=True):
            assert list(map(exactly, got)) == list(map(exactly, compiled(list(row.values()))))
        count += len(asked)
    assert count > 200


# -- what is given to SQL is never read as SQL -------------------------------------------------------------

_ODD = [
    "'",
    "''",
    '"',
    "\\",
    "\\'",
    "\0",
    "\0'\0",
    "--",
    ";",
    "/*",
    "*/",
    "$$",
    "$1",
    "?",
    "%",
    "{0}",
    "{a}",
    "{",
    "\n",
]


def odd_texts() -> list[str]:
    random = Random(2)
    joined = [
        "".join(random.choices([*_ODD, "a", "\u00a0", "\ufeff", "\U0001f431", "\u202e"], k=6))
        for _ in range(60)
    ]
    return ["", *_ODD, *joined, "'; DROP TABLE decisions; --", "E'\\x27'", "U&'\\0027'"]


def test_texts_stay_texts() -> None:
    texts = odd_texts()
    (literals,) = values_in_sql(list(map(sql_text, texts)), {}, [{}])
    assert list(literals) == texts
    for form in (
        "s == {}",
        "s in [{0}, 'b', {0}]",
        "s.contains({})",
        "[s, {}][1] == s",
        "(s + {0}).endsWith({0})",
    ):
        asked = [checked_over(form.format(render_value(text)), s=STRING) for text in texts]
        (found,) = values_in_sql([sql_of(*one) for one in asked], {"s": STRING}, [{"s": "'"}])
        assert list(found) == [evaluate_reference(one, {"s": "'"}) for one, _ in asked]


def test_names_stay_names() -> None:
    names = [name for name in odd_texts() if "\0" not in name]
    columns = ", ".join(f"{number} AS {sql_name('n' + name)}" for number, name in enumerate(names))
    asked = ", ".join(sql_name("n" + name) for name in names)
    assert connection().execute(f"SELECT {asked} FROM (SELECT {columns})").fetchone() == tuple(
        range(len(names))
    )
    with pytest.raises(ValueError, match="zero byte"):
        sql_name("a\0b")
    with pytest.raises(ValueError, match="are taken"):
        SqlColumn('"local t0"', STRING)


# -- what SQL cannot say -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (r"s.matches('\\p{Lu}')", "`s.matches('\\\\p{Lu}')` cannot be said in SQL: `\\p` asks for"),
        (r"s.matches('[\\PN]x')", "`\\p` asks for a version of Unicode"),
        (r"s.matches('(?<digits>[0-9]+)')", "does not know groups with names"),
    ],
)
def test_what_duckdb_takes_otherwise_is_refused(text: str, reason: str) -> None:
    checked, columns = checked_over(f"b || {text}", s=STRING, b=BOOLEAN)
    with pytest.raises(NotInSql) as refused:
        sql_of(checked, columns)
    assert reason in str(refused.value)
    assert refused.value.span.start == len("b || ")
    rows: list[dict[str, object]] = [{"b": b, "s": "é"} for b in (True, False, None)]
    found = values_in_sql(sql_within(checked, columns), {"b": BOOLEAN, "s": STRING}, rows)
    assert found == [(True, True), (None, False), (None, False)], "true || x is true whatever x is"


@pytest.mark.parametrize(
    "text",
    ["{} ? 1 : 2", "[{}, b] == [true, b]", "[{}].exists(x, x)", "has(s) && {}", "string({}) in ['a', 'b']"],
)
def test_what_duckdb_takes_otherwise_decides_nothing(text: str) -> None:
    checked, columns = checked_over(text.format("s.matches('(?<one>1)')"), s=STRING, b=BOOLEAN)
    known = {name: replace(column, is_known=True) for name, column in columns.items()}
    found = values_in_sql(sql_within(checked, known), {"b": BOOLEAN, "s": STRING}, [{"b": True, "s": "1"}])
    assert found == [(None, False)]


def test_what_long_values_cut_short_is_left_to_the_engine() -> None:
    text = "xs.exists(x, ys.exists(y, x == y))"
    checked, columns = checked_over(text, xs=ListType(STRING), ys=ListType(STRING))
    with pytest.raises(NotInSql, match="it is cut short where it may take too many steps"):
        sql_of(checked, columns)
    few, many, long = ("a", "b"), tuple(map(str, range(9_000))), ("a" * 200_000, "b" * 200_000)
    rows = [{"xs": xs, "ys": ys} for xs in (None, few, many, long) for ys in (few, many, long)]
    found = values_in_sql(
        sql_within(checked, columns), {"xs": ListType(STRING), "ys": ListType(STRING)}, rows
    )
    for row, (value, holds) in zip(rows, found, strict=True):
        assert exactly(value) == exactly(evaluate_reference(checked, row)) if holds else value is None
    assert [holds for _, holds in found] == [True, False, False] + [True] + 8 * [False]
    assert sql_within(checked, columns, sizes=Sizes(100, 1_000)).holds == "true"


def test_names_need_columns_of_their_types() -> None:
    checked, _ = checked_over("n > 1", n=INTEGER)
    with pytest.raises(ValueError, match="needs `n`, which is not among the columns"):
        sql_of(checked, {})
    with pytest.raises(ValueError, match="needs `n` as integer; the column has string"):
        sql_of(checked, {"n": SqlColumn("n", STRING)})


def test_what_is_infinite_in_between_is_unknown() -> None:
    texts = [
        "d * 10.0",
        "d * 10.0 / d",
        "d / (d * 10.0)",
        "d * 10.0 > 1.0",
        "[d * 10.0][0]",
        "string(d * -0.0 - 0.0)",
    ]
    for text in texts:
        checked, columns = checked_over(text, d=NUMBER)
        rows: list[dict[str, object]] = [{"d": 1e308}, {"d": -1e308}, {"d": 0.0}, {"d": 0.25}]
        found = values_in_sql([sql_of(checked, columns)], {"d": NUMBER}, rows)
        assert [exactly(one) for (one,) in found] == [
            exactly(evaluate_reference(checked, row)) for row in rows
        ], text


# -- how it is written -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("b && !c || n > 4096", "((b AND (NOT c)) OR (n > 4096::BIGINT))"),
        ("d >= 0.7 && s in ['a', 'it\\'s']", "((d >= 0.7e0) AND (s IN ('a', 'it''s')))"),
        (
            "d + 1.0 - d > -0.5",
            "((CASE WHEN isfinite(((d + 1.0e0) - d)) THEN ((d + 1.0e0) - d) + 0e0 END) > (-0.5e0))",
        ),
        ("has(b) ? 1 : n", "(CASE WHEN (b IS NOT NULL) THEN 1::BIGINT ELSE n END)"),
    ],
)
def test_sql_is_plain(text: str, sql: str) -> None:
    checked, columns = checked_over(text, b=BOOLEAN, c=BOOLEAN, n=INTEGER, d=NUMBER, s=STRING)
    assert sql_of(checked, {name: replace(one, sql=name) for name, one in columns.items()}) == sql


@pytest.mark.parametrize(
    "nested",
    ["7 / ({})", "-({}) % 7", "({}) + n", "[{}][0]", "min({}, n)", "({}) > 3 ? n : 3", "size(string({}))"],
)
def test_deep_conditions_stay_short(nested: str) -> None:
    lengths = []
    for depth in (10, 20):
        text = "n"
        for _ in range(depth):
            text = nested.format(text)
        checked, columns = checked_over(text, n=INTEGER)
        lengths.append(len(sql_of(checked, columns)))
    assert lengths[1] < 3 * lengths[0]
    rows: list[dict[str, object]] = [{"n": value} for value in (None, 0, 1, -5, 2**53 - 1)]
    found = values_in_sql([sql_of(checked, columns)], {"n": INTEGER}, rows)
    assert [exactly(value) for (value,) in found] == [
        exactly(evaluate_reference(checked, row)) for row in rows
    ]
