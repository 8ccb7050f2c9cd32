"""Checks the names and types of a parsed expression; computes nothing.

All problems of an expression are found in one go: a part that is wrong counts as a value that fits
everywhere, so that one mistake is reported once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ...report import ConditionError, Problem
from ..library.operators import OPERATORS
from ..limits import MAX_MACRO_NESTING
from ..syntax.expr import (
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
from ..types import (
    BOOLEAN,
    INTEGER,
    NOTHING,
    NUMBER,
    SCALARS,
    STRING,
    Declaration,
    ListType,
    Type,
    article,
    unify,
)
from ..values import UNKNOWN
from . import typed as nodes
from .calls import CallChecker, operation_for
from .messages import explain_mismatch, explain_unknown_name, members, quote
from .parts import Enough
from .typed import (
    Apply,
    CheckedExpr,
    Constant,
    Elements,
    Feature,
    Local,
    Negation,
    Quantifier,
    Ternary,
    Typed,
    finish,
)
from .work import bounded


def check_expr(
    expr: Expr, scope: Mapping[str, Declaration], *, expected: Type | None = BOOLEAN
) -> CheckedExpr:
    """Return `expr` with its types; `scope` declares features and dotted names such as `model.id`.

    `expected` is the type that the whole must have; None takes any.  Raises ConditionError with all problems
    found, at most MAX_PROBLEMS, in reading order.
    """
    checker = _Checker(scope)
    try:
        typed = checker.check(expr)
        if expected is not None:
            typed = checker.expect(typed, expected)
        if not checker.problems:
            return finish(bounded(typed), expr)
    except RecursionError:
        problem = Problem(
            "too-deep", "the condition is nested too deeply to be checked here", None, expr.span
        )
        raise ConditionError([problem]) from None
    except Enough:
        pass
    raise ConditionError(sorted(checker.problems, key=_place))


def _place(problem: Problem) -> tuple[tuple[str, ...], int]:
    span = problem.span
    assert span is not None
    # Indexes of a structured condition sort as numbers do.
    return tuple(f"{step:08}" if isinstance(step, int) else step for step in span.part), span.start


class _Variable(NamedTuple):
    slot: int
    is_index: bool
    type: Type
    enum: tuple[object, ...] | None


class _Checker(CallChecker):
    def __init__(self, scope: Mapping[str, Declaration]) -> None:
        super().__init__(scope)
        self.unknown_names: set[str] = set()
        self.variables: dict[str, _Variable] = {}
        self.depth = 0

    def check(self, expr: Expr) -> Typed:
        match expr:
            case Literal(value):
                return Constant(value, SCALARS[type(value)], expr)
            case Name():
                return self.name(expr)
            case ListDisplay():
                return self.display(expr)
            case Unary("!", operand):
                return Negation(self.expect(self.check(operand), BOOLEAN), expr)
            case Unary():
                return self.minus(expr)
            case Logical(op, parts):
                return self.logical(op == "||", parts, expr)
            case Binary():
                return self.binary(expr)
            case Conditional():
                return self.conditional(expr)
            case Index():
                return self.index(expr)
            case Macro():
                return self.macro(expr)
            case Call():
                return self.call(expr)

    def logical(self, is_or: bool, parts: tuple[Expr, ...], expr: Expr) -> Typed:
        checked = [self.check(part) for part in parts]
        first = checked[0].type
        if first not in (BOOLEAN, NOTHING) and all(part.type == first for part in checked):
            # `'a' || 'b'` is one mistake: alternatives are written as a list.
            return self.expect(checked[0], BOOLEAN)
        return nodes.Logical(is_or, tuple([self.expect(part, BOOLEAN) for part in checked]), expr)

    def name(self, expr: Name) -> Typed:
        variable = self.variables.get(expr.name)
        if variable is not None:
            return Local(variable.slot, variable.is_index, variable.type, expr)
        declaration = self.scope.get(expr.name)
        if declaration is not None:
            return Feature(expr.name, declaration.type, declaration.may_be_unknown, expr)
        if expr.name in self.unknown_names:  # one mistake, one report
            return Constant(UNKNOWN, NOTHING, expr)
        self.unknown_names.add(expr.name)
        return self.wrong(*explain_unknown_name(expr, self.scope, self.variables))

    def display(self, expr: ListDisplay) -> Typed:
        items = [self.check(item) for item in expr.items]
        element: Type = NOTHING
        for item in items:
            common = unify(element, item.type)
            if common is None:
                return self.mismatch(
                    f"the elements of a list are of one type; {quote(item.source)} is {article(item.type)}, "
                    f"those before it are of type {element}",
                    item.source,
                )
            element = common
        widened = tuple([self.widened(item, element) for item in items])
        return Elements(widened, ListType(element), expr)

    def minus(self, expr: Unary) -> Typed:
        operand = self.check(expr.operand)
        if (operation := operation_for("-_", operand.type)) is not None:
            return Apply(operation.name, (operand,), operand.type, expr)
        return self.mismatch(
            f"{quote(expr.operand)} is {article(operand.type)}; `-` needs a number",
            expr.operand,
            "write `!` for the opposite of a boolean" if operand.type == BOOLEAN else None,
        )

    def binary(self, expr: Binary) -> Typed:
        left, right = self.check(expr.left), self.check(expr.right)
        if expr.op == "in":
            return self.contained(expr, left, right)
        both = self.together((left, right))
        if both is None:
            return self.wrong(*explain_mismatch(expr, left.type, right.type))
        operands, common = both
        if expr.op in {"==", "!="}:
            self.check_enums(left, right)
        elif expr.op in {"<", "<=", ">", ">="} and isinstance(common, ListType):
            return self.mismatch(
                f"lists have no order; `{expr.op}` compares numbers, strings or booleans",
                expr,
                "compare their sizes: `size(a) < size(b)`",
            )
        if (operation := operation_for(expr.op, common)) is not None:
            return Apply(operation.name, operands, operation.result or common, expr)
        if any(isinstance(operand, Constant) and operand.value is UNKNOWN for operand in operands):
            return Constant(UNKNOWN, NOTHING, expr)  # a part of it is reported already
        help = None
        if common == NUMBER:
            help = "convert with `int(…)` first"
        elif common == BOOLEAN:
            help = "write `&&` or `||` between booleans"
        message = f"`{expr.op}` needs {OPERATORS[expr.op].takes}; {quote(expr)} has operands of type {common}"
        return self.mismatch(message, expr, help)

    def contained(self, expr: Binary, left: Typed, right: Typed) -> Typed:
        listed = _elements_of(right)
        if listed is None:
            help = f"write `{quote(expr.right)[1:-1]}.contains({quote(expr.left)[1:-1]})`"
            message = f"{quote(expr.right)} is {article(right.type)}; `in` looks into lists"
            return self.mismatch(message, expr.right, help if right.type == STRING else None)
        element = unify(left.type, listed)
        if element is None:
            elements = f"the elements of {quote(expr.right)} are of type {listed}"
            return self.mismatch(f"{quote(expr.left)} is {article(left.type)}, but {elements}", expr)
        self.check_enums(left, right)
        operands = (self.widened(left, element), self.widened(right, ListType(element)))
        return Apply("in", operands, BOOLEAN, expr)

    def conditional(self, expr: Conditional) -> Typed:
        condition = self.expect(self.check(expr.condition), BOOLEAN)
        sides = (self.check(expr.then), self.check(expr.otherwise))
        both = self.together(sides)
        if both is None:
            then, otherwise = (article(side.type) for side in sides)
            message = f"the two results of `?:` are of one type; these are {then} and {otherwise}"
            return self.mismatch(message, expr)
        (then_side, other_side), common = both
        return Ternary(condition, then_side, other_side, common, expr)

    def index(self, expr: Index) -> Typed:
        base, index = self.check(expr.base), self.check(expr.index)
        if base.type == NOTHING:
            return Constant(UNKNOWN, NOTHING, expr)  # the base has been reported already
        if not isinstance(base.type, ListType):
            message = f"{quote(expr.base)} is {article(base.type)}; `[…]` takes an element of a list"
            return self.mismatch(message, expr.base)
        return Apply("index", (base, self.expect(index, INTEGER)), base.type.element, expr)

    def macro(self, expr: Macro) -> Typed:
        items = self.check(expr.items)
        listed = _elements_of(items)
        if listed is None:
            message = f"{quote(expr.items)} is {article(items.type)}; `{expr.kind}` looks into lists"
            return self.mismatch(message, expr.items)
        if self.depth >= MAX_MACRO_NESTING:
            message = f"`exists` and `all` are nested more than {MAX_MACRO_NESTING} deep"
            return self.wrong("too-deep", message, expr)
        outer, slot = self.variables, self.depth
        *index, element = (variable.name for variable in expr.variables)
        self.variables = {
            **outer,
            **{name: _Variable(slot, True, INTEGER, None) for name in index},
            element: _Variable(slot, False, listed, self.enum_of(items)),
        }
        self.depth += 1
        body = self.expect(self.check(expr.body), BOOLEAN)
        self.depth -= 1
        self.variables = outer
        return Quantifier(expr.kind == "exists", items, slot, bool(index), body, expr)

    # -- enums -------------------------------------------------------------------------------------------

    def enum_of(self, typed: Typed) -> tuple[object, ...] | None:
        """The only values that `typed`, or its elements, can have, where that is declared."""
        match typed:
            case Feature(name):
                return self.scope[name].enum
            case Local(slot, is_index):
                variables = self.variables.values()
                return next((v.enum for v in variables if (v.slot, v.is_index) == (slot, is_index)), None)
            case Apply("index", (base, _)):
                return self.enum_of(base)
        return None

    def check_enums(self, left: Typed, right: Typed) -> None:
        """Report the literals of one side that the other can never have."""
        for typed, other in ((left, right), (right, left)):
            enum = self.enum_of(typed)
            for literal in _literals(other):
                if enum is not None and literal.value not in enum:
                    message = f"{quote(literal.source)} is not a value of {quote(typed.source)}"
                    help = members(literal.value, enum)
                    self.wrong("not-in-enum", message, literal.source, help)


def _elements_of(typed: Typed) -> Type | None:
    """The type of a list's elements; None for what is no list. What is wrong already may be any list."""
    if isinstance(typed.type, ListType):
        return typed.type.element
    return NOTHING if typed.type == NOTHING else None


def _literals(typed: Typed) -> list[Constant]:
    """The literals that `typed` may come to: itself, list elements, both sides of `?:`."""
    match typed:
        case Constant(value):
            return [] if value is UNKNOWN else [typed]
        case Elements(items):
            return [literal for item in items for literal in _literals(item)]
        case Ternary(_, then, otherwise):
            return _literals(then) + _literals(otherwise)
    return []
