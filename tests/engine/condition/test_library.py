"""The library of operators and functions: two accounts of each, without common code, that agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FunctionType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.sizes import EXAMPLES
from support.sql_rows import values_in_sql

from routewright.engine.condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    STRING,
    UNKNOWN,
    Apply,
    Constant,
    Feature,
    ListType,
    SqlColumn,
    Type,
    Typed,
    parse_expr,
    sql_of,
)
from routewright.engine.condition.check.typed import finish
from routewright.engine.condition.library import MEANT, OPERATIONS
from routewright.engine.condition.library.declaration import Operation
from routewright.engine.condition.library.functions import FUNCTIONS, itself
from routewright.engine.condition.library.operators import OPERATORS
from routewright.engine.condition.limits import INT64_MAX, INT64_MIN
from routewright.engine.condition.patterns import compile_pattern
from routewright.engine.condition.types import ANY, ANY_LIST

_SHARED: set[Callable[..., Any]] = {compile_pattern}
"""What both accounts use: RE2 is the meaning of `matches`."""

_NUMBERS = st.floats(allow_nan=False, allow_infinity=False).map(lambda x: x + 0.0) | st.sampled_from(
    [
        0.0,
        1e16,
        9999999999999998.0,
        1e-4,
        0.00009999,
        5e-324,
        2.0**63,
        -(2.0**63),
        9.3e18,
        123456.0,
        1e22,
        1.5e300,
    ]
)
_TEXTS = st.text(max_size=8) | st.from_regex(
    r"[+-]?[0-9]{0,22}(\.[0-9]{0,4})?([eE][+-]?[0-9]{0,4})?", fullmatch=True
)
_SCALARS: dict[Type, st.SearchStrategy[Any]] = {
    BOOLEAN: st.booleans(),
    INTEGER: st.integers(-9, 9) | st.integers(INT64_MIN, INT64_MAX) | st.sampled_from([INT64_MIN, INT64_MAX]),
    NUMBER: _NUMBERS,
    STRING: _TEXTS | st.sampled_from("true,TRUE,f,1,1e9999999999,-0,1_0,١,0x1, 1,nan,".split(",")),
}


def _values(type_: Type) -> st.SearchStrategy[Any]:
    if type_ == ANY:
        return st.sampled_from(list(_SCALARS)).flatmap(_values)
    if type_ == ANY_LIST:
        return st.sampled_from(list(_SCALARS)).flatmap(lambda element: _values(ListType(element)))
    if isinstance(type_, ListType):
        return st.lists(_values(type_.element), max_size=5).map(tuple)
    return _SCALARS[type_]


def _functions(function: Any) -> Iterator[FunctionType]:
    """The functions of the library that `function` may call, itself included."""
    found: set[FunctionType] = set()
    waiting = [function]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, FunctionType) or one in found or not one.__module__.startswith("routewright"):
            continue
        found.add(one)
        waiting += [cell.cell_contents for cell in one.__closure__ or ()]
        waiting += [one.__globals__.get(name) for name in _names(one.__code__)]
    return iter(found)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def test_no_code_of_meaning_is_shared_by_the_two_accounts() -> None:
    compiled = {function for one in OPERATIONS.values() for function in _functions(one.python)}
    reference = {function for one in OPERATIONS.values() for function in _functions(one.reference)}
    assert compiled & reference == _SHARED & compiled
    assert len(compiled) > 10 and len(reference) > 20


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda one: one.name)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_two_accounts_of_an_operation_agree(operation: Operation, data: st.DataObject) -> None:
    values = [data.draw(_values(parameter)) for parameter in operation.parameters]
    if operation.parameters[:2] == (ANY, ANY):  # the checker has found a common type
        values[1] = data.draw(st.just(values[0]) | _values(_type_of(values[0])))
    if operation.with_literal is not None:
        values[-1] = data.draw(st.sampled_from(["a", "[0-9]+", "^$"]))
    value = operation.python(*values)
    assert repr(value) == repr(operation.reference(*values))
    assert value is not None or operation.may_fail


def _in_sql(operation: Operation, types: Sequence[Type], rows: Sequence[tuple[object, ...]]) -> list[object]:
    """What DuckDB gives for each row of operands; the last operand of `matches` is that of the first row."""
    source = parse_expr("a")
    operands: list[Typed] = [
        Feature(name, type_, True, source) for name, type_ in zip("ab", types, strict=False)
    ]
    if operation.with_literal is not None:
        operands[-1] = Constant(rows[0][-1], types[-1], source)
    first = types[0]
    of_elements = operation.result == ANY or operation.name in ("min_list", "max_list")
    own = first.element if of_elements and isinstance(first, ListType) else first
    result = own if operation.result in (None, ANY) else operation.result
    if operation.name == "widen":
        result = NUMBER
    assert result is not None
    columns = {name: SqlColumn(name, type_) for name, type_ in zip("ab", types, strict=False)}
    sql = sql_of(finish(Apply(operation.name, tuple(operands), result, source), source), columns)
    named = [dict(zip("ab", row, strict=False)) for row in rows]
    return [value for (value,) in values_in_sql([sql], dict(zip("ab", types, strict=False)), named)]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda one: one.name)
@settings(max_examples=max(1, EXAMPLES // 36), deadline=None)
@given(data=st.data())
def test_the_account_in_sql_agrees_with_the_others(operation: Operation, data: st.DataObject) -> None:
    chosen = data.draw(st.sampled_from(list(_SCALARS)))
    types = [
        chosen if one == ANY else ListType(chosen) if one == ANY_LIST else one for one in operation.parameters
    ]
    if operation.name in ("min", "max"):
        types = [*types, *types]
    rows = data.draw(st.lists(st.tuples(*map(_values, types)), min_size=30, max_size=60))
    if types[1:] == types[:1]:
        rows += [(first, first) for first, _ in rows[:5]]
    if operation.with_literal is not None:
        pattern = data.draw(st.sampled_from(["a", "[0-9]+", "^$", "^.[^x]", "1.*0"]))
        rows = [(first, pattern) for first, _ in rows]
    for row, value in zip(rows, _in_sql(operation, types, rows), strict=True):
        assert repr(value) == repr(operation.python(*row)), row
    unknown: list[tuple[object, ...]] = [(None, *rows[0][1:])]
    if len(types) == 2 and operation.with_literal is None:
        unknown += [(rows[0][0], None), (None, None)]
    assert _in_sql(operation, types, unknown) == [None] * len(unknown)


def _type_of(value: object) -> Type:
    if isinstance(value, tuple):
        return ListType(_type_of(value[0])) if value else ListType(NUMBER)
    return {bool: BOOLEAN, int: INTEGER, float: NUMBER, str: STRING}[type(value)]


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda one: one.name)
def test_every_operation_that_may_fail_does(operation: Operation) -> None:
    failing: dict[str, tuple[Any, ...]] = {
        "index": ((), 0),
        "add_string": ("a" * 20_000, "b" * 20_000),
        "add_list": ((1,) * 6_000, (1,) * 6_000),
        "negate_integer": (INT64_MIN,),
        "abs_integer": (INT64_MIN,),
        "integer_of_number": (2.0**63,),
        **dict.fromkeys(("add_integer", "multiply_integer"), (INT64_MAX, INT64_MAX)),
        "subtract_integer": (INT64_MIN, 1),
        **dict.fromkeys(("add_number", "multiply_number"), (1.5e308, 1.5e308)),
        "subtract_number": (1.5e308, -1.5e308),
        **dict.fromkeys(("divide_integer", "remainder_integer"), (INT64_MIN, -1)),
        "divide_number": (1.0, 0.0),
        **dict.fromkeys(("integer_of_string", "number_of_string", "boolean_of_string"), ("x",)),
        **dict.fromkeys(("min_list", "max_list"), ((),)),
    }
    assert (operation.name in failing) == operation.may_fail
    if operation.may_fail:
        assert operation.python(*failing[operation.name]) is None
        assert operation.reference(*failing[operation.name]) is None
        types = list(map(_type_of, failing[operation.name]))
        assert _in_sql(operation, types, [failing[operation.name]]) == [None]


def test_names_of_operations_are_different() -> None:
    declared = [one for f in (*OPERATORS.values(), *FUNCTIONS.values()) for one in f.operations]
    distinct = {id(one): one for one in declared if one.python is not itself}
    assert len({one.name for one in distinct.values()}) == len(distinct)
    assert set(MEANT.values()) - {"exists"} <= set(FUNCTIONS)
    assert UNKNOWN is not None
