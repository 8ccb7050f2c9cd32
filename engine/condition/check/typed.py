"""The checked expression: what is to be computed, for every target.

Where the parsed expression says what was written, this one says what it means: every operation is named with
its types (`add_integer`), every widening of an integer is a node of its own, every macro variable has a slot.
A target is a module that walks these nodes; there are eleven kinds. Each knows its type and the parsed expression
that it came from.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from dataclasses import dataclass, field, replace

from ..library import OPERATIONS
from ..library.declaration import Sizes
from ..syntax.expr import Expr
from ..types import BOOLEAN, NOTHING, STRING, ListType, Type
from ..values import UNKNOWN


class _Boolean:
    """A node whose value is a boolean."""

    __slots__ = ()

    @property
    def type(self) -> Type:
        return BOOLEAN


@dataclass(frozen=True, slots=True)
class Constant:
    """A value, or UNKNOWN."""

    value: object
    type: Type
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


@dataclass(frozen=True, slots=True)
class Logical(_Boolean):
    """`any_of`: true when a part is true, else unknown when one is, else false; otherwise the dual, `&&`."""

    any_of: bool
    parts: tuple[Typed, ...]
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Negation(_Boolean):
    """`!`."""

    operand: Typed
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Ternary:
    """`?:`; unknown when the condition is."""

    condition: Typed
    then: Typed
    otherwise: Typed
    type: Type
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Has(_Boolean):
    """`has(name)`: whether the name has a value.  Never unknown."""

    feature: Feature
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Elements:
    """A list of the parts; unknown when one of them is."""

    items: tuple[Typed, ...]
    type: Type
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Quantifier(_Boolean):
    """`exists` (`any_of`) or `all`: the values of `body` for the elements of `items`, joined as by `||` or `&&`.

    Unknown if `items` is. `indexed` says that the body may use the index.
    """

    any_of: bool
    items: Typed
    slot: int
    indexed: bool
    body: Typed
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Bounded(_Boolean):
    """The value of `part`, or unknown where `measured` takes more than `limit` steps for the values that it needs.

    `measured` is `part` as it was checked; `known` has the sizes of the names whose values were put into `part` since.
    """

    part: Typed
    measured: Typed
    limit: int
    known: tuple[tuple[str, Sizes], ...]
    source: Expr = field(compare=False, repr=False)

    @property
    def sized(self) -> dict[str, Feature]:
        """The features whose sizes decide, without those in `known`."""
        known = dict(self.known)
        return {
            node.name: node
            for node in walk_typed(self.measured)
            if isinstance(node, Feature)
            and node.name not in known
            and (node.type == STRING or isinstance(node.type, ListType))
        }


@dataclass(frozen=True, slots=True)
class Apply:
    """A strict operation of the library, by its name: unknown when an operand is."""

    operation: str
    operands: tuple[Typed, ...]
    type: Type
    source: Expr = field(compare=False, repr=False)


Typed = (
    Constant | Feature | Local | Logical | Negation | Ternary | Has | Elements | Quantifier | Bounded | Apply
)


@dataclass(frozen=True, slots=True)
class CheckedExpr:
    """An expression whose names and types are right; `names` are those whose value it needs or asks about."""

    expr: Typed
    names: frozenset[str]
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return self.expr.type

    @property
    def may_be_unknown(self) -> bool:
        """Whether values of its names can leave it without one."""
        return may_be_unknown(self.expr)


def finish(expr: Typed, source: Expr) -> CheckedExpr:
    """The checked expression of a complete node."""
    return CheckedExpr(expr, feature_names(expr), source)


def may_be_unknown(expr: Typed, known: Container[str] = ()) -> bool:
    """Whether `expr` may be unknown even if the names in `known` have values."""
    match expr:
        case Constant(value):
            return value is UNKNOWN
        case Feature(name):
            return expr.may_be_unknown and name not in known
        case Local() | Has():
            return False
        case Bounded():
            return True
        case Apply(operation, _, type_) if OPERATIONS[operation].may_fail or type_ == NOTHING:
            return True
    return any([may_be_unknown(part, known) for part in parts_of(expr)])


def parts_of(expr: Typed) -> tuple[Typed, ...]:
    """The direct parts of a node in reading order."""
    match expr:
        case Constant() | Feature() | Local():
            return ()
        case Logical(_, parts) | Elements(parts) | Apply(_, parts):
            return parts
        case Negation(part) | Has(part) | Bounded(part):
            return (part,)
        case Ternary(condition, then, otherwise):
            return (condition, then, otherwise)
        case Quantifier(_, items, _, _, body):
            return (items, body)


def with_parts(expr: Typed, parts: tuple[Typed, ...]) -> Typed:
    """A node with other parts of the same types, in the order of `parts_of`; names have no parts to replace."""
    match expr:
        case Logical():
            return replace(expr, parts=parts)
        case Negation():
            return replace(expr, operand=parts[0])
        case Ternary():
            return replace(expr, condition=parts[0], then=parts[1], otherwise=parts[2])
        case Elements():
            return replace(expr, items=parts)
        case Quantifier():
            return replace(expr, items=parts[0], body=parts[1])
        case Bounded():
            return replace(expr, part=parts[0])
        case Apply():
            return replace(expr, operands=parts)
    return expr


def walk_typed(expr: Typed) -> Iterator[Typed]:
    """Every node, parents before their parts, left to right."""
    stack = [expr]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(parts_of(node)))


def feature_names(expr: Typed) -> frozenset[str]:
    """The declared names whose value, or the size of it, `expr` needs or asks about."""
    names: set[str] = set()
    for node in walk_typed(expr):
        if isinstance(node, Feature):
            names.add(node.name)
        elif isinstance(node, Bounded):
            names.update(node.sized)
    return frozenset(names)
