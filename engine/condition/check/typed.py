"""The checked expression: what is to be computed, for every target.

Where the parsed expression says what was written, this one says what it means: every operation is named with
its types (`add_integer`), every widening of an integer is a node of its own, every macro variable has a slot.
A target is a module that walks these nodes; there are nine kinds.

Each node knows its type, whether it can be unknown, and the parsed expression it came from.  Build nodes with
the functions here: they keep `may_be_unknown` true to the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..library import OPERATIONS
from ..syntax import Expr
from ..types import BOOLEAN, NOTHING, Type


@dataclass(frozen=True, slots=True)
class Constant:
    """A value, or UNKNOWN."""

    value: object
    type: Type
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Feature:
    """The value of a declared name."""

    name: str
    type: Type
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Local:
    """A macro's variable; `slot` counts macros from the outside in.  Never unknown.

    `is_index` says that it is the element's index, counted from 0, and not the element.
    """

    slot: int
    is_index: bool
    type: Type
    source: Expr = field(compare=False, repr=False)

    @property
    def may_be_unknown(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Junction:
    """`any_of`: true when a part is true, else unknown when one is, else false; otherwise the dual, `&&`."""

    any_of: bool
    parts: tuple[Typed, ...]
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return BOOLEAN


@dataclass(frozen=True, slots=True)
class Negation:
    """`!`."""

    operand: Typed
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return BOOLEAN


@dataclass(frozen=True, slots=True)
class Choice:
    """`?:`; unknown when the condition is."""

    condition: Typed
    then: Typed
    otherwise: Typed
    type: Type
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Presence:
    """`has(name)`: whether the name has a value.  Never unknown."""

    feature: Feature
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def may_be_unknown(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Elements:
    """A list of the parts; unknown when one of them is."""

    items: tuple[Typed, ...]
    type: Type
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Quantifier:
    """`exists` (`any_of`) or `all`: a junction of `body` over the elements of `items`.

    Unknown if `items` is unknown or has more than `limit` elements. `indexed` says that the body may use the index.
    """

    any_of: bool
    items: Typed
    slot: int
    indexed: bool
    body: Typed
    limit: int
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def may_be_unknown(self) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Apply:
    """A strict operation of `operations.OPERATIONS`: unknown when an operand is."""

    operation: str
    operands: tuple[Typed, ...]
    type: Type
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)


Typed = Constant | Feature | Local | Junction | Negation | Choice | Presence | Elements | Quantifier | Apply


@dataclass(frozen=True, slots=True)
class CheckedExpr:
    """An expression whose names and types are right.

    `names` are the declared names whose value it needs or asks about; `may_be_unknown` is false where no
    value of them can leave it without one.
    """

    expr: Typed
    names: frozenset[str]
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return self.expr.type

    @property
    def may_be_unknown(self) -> bool:
        return self.expr.may_be_unknown


def finish(expr: Typed, source: Expr) -> CheckedExpr:
    """The checked expression of a complete node."""
    return CheckedExpr(expr, feature_names(expr), source)


def junction(any_of: bool, parts: tuple[Typed, ...], source: Expr) -> Junction:
    return Junction(any_of, parts, any(part.may_be_unknown for part in parts), source)


def negation(operand: Typed, source: Expr) -> Negation:
    return Negation(operand, operand.may_be_unknown, source)


def choice(condition: Typed, then: Typed, otherwise: Typed, type_: Type, source: Expr) -> Choice:
    unknown = any(part.may_be_unknown for part in (condition, then, otherwise))
    return Choice(condition, then, otherwise, type_, unknown, source)


def elements(items: tuple[Typed, ...], type_: Type, source: Expr) -> Elements:
    return Elements(items, type_, any(item.may_be_unknown for item in items), source)


def quantifier(
    any_of: bool, items: Typed, slot: int, indexed: bool, body: Typed, limit: int, source: Expr
) -> Quantifier:
    return Quantifier(any_of, items, slot, indexed, body, limit, source)


def apply(operation: str, operands: tuple[Typed, ...], type_: Type, source: Expr) -> Apply:
    unknown = fails(operation, type_) or any(part.may_be_unknown for part in operands)
    return Apply(operation, operands, type_, unknown, source)


def fails(operation: str, type_: Type) -> bool:
    """Whether an operation with a result of `type_` may be unknown even if its operands have values."""
    return OPERATIONS[operation].may_fail or type_ == NOTHING


def parts_of(expr: Typed) -> tuple[Typed, ...]:
    """The direct parts of a node in reading order."""
    match expr:
        case Constant() | Feature() | Local():
            return ()
        case Junction(_, parts):
            return parts
        case Negation(operand):
            return (operand,)
        case Choice(condition, then, otherwise):
            return (condition, then, otherwise)
        case Presence(feature):
            return (feature,)
        case Elements(items):
            return items
        case Quantifier(_, items, _, _, body):
            return (items, body)
        case Apply(_, operands):
            return operands


def walk_typed(expr: Typed) -> Iterator[Typed]:
    """Every node, parents before their parts, left to right."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(parts_of(node)))


def feature_names(expr: Typed) -> frozenset[str]:
    """The declared names that occur in `expr`."""
    return frozenset(node.name for node in walk_typed(expr) if isinstance(node, Feature))
