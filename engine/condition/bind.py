"""Checks feature values against their declarations, and infers declarations from values."""

from __future__ import annotations

from collections.abc import Mapping

from ..report import FeatureError
from .types import NOTHING, SCALARS, Declaration, ListType, Type, unify
from .values import UNKNOWN, ValueRefused, check_value


def bind(features: Mapping[str, object], declarations: Mapping[str, Declaration]) -> dict[str, object]:
    """Return the value of every name of `declarations`, UNKNOWN where `features` has none or None.

    Names of `features` that are not declared are left out.  Raises FeatureError for a value that does not
    fit.
    """
    return {name: bound_value(name, features.get(name), declared) for name, declared in declarations.items()}


def bound_value(name: str, value: object, declared: Declaration | Type) -> object:
    """The value of one feature; None is UNKNOWN. Raises FeatureError for a value that does not fit."""
    try:
        return UNKNOWN if value is None or value is UNKNOWN else check_value(value, declared)
    except ValueRefused as error:
        raise FeatureError(f"feature `{name}`: {error}", feature=name, help=error.help) from None


def infer_declarations(features: Mapping[str, object]) -> dict[str, Declaration]:
    """Return a declaration for every feature that its own value fits; None fits where any type is wanted.

    Raises FeatureError for a value that no type fits.
    """
    return {
        name: Declaration(_type_of(value, name, 0), may_be_unknown=value is None or value is UNKNOWN)
        for name, value in features.items()
    }


_MAX_LIST_NESTING = 16


def _type_of(value: object, name: str, depth: int) -> Type:
    if value is None or value is UNKNOWN:
        if depth:
            raise FeatureError(f"feature `{name}`: an array cannot hold an unknown element", feature=name)
        return NOTHING
    for python, type_ in SCALARS.items():
        if isinstance(value, python):
            return type_
    if isinstance(value, list | tuple):
        if depth >= _MAX_LIST_NESTING:
            raise FeatureError(f"feature `{name}`: arrays are nested too deeply", feature=name)
        element: Type = NOTHING
        for item in value:
            common = unify(element, _type_of(item, name, depth + 1))
            if common is None:
                raise FeatureError(
                    f"feature `{name}`: the elements of an array are of one type", feature=name
                )
            element = common
        return ListType(element)
    raise FeatureError(
        f"feature `{name}`: a value of type {type(value).__name__} is not one that conditions have",
        feature=name,
        help="features are booleans, integers, numbers, strings and arrays of them",
    )
