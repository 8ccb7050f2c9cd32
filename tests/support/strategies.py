"""Hypothesis strategies for the project's own objects."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from routewright.engine.condition import BOOLEAN, INTEGER, NUMBER, STRING, Declaration, ListType, Type
from routewright.engine.condition.syntax.expr import (
    Binary,
    Call,
    Conditional,
    Expr,
    Index,
    ListDisplay,
    Literal,
    Logical,
    Macro,
    Name,
    Unary,
)
from routewright.engine.report.problems import Span

__all__ = ["SCOPE", "bindings", "condition_texts", "conditions", "expressions", "logic", "macros", "values"]

_NOWHERE = Span(0, 0)
_SCALARS = (BOOLEAN, INTEGER, NUMBER, STRING)

SCOPE = {
    "flag": Declaration(BOOLEAN, may_be_unknown=False),
    "urgent": Declaration(BOOLEAN),
    "vision": Declaration(BOOLEAN),
    "count": Declaration(INTEGER, may_be_unknown=False),
    "tokens": Declaration(INTEGER),
    "score": Declaration(NUMBER, may_be_unknown=False),
    "complexity": Declaration(NUMBER),
    "kind": Declaration(STRING, may_be_unknown=False),
    "model.location": Declaration(STRING, kind="model"),
    "tags": Declaration(ListType(STRING)),
    "sizes": Declaration(ListType(INTEGER), may_be_unknown=False),
    "grades": Declaration(ListType(NUMBER)),
    "switches": Declaration(ListType(BOOLEAN)),
    "rows": Declaration(ListType(ListType(INTEGER))),
}
"""Names of every type: of most, one that always has a value and one that may have none."""

_INTEGERS = st.integers(-5, 5) | st.integers(-(2**53) + 1, 2**53 - 1)
_LITERAL_INTEGERS = _INTEGERS | st.sampled_from([-(2**63), 2**63 - 1, 2**62, -(2**62)])
_NUMBERS = (
    st.sampled_from([0.0, 0.5, -1.5, 2.0, 1e308, -1e308, 5e-324, 9.007199254740993e15])
    | st.floats(allow_nan=False, allow_infinity=False)
).map(lambda x: x + 0.0)
"""Without -0.0, which the engine does not know: it reads it, and binds it, as 0.0."""

_STRINGS = st.text(st.sampled_from("ab1.-'\\\n é🐱\0"), max_size=4) | st.sampled_from(
    ["12", "-7.5", "1e3", "true", '";', "$$--", "/*{0}%_?", "\U00010000\ufeff\u00a0"]
)


def values(type_: Type) -> SearchStrategy[object]:
    """Values as the engine keeps them."""
    if isinstance(type_, ListType):
        return st.lists(values(type_.element), max_size=3).map(tuple)
    by_type = {
        BOOLEAN: st.booleans(),
        INTEGER: _INTEGERS,
        NUMBER: _NUMBERS,
        STRING: _STRINGS,
    }
    return by_type[type_]


def bindings() -> SearchStrategy[dict[str, object]]:
    """A value for every name of SCOPE, None for some of those that may be unknown."""
    return st.fixed_dictionaries(
        {
            name: st.none() | values(declaration.type)
            if declaration.may_be_unknown
            else values(declaration.type)
            for name, declaration in SCOPE.items()
        }
    )


_Variables = tuple[tuple[str, Type], ...]


def conditions(depth: int = 3) -> SearchStrategy[Expr]:
    """Parsed boolean expressions over SCOPE that type-check."""
    return _expression(BOOLEAN, depth, ())


def expressions(depth: int = 3) -> SearchStrategy[Expr]:
    """Parsed expressions of any type over SCOPE that type-check."""
    return st.one_of(
        [_expression(type_, depth, ()) for type_ in (*_SCALARS, ListType(INTEGER), ListType(STRING))]
    )


@st.composite
def logic(draw: st.DrawFn, depth: int = 3) -> Expr:
    """Parsed conditions that are mostly `&&`, `||`, `!` and `?:` over SCOPE."""
    kind = draw(st.integers(0, 7)) if depth else 0
    if kind == 0:
        return draw(_expression(BOOLEAN, 0, ()) | _expression(BOOLEAN, 1, ()))
    if kind == 1:
        return Unary("!", draw(logic(depth - 1)), _NOWHERE)
    if kind == 2:
        return Conditional(draw(logic(depth - 1)), draw(logic(depth - 1)), draw(logic(depth - 1)), _NOWHERE)
    parts = draw(st.lists(logic(depth - 1), min_size=2, max_size=5))
    return Logical(draw(st.sampled_from(["&&", "||"])), tuple(parts), _NOWHERE)


def _evenly(choices: list[SearchStrategy[Expr]]) -> SearchStrategy[Expr]:
    """One of the choices, each as likely; `one_of` would let those with many choices of their own crowd out
    the rest."""
    return st.sampled_from(range(len(choices))).flatmap(choices.__getitem__)


def _call(function: str, *args: Expr, method: bool = False) -> Expr:
    return Call(function, args, method, _NOWHERE, _NOWHERE)


@cache
def _leaf(type_: Type, variables: _Variables) -> SearchStrategy[Expr]:
    names = [name for name, declaration in SCOPE.items() if declaration.type == type_]
    names += [name for name, variable in variables if variable == type_]
    leaves: list[SearchStrategy[Expr]] = []
    if names:
        leaves.append(st.sampled_from(names).map(lambda name: Name(name, _NOWHERE)))
    if isinstance(type_, ListType):
        items = st.lists(_leaf(type_.element, variables), min_size=1, max_size=3)
        leaves.append(items.map(lambda parts: ListDisplay(tuple(parts), _NOWHERE)))
        return _evenly(leaves)
    literals: dict[
        Type, SearchStrategy[bool] | SearchStrategy[int] | SearchStrategy[float] | SearchStrategy[str]
    ]
    literals = {BOOLEAN: st.booleans(), INTEGER: _LITERAL_INTEGERS, NUMBER: _NUMBERS, STRING: _STRINGS}
    # Names twice, as conditions are mostly about them.
    return _evenly([*leaves, *leaves, literals[type_].map(lambda value: Literal(value, _NOWHERE))])


@cache
def _expression(type_: Type, depth: int, variables: _Variables) -> SearchStrategy[Expr]:
    leaf = _leaf(type_, variables)
    if depth <= 0:
        return leaf

    def of(wanted: Type) -> SearchStrategy[Expr]:
        return st.deferred(lambda: _expression(wanted, depth - 1, variables))

    choices: list[SearchStrategy[Expr]] = [
        leaf,
        st.builds(lambda c, a, b: Conditional(c, a, b, _NOWHERE), of(BOOLEAN), of(type_), of(type_)),
        st.builds(lambda xs, i: Index(xs, i, _NOWHERE), of(ListType(type_)), of(INTEGER))
        if not isinstance(type_, ListType)
        else leaf,
    ]
    if type_ == BOOLEAN:
        choices += _booleans(of, depth, variables)
    elif type_ == STRING:
        choices += [
            st.builds(lambda a, b: Binary("+", a, b, _NOWHERE), of(STRING), of(STRING)),
            st.builds(
                lambda f, a: _call(f, a, method=True),
                st.sampled_from(["lowerAscii", "upperAscii"]),
                of(STRING),
            ),
            st.one_of(list(map(of, _SCALARS))).map(lambda a: _call("string", a)),
        ]
    elif isinstance(type_, ListType):
        choices += [
            st.lists(of(type_.element), max_size=3, min_size=1).map(
                lambda xs: ListDisplay(tuple(xs), _NOWHERE)
            ),
            st.builds(lambda a, b: Binary("+", a, b, _NOWHERE), of(type_), of(type_)),
        ]
    else:
        choices += _numbers(of, type_)
    return _evenly(choices)


def _numbers(of: Callable[[Type], SearchStrategy[Expr]], type_: Type) -> list[SearchStrategy[Expr]]:
    operand = of(INTEGER) if type_ == INTEGER else st.one_of(of(NUMBER), of(NUMBER), of(INTEGER))
    # One operand has the type itself, so that the result has it.
    own = of(type_)
    signs = ["+", "-", "*", "/", "%"] if type_ == INTEGER else ["+", "-", "*", "/"]
    choices: list[SearchStrategy[Expr]] = [
        st.builds(lambda op, a, b: Binary(op, a, b, _NOWHERE), st.sampled_from(signs), own, operand),
        st.builds(lambda op, a, b: Binary(op, a, b, _NOWHERE), st.sampled_from(signs), operand, own),
        own.map(lambda a: Unary("-", a, _NOWHERE)),
        own.map(lambda a: _call("abs", a)),
        st.builds(lambda f, a, b: _call(f, a, b), st.sampled_from(["min", "max"]), own, operand),
        st.builds(lambda f, a: _call(f, a), st.sampled_from(["min", "max"]), of(ListType(type_))),
        st.one_of(of(STRING), of(NUMBER), of(INTEGER)).map(
            lambda a: _call("int" if type_ == INTEGER else "double", a)
        ),
    ]
    if type_ == INTEGER:
        sized = st.one_of(of(STRING), of(ListType(STRING)), of(ListType(NUMBER)))
        choices.append(st.builds(lambda a, m: _call("size", a, method=m), sized, st.booleans()))
    return choices


_ELEMENTS: tuple[Type, ...] = (STRING, INTEGER, NUMBER, ListType(INTEGER))


def macros(depth: int = 2) -> SearchStrategy[Expr]:
    """Parsed `exists` and `all` over SCOPE that type-check."""
    return st.one_of([_macro(type_, depth, ()) for type_ in _ELEMENTS])


def _macro(element: Type, depth: int, variables: _Variables) -> SearchStrategy[Expr]:
    name = f"v{len(variables)}"
    items = st.deferred(lambda: _expression(ListType(element), depth - 1, variables))

    def macro(indexed: bool) -> SearchStrategy[Expr]:
        named: _Variables = (("at" + name, INTEGER), (name, element)) if indexed else ((name, element),)
        body = st.deferred(lambda: _expression(BOOLEAN, depth - 1, (*variables, *named)))
        names = tuple(Name(variable, _NOWHERE) for variable, _ in named)
        return st.builds(
            lambda kind, items, body: Macro(kind, items, names, body, _NOWHERE),
            st.sampled_from(["exists", "all"]),
            items,
            body,
        )

    return st.one_of(macro(False), macro(True))


def _booleans(
    of: Callable[[Type], SearchStrategy[Expr]], depth: int, variables: _Variables
) -> list[SearchStrategy[Expr]]:
    parts = st.lists(of(BOOLEAN), min_size=2, max_size=4)
    ordered = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
    numeric = st.one_of(of(INTEGER), of(NUMBER))
    pairs = st.one_of([st.tuples(of(type_), of(type_)) for type_ in _SCALARS] + [st.tuples(numeric, numeric)])
    lists = st.one_of([st.tuples(of(ListType(t)), of(ListType(t))) for t in _SCALARS])
    members = st.one_of(
        [st.tuples(of(t), of(ListType(t))) for t in _SCALARS] + [st.tuples(of(INTEGER), of(ListType(NUMBER)))]
    )
    methods = st.sampled_from(["startsWith", "endsWith", "contains"])
    patterns = st.sampled_from(
        ["a", "^b", r"\d+$", "", "(?i)A.*é", "a.*b", "^.'$", r"[^\w\s]\x00", r"\\", r"\pL", "(?<x>a)"]
    )

    choices: list[SearchStrategy[Expr]] = [
        st.builds(lambda op, xs: Logical(op, tuple(xs), _NOWHERE), st.sampled_from(["&&", "||"]), parts),
        st.builds(lambda op, xs: Logical(op, tuple(xs), _NOWHERE), st.sampled_from(["&&", "||"]), parts),
        of(BOOLEAN).map(lambda a: Unary("!", a, _NOWHERE)),
        st.builds(lambda op, ab: Binary(op, ab[0], ab[1], _NOWHERE), ordered, pairs),
        st.builds(lambda op, ab: Binary(op, ab[0], ab[1], _NOWHERE), st.sampled_from(["==", "!="]), lists),
        members.map(lambda ab: Binary("in", ab[0], ab[1], _NOWHERE)),
        st.builds(
            lambda f, a, b, m: _call(f, a, b, method=m), methods, of(STRING), of(STRING), st.booleans()
        ),
        st.builds(lambda a, p: _call("matches", a, Literal(p, _NOWHERE), method=True), of(STRING), patterns),
        st.sampled_from(sorted(SCOPE)).map(lambda name: _call("has", Name(name, _NOWHERE))),
    ]
    if len(variables) < 3:
        choices += [_macro(type_, depth, variables) for type_ in _ELEMENTS]
    return choices


_WORDS = (
    *SCOPE,
    *"true false null and or not in has size min max matches exists all int".split(),
    *"x v __class__ lambda if else".split(),
    *"&& || ! == != < <= > >= + - * / % ? : ( ) [ ] , . = & | { } // #".split(),
    *(
        "1",
        "0",
        "-9223372036854775808",
        "0x1F",
        "1.5",
        "1e3",
        "'a'",
        '"b"',
        "r'\\d'",
        "'''c'''",
        "[1, 2]",
        "\n",
        "🐱",
    ),
)


def condition_texts() -> SearchStrategy[str]:
    """Texts that look like conditions, most of them wrong."""
    soup = st.lists(st.sampled_from(_WORDS), max_size=15).map(" ".join)
    glued = st.lists(st.sampled_from(_WORDS), max_size=8).map("".join)
    return st.one_of(soup, glued, st.text(max_size=40))
