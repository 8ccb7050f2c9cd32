"""Writes checked conditions as SQL of DuckDB, for rows instead of single tasks.

NULL stands for unknown. An expression never raises an error whatever the row holds, so it makes no difference in which
order DuckDB computes its parts, or for how many rows. No list holds NULL; no number is NaN, infinite or -0.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from string import Formatter
from typing import Final, NamedTuple

from ...report import Span
from ..check.typed import (
    Apply,
    Bounded,
    CheckedExpr,
    Constant,
    Elements,
    Feature,
    Has,
    Local,
    Logical,
    Negation,
    Quantifier,
    Ternary,
    Typed,
    may_be_unknown,
    walk_typed,
)
from ..check.work import LARGEST, always_within
from ..library import OPERATIONS
from ..library.declaration import Operation, Sizes
from ..syntax.render import render_expr
from ..types import BOOLEAN, NOTHING, STRING, ListType, Type
from ..values import UNKNOWN
from .sql_text import sql_list, sql_operand, sql_type, sql_value

_SHORT: Final = 120
"""Up to how many characters an operand is written twice; a longer one is computed once and named."""

_OURS: Final = '"local '
"""How the names begin that an expression gives to its own values."""

_OTHER_IN_DUCKDB: Final = {
    re.compile(r"(?<!\\)(?:\\\\)*\\[pP]"): r"`\p` asks for a version of Unicode, and DuckDB has another one",
    re.compile(r"\(\?<"): "DuckDB does not know groups with names",
}
"""What the RE2 in DuckDB takes otherwise than ours, or not at all; more is refused than must be, as in `\\Q…\\E`."""


class NotInSql(ValueError):
    """A part of a condition that SQL cannot say exactly; `span` is its place, `str()` says which and why."""

    def __init__(self, part: Typed, reason: str) -> None:
        super().__init__(f"`{render_expr(part.source)}` cannot be said in SQL: {reason}")
        self.span: Span = part.source.span
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SqlColumn:
    """Where the values of a name are: an SQL expression, cheap enough to be repeated, and their type.

    NULL is unknown, which a column that `is_known` never holds. Values are as `check_value` gives them. Names in `sql`
    do not begin with `local `.
    """

    sql: str
    type: Type
    is_known: bool = False

    def __post_init__(self) -> None:
        if _OURS in self.sql:
            raise ValueError(f"names that begin with {_OURS}are taken: {self.sql}")


class WithinSql(NamedTuple):
    """The SQL of a value, and that of a BOOLEAN, never NULL: for which rows it is the value.

    For other rows, the engine has to be asked.
    """

    value: str
    holds: str


def sql_of(checked: CheckedExpr, columns: Mapping[str, SqlColumn], *, sizes: Sizes = LARGEST) -> str:
    """Return SQL whose value for a row is that of `checked` for the values in `columns`, NULL where it is unknown.

    It can stand anywhere without parentheses of its own, under DuckDB's default settings. No value of a name is larger
    than `sizes`. Raises NotInSql for what SQL cannot say for all rows, and ValueError if `checked` needs a name that is
    not among the columns.
    """
    writer = _Writer(checked.expr, columns, sizes)
    sql = writer.write(checked.expr)
    if writer.bounds:
        part, (_, reason) = next(iter(writer.bounds.items()))
        raise NotInSql(part, reason)
    return sql


def sql_within(
    checked: CheckedExpr, columns: Mapping[str, SqlColumn], *, sizes: Sizes = LARGEST
) -> WithinSql:
    """The same for whatever SQL can say, with the rows for which it can. Raises ValueError as `sql_of` does."""
    writer = _Writer(checked.expr, columns, sizes)
    value = writer.write(checked.expr)
    if not writer.bounds:
        return WithinSql(value, "true")
    within = _and(list(dict.fromkeys(bound for bound, _ in writer.bounds.values())))
    # A part that SQL cannot say is NULL, unknown. A value in spite of that is the value whatever the part is.
    return WithinSql(value, f"({within} OR ({value} IS NOT NULL))")


def _and(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"({' AND '.join(parts)})"


def _is_nothing(expr: Typed) -> bool:
    return expr.type == NOTHING or (isinstance(expr, Constant) and expr.value is UNKNOWN)


def _not_in_duckdb(expr: Typed) -> str | None:
    """Why DuckDB cannot search for a pattern; None for one that it can, and for all else."""
    if not isinstance(expr, Apply) or expr.operation != "matches":
        return None
    pattern = expr.operands[1]
    assert isinstance(pattern, Constant) and isinstance(pattern.value, str)
    return next((reason for other, reason in _OTHER_IN_DUCKDB.items() if other.search(pattern.value)), None)


class _Writer:
    """Writes expressions, each as something that can stand anywhere without parentheses.

    `bounds` has, for each part that SQL cannot say for all rows, the SQL of those for which it can, and the reason. For
    others the part is NULL.
    """

    def __init__(self, expr: Typed, columns: Mapping[str, SqlColumn], sizes: Sizes) -> None:
        self.is_whole = not any(map(_not_in_duckdb, walk_typed(expr)))
        self.columns = columns
        self.known = {name for name, column in columns.items() if column.is_known}
        self.sizes = sizes
        self.judged: dict[int, bool] = {}
        self.bounds: dict[Typed, tuple[str, str]] = {}
        self.named = 0

    def may_be_unknown(self, expr: Typed) -> bool:
        if not self.is_whole:  # what DuckDB cannot search for is NULL, though it never is unknown
            return True
        judged = self.judged.get(id(expr))
        if judged is None:
            judged = self.judged[id(expr)] = may_be_unknown(expr, self.known)
        return judged

    def write(self, expr: Typed) -> str:
        """SQL for the value of `expr`, NULL where it is unknown."""
        sql, is_open = self.open(expr)
        # What is added turns -0.0 into 0.0.
        return self.once([sql], "(CASE WHEN isfinite({0}) THEN {0} + 0e0 END)") if is_open else sql

    def open(self, expr: Typed) -> tuple[str, bool]:
        """The same, and whether a number may be NaN or infinite instead of NULL, and -0.0 instead of 0.0.

        Sums and products of such are such, so that the last one alone needs a look.
        """
        match expr:
            case Apply():
                return self.operation(expr)
            case Constant(value, type_):
                return sql_value(value, type_), False
            case Feature(name):
                return self.feature(name, expr.type), False
            case Local(slot, is_index):
                return f'({_OURS}i{slot}" - 1)' if is_index else f'{_OURS}x{slot}"', False
            case Logical(any_of, parts):
                return f"({(' OR ' if any_of else ' AND ').join(map(self.write, parts))})", False
            case Negation(operand):
                return f"(NOT {self.write(operand)})", False
            case Ternary():
                return self.ternary(expr), False
            case Has(feature):
                column = self.feature(feature.name, feature.type)
                return f"({column} IS NOT NULL)" if self.may_be_unknown(feature) else "true", False
            case Elements(items):
                return self.strict(items, lambda written: sql_list(written, expr.type), expr.type), False
            case Quantifier():
                return self.quantifier(expr), False
            case Bounded():
                return self.bounded(expr), False

    def feature(self, name: str, type_: Type) -> str:
        column = self.columns.get(name)
        if column is None:
            raise ValueError(f"a condition needs `{name}`, which is not among the columns")
        if column.type != type_:
            raise ValueError(f"a condition needs `{name}` as {type_}; the column has {column.type}")
        return sql_operand(column.sql)

    def once(self, operands: Sequence[str], template: str) -> str:
        """The template with its operands, of which those that are long and stand in it twice are computed once."""
        fields = [field for _, field, _, _ in Formatter().parse(template) if field is not None]
        texts = list(operands)
        bound: list[tuple[str, str]] = []
        for place, text in enumerate(texts):
            if len(text) > _SHORT and fields.count(str(place)) > 1:
                texts[place] = f'{_OURS}t{self.named}"'
                self.named += 1
                bound.append((texts[place], text))
        sql = template.format(*texts)
        # The values of a list of one are that one, and DuckDB has no other way to name a value inside an expression.
        for name, text in reversed(bound):
            sql = f"(list_transform([{text}], lambda {name}: {sql})[1])"
        return sql

    def strict(self, operands: Sequence[Typed], sql: Callable[[list[str]], str], type_: Type) -> str:
        """`sql` of the operands' values, or NULL where one is."""
        if any(map(_is_nothing, operands)):
            return sql_value(UNKNOWN, type_)
        template = sql([f"{{{place}}}" for place in range(len(operands))])
        unknown = [place for place, one in enumerate(operands) if self.may_be_unknown(one)]
        if unknown:
            tests = _and([f"({{{place}}} IS NOT NULL)" for place in unknown])
            template = f"(CASE WHEN {tests} THEN {template} END)"
        return self.once(list(map(self.write, operands)), template)

    def ternary(self, expr: Ternary) -> str:
        if _is_nothing(expr.condition):
            return sql_value(UNKNOWN, expr.type)
        # A CASE takes its ELSE where a condition is NULL.
        end = "WHEN NOT {0} THEN {2} END" if self.may_be_unknown(expr.condition) else "ELSE {2} END"
        parts = (expr.condition, expr.then, expr.otherwise)
        return self.once(list(map(self.write, parts)), f"(CASE WHEN {{0}} THEN {{1}} {end})")

    def operation(self, expr: Apply) -> tuple[str, bool]:
        operation, operands = OPERATIONS[expr.operation], expr.operands
        if expr.type == NOTHING or any(map(_is_nothing, operands)):
            return sql_value(UNKNOWN, expr.type), False
        if (reason := _not_in_duckdb(expr)) is not None:
            self.bounds[expr] = "false", reason
            return sql_value(UNKNOWN, BOOLEAN), False
        if operation.name == "in" and (listed := self.listed(*operands)):
            return listed, False
        template = _template(operation, expr.type)
        if len(operands) > len(operation.parameters):
            joined = reduce(lambda left, right: self.once([left, right], template), map(self.write, operands))
            return joined, False
        is_open, texts = operation.overflows, list[str]()
        for letter, operand in zip("AB", operands, strict=False):
            may_be_open = f"{{{letter}}}" in operation.sql
            text, open_operand = self.open(operand) if may_be_open else (self.write(operand), False)
            texts.append(text)
            is_open = is_open or open_operand
        return self.once(texts, template), is_open

    def listed(self, item: Typed, items: Typed) -> str | None:
        """`in` of a list of literals, for which DuckDB has a faster form."""
        values: Sequence[object] = ()
        if isinstance(items, Constant) and isinstance(items.value, tuple):
            values = items.value
        elif isinstance(items, Elements) and all(isinstance(one, Constant) for one in items.items):
            values = [one.value for one in items.items if isinstance(one, Constant)]
        if not values or UNKNOWN in values or isinstance(item.type, ListType):
            return None
        literals = [sql_value(value, item.type) for value in values]
        return f"({self.write(item)} IN ({', '.join(literals)}))"

    def quantifier(self, expr: Quantifier) -> str:
        if _is_nothing(expr.items) or expr.items.type == ListType(NOTHING):
            # Such a list is empty, so that the body, whose variable has no type, is never asked.
            return self.strict([expr.items], lambda _: "false" if expr.any_of else "true", BOOLEAN)
        variables = f'{_OURS}x{expr.slot}"' + (f', {_OURS}i{expr.slot}"' if expr.indexed else "")
        # False is 0, unknown 1 and true 2: a list has what the greatest says (`exists`), or the least (`all`).
        each = f"coalesce(2 * CAST({self.write(expr.body)} AS TINYINT), 1)"
        deciding, of_none = ("max", 0) if expr.any_of else ("min", 2)
        each = each.replace("{", "{{").replace("}", "}}")

        def sql(operands: list[str]) -> str:
            verdicts = f"list_transform({operands[0]}, lambda {variables}: {each})"
            return f"([false, NULL, true])[1 + coalesce(list_{deciding}({verdicts}), {of_none})]"

        return self.strict([expr.items], sql, BOOLEAN)

    def bounded(self, expr: Bounded) -> str:
        small, part = always_within(expr), self.write(expr.part)
        most = Sizes(*map(min, small, self.sizes))
        if most == self.sizes or (not expr.sized and small.elements >= 0):
            return part
        tests = [
            f"(coalesce({count}, 0) <= {limit})"
            for name, feature in expr.sized.items()
            for count, limit in zip(
                _counts(self.feature(name, feature.type), feature.type), small, strict=True
            )
            if count is not None
        ]
        within = _and(tests) if small.elements >= 0 else "false"
        self.bounds[expr] = within, "it is cut short where it may take too many steps"
        return f"(CASE WHEN {within} THEN {part} END)"


def _template(operation: Operation, type_: Type) -> str:
    """The operation's SQL with operands by their places; what is a brace in SQL is still doubled."""
    doubled = operation.sql.replace("{{", "{{{{").replace("}}", "}}}}")
    return doubled.format(a="{0}", A="{0}", b="{1}", B="{1}", type=sql_type(type_))


def _counts(column: str, type_: Type) -> tuple[str | None, str | None]:
    """SQL for how many elements a value has, nested ones counted, and how many characters, as `size_of` counts."""
    if type_ == STRING:
        return None, f"length({column})"
    assert isinstance(type_, ListType)
    elements, inner = f"len({column})", type_.element
    if not isinstance(inner, ListType) and inner != STRING:
        return elements, None
    name = f'{_OURS}s"'
    nested, characters = _counts(name, inner)
    each = [
        None if one is None else f"coalesce(list_sum(list_transform({column}, lambda {name}: {one})), 0)"
        for one in (nested, characters)
    ]
    return (elements if each[0] is None else f"({elements} + {each[0]})"), each[1]
