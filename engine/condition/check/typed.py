"""The checked expression: what is to be computed, for every target.

Where the parsed expression says what was written, this one says what it means: every operation is named with
its types (`add_integer`), every widening of an integer is a node of its own, every macro variable has a slot.
A target is a module that walks these nodes; there are eleven kinds.

Each node knows its type, whether it can be unknown, and the parsed expression it came from.  Build nodes with
the functions here: they keep `may_be_unknown` true to the parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..library import OPERATIONS, Sizes
from ..syntax import Expr
from ..types import BOOLEAN, NOTHING, STRING, ListType, Type


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
class Logical:
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
class Ternary:
    """`?:`; unknown when the condition is."""

    condition: Typed
    then: Typed
    otherwise: Typed
    type: Type
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Has:
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
    """`exists` (`any_of`) or `all`: the values of `body` for the elements of `items`, joined as by `||` or `&&`.

    Unknown if `items` is. `indexed` says that the body may use the index.
    """

    any_of: bool
    items: Typed
    slot: int
    indexed: bool
    body: Typed
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return BOOLEAN

    @property
    def may_be_unknown(self) -> bool:
        return self.items.may_be_unknown or self.body.may_be_unknown


@dataclass(frozen=True, slots=True)
class Bounded:
    """The value of `part`, or unknown where `measured` takes more than `limit` steps for the values that it needs.

    `measured` is `part` as it was checked; `known` has the sizes of the names whose values were put into `part` since.
    """

    part: Typed
    measured: Typed
    limit: int
    known: tuple[tuple[str, Sizes], ...]
    source: Expr = field(compare=False, repr=False)

    @property
    def type(self) -> Type:
        return self.part.type

    @property
    def may_be_unknown(self) -> bool:
        return True

    @property
    def sized(self) -> dict[str, Feature]:
        """The features whose sizes decide, without those in `known`."""
        features = {node.name: node for node in walk_typed(self.measured) if isinstance(node, Feature)}
        for name, feature in tuple(features.items()):
            if name in dict(self.known) or not (feature.type == STRING or isinstance(feature.type, ListType)):
                del features[name]
        return features


@dataclass(frozen=True, slots=True)
class Apply:
    """A strict operation of the library, by its name: unknown when an operand is."""

    operation: str
    operands: tuple[Typed, ...]
    type: Type
    may_be_unknown: bool
    source: Expr = field(compare=False, repr=False)


Typed = (
    Constant | Feature | Local | Logical | Negation | Ternary | Has | Elements | Quantifier | Bounded | Apply
)


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


def logical(any_of: bool, parts: tuple[Typed, ...], source: Expr) -> Logical:
    return Logical(any_of, parts, any(part.may_be_unknown for part in parts), source)


def negation(operand: Typed, source: Expr) -> Negation:
    return Negation(operand, operand.may_be_unknown, source)


def ternary(condition: Typed, then: Typed, otherwise: Typed, type_: Type, source: Expr) -> Ternary:
    unknown = any(part.may_be_unknown for part in (condition, then, otherwise))
    return Ternary(condition, then, otherwise, type_, unknown, source)


def elements(items: tuple[Typed, ...], type_: Type, source: Expr) -> Elements:
    return Elements(items, type_, any(item.may_be_unknown for item in items), source)


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
        case Logical(_, parts):
            return parts
        case Negation(operand):
            return (operand,)
        case Ternary(condition, then, otherwise):
            return (condition, then, otherwise)
        case Has(feature):
            return (feature,)
        case Elements(items):
            return items
        case Quantifier(_, items, _, _, body):
            return (items, body)
        case Bounded(part):
            return (part,)
        case Apply(_, operands):
            return operands


def with_parts(expr: Typed, parts: tuple[Typed, ...]) -> Typed:
    """A node outside macros with other parts, whose types are the same."""
    match expr:
        case Logical(any_of, _, _, source):
            return logical(any_of, parts, source)
        case Negation(_, _, source):
            return negation(parts[0], source)
        case Ternary(_, _, _, type_, _, source):
            return ternary(parts[0], parts[1], parts[2], type_, source)
        case Elements(_, type_, _, source):
            return elements(parts, type_, source)
        case Apply(operation, _, type_, _, source):
            return apply(operation, parts, type_, source)
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
