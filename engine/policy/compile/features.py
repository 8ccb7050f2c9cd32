"""Compiles the features of a policy, and makes the scope of its conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Final, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ...condition import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    SOURCES,
    STRING,
    Declaration,
    ListType,
    Name,
    Type,
    ValueRefused,
    check_value,
    parse_expr,
)
from ...report import ConditionError, closest, suggest
from ..compiled import CompiledCatalog, CompiledFeature, FeatureSource
from ..labels import quoted
from ..shapes.policy import Feature
from .report import Report

_SCALARS: Mapping[str, Type] = {"boolean": BOOLEAN, "integer": INTEGER, "number": NUMBER, "string": STRING}

GATING_FACTS: Final = ("prompt_tokens", "images", "tools", "json_schema")
"""The facts of a request that gates ask for."""

_METADATA = re.compile(r"request\.metadata\.([A-Za-z_][A-Za-z0-9_.-]*)")


def compile_features(
    features: Mapping[str, Feature], catalog: CompiledCatalog | None, report: Report
) -> tuple[CompiledFeature, ...]:
    """Return the features in the order of the file, also those that have problems: what conditions say of
    them is still checked, against the type that was meant."""
    _refuse_same_letters(features, report)
    offered: frozenset[str] | None = None
    if catalog is not None:
        offered = frozenset(capability for model in catalog.models for capability in model.capabilities)
    return tuple(
        _compile(name, feature, offered, report.at("features", name)) for name, feature in features.items()
    )


def _compile(name: str, feature: Feature, offered: frozenset[str] | None, report: Report) -> CompiledFeature:
    if not _can_be_read(name):
        message = f"`{name}` cannot be a feature: conditions read the word as something else"
        report.add("reserved-name", message, at_key=True)
    type = _type_of(feature, report)
    enum = _values(feature.enum, _element(type), report.at("enum"))
    if not _check_limits(feature, type, report):
        feature = feature.model_copy(update={"minimum": None, "maximum": None})
    for number, member in enumerate(enum or ()):
        if _is_outside(member, feature):
            message = f"`enum` lists {quoted(member)}, which is outside the feature's limits"
            report.at("enum", number).add("out-of-range", message)
    return CompiledFeature(
        name=name,
        declaration=Declaration(type, enum),
        default=_default(feature, type, enum, report.at("default")),
        minimum=feature.minimum,
        maximum=feature.maximum,
        needs=_needs(feature, offered, report.at("needs")),
        derived=_derived(feature, type, report),
        sensitive=feature.sensitive,
        refuses_other=_refuses_other(feature, report),
    )


def _refuse_same_letters(features: Mapping[str, Feature], report: Report) -> None:
    """Features stand in the ledger's views as fields of SQL, which does not tell `Team` from `team`."""
    first: dict[str, str] = {}
    for name in features:
        other = first.setdefault(name.lower(), name)
        if other != name:
            message = f"`{name}` and `{other}` differ by case alone, which SQL does not tell apart"
            report.at("features", name).add("duplicate-name", message, "rename one of them", at_key=True)


def _can_be_read(name: str) -> bool:
    """Whether a condition that is just this word reads the feature: not so for `true`, `in`, `model`…"""
    try:
        expr = parse_expr(name)
    except ConditionError:
        return False
    return isinstance(expr, Name) and name not in ("model", "state")


def _type_of(feature: Feature, report: Report) -> Type:
    if feature.type == "array":
        if feature.items is None and not report.lost("items"):
            report.add("missing-key", "an array needs `items`: the type of its elements", at_key=True)
        return ListType(_SCALARS[feature.items or "string"])
    if feature.items is not None:
        report.unfit("items", "`items` belongs to `type: array`")
    return _SCALARS[feature.type]


def _element(type: Type) -> Type:
    return type.element if isinstance(type, ListType) else type


def _values(
    values: list[bool | int | float | str] | None, type: Type, report: Report
) -> tuple[object, ...] | None:
    if values is None:
        return None
    checked: dict[object, None] = {}
    whole = not report.incomplete
    for number, value in enumerate(values):
        try:
            member = check_value(value, type)
        except ValueRefused as error:
            report.at(number).add("wrong-value", f"`enum`: {error}", error.help)
            whole = False
            continue
        if member in checked:
            report.at(number).add("duplicate-value", f"`enum` lists {quoted(value)} twice")
        checked[member] = None
    # A value may be missing from a list that could not be read whole: then any value may be meant.
    return tuple(checked) if whole else None


def _check_limits(feature: Feature, type: Type, report: Report) -> bool:
    """Whether the limits leave any value."""
    for key, limit in (("minimum", feature.minimum), ("maximum", feature.maximum)):
        if limit is not None and _element(type) not in (INTEGER, NUMBER):
            report.unfit(key, f"`{key}` belongs to numbers")
    if feature.minimum is not None and feature.maximum is not None and feature.minimum > feature.maximum:
        report.at("minimum").add("wrong-value", "`minimum` is larger than `maximum`")
        return False
    return True


def _is_outside(value: object, feature: Feature) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    below = feature.minimum is not None and value < feature.minimum
    return below or (feature.maximum is not None and value > feature.maximum)


def _default(feature: Feature, type: Type, enum: tuple[object, ...] | None, report: Report) -> object:
    if feature.default is None:
        return None
    try:
        value = check_value(feature.default, type)
    except ValueRefused as error:
        report.add("wrong-value", f"`default`: {error}", error.help)
        return None
    allowed = frozenset(enum or ())
    for element in value if isinstance(value, tuple) else (value,):
        message = f"`default` is {quoted(element)}, which "
        if enum is not None and element not in allowed:
            hint = suggest(str(element), map(str, enum), label="allowed")
            report.add("not-in-enum", f"{message}`enum` does not allow", hint)
        elif _is_outside(element, feature):
            report.add("out-of-range", f"{message}is outside the feature's limits")
    return value


def _needs(feature: Feature, offered: frozenset[str] | None, report: Report) -> tuple[str, ...]:
    if feature.needs is None:
        return ()
    if feature.type != "boolean":
        report.add("unfit-key", "`needs` belongs to boolean features", at_key=True)
    needs = [feature.needs] if isinstance(feature.needs, str) else feature.needs
    if offered is not None:
        for number, capability in enumerate(needs):
            if capability not in offered and not report.full:
                place = report.at(number) if isinstance(feature.needs, list) else report
                hint = suggest(capability, offered, label="in the catalog")
                place.add("unknown-capability", f"no model has the capability `{capability}`", hint)
    return tuple(needs)


def _derived(feature: Feature, type: Type, report: Report) -> FeatureSource | None:
    unfit = "`timezone` belongs to `from: time.…`"
    if feature.from_ is None:
        if feature.timezone is not None and not report.lost("from"):
            report.unfit("timezone", unfit)
        return None
    metadata = _METADATA.fullmatch(feature.from_)
    given = STRING if metadata else SOURCES.get(feature.from_)
    if given is None:
        message = f"nothing can be derived from {quoted(feature.from_)}"
        report.at("from").add("unknown-source", message, _source_hint(feature.from_))
        return None
    if given != type and not (given == INTEGER and type == NUMBER):
        report.at("from").add("type-mismatch", f"`{feature.from_}` is {given}, the feature is {type}")
    group, fact = feature.from_.split(".", 1)
    if group == "time":
        return FeatureSource(fact, zone=zone_named(feature.timezone or "UTC", report.at("timezone")))
    if feature.timezone is not None:
        report.unfit("timezone", unfit)
    return FeatureSource("metadata", metadata[1].lower()) if metadata else FeatureSource(fact)


def _refuses_other(feature: Feature, report: Report) -> bool:
    if feature.on_other is not None and feature.from_ is None and not report.lost("from"):
        report.unfit("on_other", "`on_other` belongs to a feature with `from`")
    return feature.on_other == "error"


def zone_named(name: str, report: Report) -> tzinfo | None:
    """The time zone, or None after noting that there is none of this name."""
    if name == "UTC":
        # Must not depend on the machine's time zone database.
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        report.add("unknown-timezone", f"unknown time zone `{name}`", "such as UTC or Europe/Berlin")
        return None


assert set(get_args(Feature.model_fields["type"].annotation)) == {*_SCALARS, "array"}


def _source_hint(written: str) -> str:
    """Help for an unknown source: the closest one, and all known ones, since the list is closed."""
    known = [*SOURCES, "request.metadata.NAME"]
    # Only the part after the first dot is compared: the shared `request.` makes any two similar.
    by_word = {source.split(".")[1]: source for source in known}
    close = closest(written.split(".")[:2][-1], by_word)
    hint = f"did you mean `{by_word[close]}`? " if close else ""
    return f"{hint}known: {', '.join(sorted(known))}"
