"""Compiles controls into quotas, reserves and limits on each task; each control is exactly one kind of limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import cast

from ...condition import CheckedExpr, Declaration
from ...report import suggest
from ..compiled import (
    CompiledCatalog,
    CompiledFeature,
    ControlKind,
    ModelIndex,
    Quota,
    Reserve,
    TaskCost,
    TaskLimits,
)
from ..labels import owner
from ..quantities import MoneyAmount
from ..shapes import Control
from ..source import Path
from .features import zone_named
from .report import Report
from .rules import find_model

MIN_LEASE_MS = 1_000
"""A shorter lease could lapse while its call is under way: an event loop may be busy for a moment."""

_QUOTA_KEYS = ("max_requests", "max_tokens", "max_cost", "max_concurrent")

# The keys that make a control one of a kind, and those that it may have beside them.
_MARKS: Mapping[ControlKind, tuple[str, ...]] = {
    "quota": _QUOTA_KEYS,
    "reserve": ("of", "reserve", "for_"),
    "first_token": ("first_token_within",),
    "cache": ("cache_ttl",),
    "retry": ("max_attempts", "backoff", "deadline"),
    "lease": ("lease",),
}
_BESIDE: Mapping[ControlKind, tuple[str, ...]] = {
    "quota": ("on", "for_each", "per", "timezone", "scope", "unknown_cost"),
    "task_cost": (*_QUOTA_KEYS, "per", "unknown_cost"),
    "reserve": (),
    "first_token": (),
    "cache": (),
    "retry": (),
    "lease": (),
}
_COMMON = ("name", "description", "disabled")
_KIND_NAMES: Mapping[ControlKind, str] = {
    "quota": "a quota",
    "task_cost": "a limit on one task",
    "reserve": "a reserve",
    "first_token": "a limit on the first token",
    "cache": "a cache limit",
    "retry": "a limit on retries",
    "lease": "the time of leases",
}


@dataclass(frozen=True, slots=True)
class CompiledControls:
    """``conditions`` are those of the reserves, in the order that ``Reserve.condition`` counts them from 0."""

    quotas: tuple[Quota, ...]
    limits: TaskLimits
    conditions: tuple[CheckedExpr, ...]
    reserved: tuple[int, ...]
    """The position in the file of each control that has a condition in ``conditions``."""
    disabled: tuple[str, ...]


def compile_controls(
    controls: Sequence[Control],
    catalog: CompiledCatalog | None,
    features: Sequence[CompiledFeature],
    scope: Mapping[str, Declaration],
    report: Report,
) -> CompiledControls:
    """Return the controls that are not disabled."""
    quotas: dict[str, Quota] = {}
    limits = TaskLimits()
    disabled = [f"control {control.name}" for control in controls if control.disabled]
    off = {control.name for control in controls if control.disabled}
    reserves: list[tuple[Control, Path]] = []
    kinds: dict[str, ControlKind | None] = {}
    every = frozenset(model.index for model in ([] if catalog is None else catalog.models))
    for number, control in enumerate(controls):
        path: Path = ("controls", number)
        kind = _kind_of(control, report, path)
        kinds.setdefault(control.name, kind)
        if control.disabled:
            continue
        if kind == "quota":
            quotas.setdefault(control.name, _quota(control, catalog, every, features, report, path))
        elif kind == "reserve":
            reserves.append((control, path))
        elif kind == "task_cost":
            limits = _with_cost(limits, control, catalog, every, report, path)
        elif kind is not None:
            limits = _with_limit(limits, control, report, path)
    conditions: dict[int, CheckedExpr] = {}
    for control, path in reserves:
        _check_reserved(control, kinds, quotas, report, path)
        condition = report.condition(control.for_, (*path, "for"), scope)
        if control.of in off:
            disabled.append(f"control {control.name}, as {control.of} is")
        elif condition is not None and control.of in quotas and control.reserve is not None:
            quota, position = quotas[control.of], len(conditions)
            reserve = _reserve(control, quota, control.reserve, condition, position, report, path)
            conditions[cast(int, path[1])] = condition
            quotas[control.of] = replace(quota, reserves=(*quota.reserves, reserve))
    found, at = tuple(conditions.values()), tuple(conditions)
    return CompiledControls(tuple(quotas.values()), limits, found, at, tuple(disabled))


def _kind_of(control: Control, report: Report, path: Path) -> ControlKind | None:
    kinds = [kind for kind, marks in _MARKS.items() if any(getattr(control, m) is not None for m in marks)]
    lost = [kind for kind, marks in _MARKS.items() if any(report.lost((*path, _key(m))) for m in marks)]
    if not kinds:
        if not lost:
            help = "such as max_requests, max_cost, reserve, first_token_within, cache_ttl, max_attempts"
            report.add("missing-key", f"{owner(path, report.document)} limits nothing", path, help)
        return None
    if len(kinds) > 1:
        names = " and ".join(_KIND_NAMES[kind] for kind in kinds)
        message = f"{owner(path, report.document)} is {names} at once"
        report.add("unfit-key", message, path, "one control, one limit: split it")
        return None
    kind = kinds[0]
    if kind == "quota" and control.per == "request":
        kind = "task_cost"
    for key in sorted(control.model_fields_set.difference(_COMMON, _MARKS.get(kind, ()), _BESIDE[kind])):
        message = f"`{_key(key)}` has no meaning in {_KIND_NAMES[kind]}"
        report.add("unfit-key", message, (*path, _key(key)), at_key=True)
    if kind == "reserve" and None in (control.of, control.reserve, control.for_):
        if "reserve" not in lost:
            report.add("missing-key", "a reserve needs `of`, `reserve` and `for`", path)
        return None
    return kind


def _key(field: str) -> str:
    """A field's key as authors write it."""
    return Control.model_fields[field].alias or field


def _quota(
    control: Control,
    catalog: CompiledCatalog | None,
    every: frozenset[ModelIndex],
    features: Sequence[CompiledFeature],
    report: Report,
    path: Path,
) -> Quota:
    given = [key for key in _QUOTA_KEYS if getattr(control, key) is not None]
    if len(given) > 1:
        message = f"{owner(path, report.document)} has {len(given)} limits: {', '.join(given)}"
        report.add("unfit-key", message, path, "one control, one limit: split it")
    unit = given[0].removeprefix("max_")
    _check_period(control, given[0], report, path)
    zone_named(control.timezone, report, (*path, "timezone"))
    report.feature(control.for_each, [feature.name for feature in features], (*path, "for_each"))
    limit = getattr(control, given[0])
    money = limit if isinstance(limit, MoneyAmount) else None
    models = every if control.on is None else _bound_models(control.on, catalog, report, (*path, "on"))
    if money is not None and catalog is not None:
        _check_currency(control, money.currency, models, catalog, report, path)
    return Quota(
        name=control.name,
        unit=unit,  # type: ignore[arg-type]  # the four keys are the four units
        limit=money.nano if money else limit,
        models=models,
        for_each=control.for_each,
        per=control.per,
        timezone=control.timezone,
        currency=money.currency if money else None,
        refuses_unknown_cost=money is not None and control.unknown_cost == "refuse",
        reserves=(),
        shared=control.scope == "machine",
    )


def _check_period(control: Control, limit: str, report: Report, path: Path) -> None:
    """Note a period that is missing or has no meaning for the quota's key ``limit``, and an idle ``unknown_cost``."""
    if limit == "max_concurrent":
        for key in ("per", "timezone"):
            if key in control.model_fields_set:
                message = "`max_concurrent` counts calls at the same time: it has no period"
                report.add("unfit-key", message, (*path, key), at_key=True)
    elif control.per is None and not report.lost((*path, "per")):
        report.add("missing-key", f"`{limit}` needs `per`: the period it is counted over", path)
    if limit != "max_cost" and "unknown_cost" in control.model_fields_set:
        report.add("unfit-key", "`unknown_cost` belongs to `max_cost`", (*path, "unknown_cost"), at_key=True)


def _bound_models(
    on: str | list[str], catalog: CompiledCatalog | None, report: Report, path: Path
) -> frozenset[ModelIndex]:
    if isinstance(on, str):
        found = [find_model(on, catalog, report, path)]
    else:
        found = [find_model(name, catalog, report, (*path, number)) for number, name in enumerate(on)]
    return frozenset(model.index for model in found if model is not None)


def _check_currency(
    control: Control,
    currency: str,
    models: frozenset[ModelIndex],
    catalog: CompiledCatalog,
    report: Report,
    path: Path,
) -> None:
    """Money is never converted: a sum of two currencies would be a number without a meaning."""
    for index in sorted(models):
        price = catalog.models[index].shape.price
        if price is not None and price.currency != currency:
            message = (
                f"`{catalog.models[index].id}` is priced in {price.currency}, the limit is in {currency}"
            )
            help = "name the models with this currency in `on`; nothing is converted"
            if control.per == "request":
                help = "one task may use any model, so all have to be priced alike; nothing is converted"
            report.add("mixed-currencies", message, (*path, "max_cost"), help)
            return


def _check_reserved(
    control: Control,
    kinds: Mapping[str, ControlKind | None],
    quotas: Mapping[str, Quota],
    report: Report,
    path: Path,
) -> None:
    """Note it when what a reserve is kept from is no quota."""
    name = str(control.of)
    if name not in kinds:
        # A control whose own name could not be read may be the one that is meant.
        unread = report.incomplete(("controls",))
        if not unread and not any(report.lost(("controls", number, "name")) for number in range(len(kinds))):
            hint = suggest(name, quotas, label="quotas")
            report.add("unknown-control", f"unknown control `{name}`", (*path, "of"), hint)
    elif kinds[name] not in ("quota", None):
        hint = suggest(name, quotas, label="quotas")
        report.add("unfit-value", f"nothing can be kept from `{name}`: it is no quota", (*path, "of"), hint)


def _with_cost(
    limits: TaskLimits,
    control: Control,
    catalog: CompiledCatalog | None,
    every: frozenset[ModelIndex],
    report: Report,
    path: Path,
) -> TaskLimits:
    for key in _QUOTA_KEYS:
        if key != "max_cost" and getattr(control, key) is not None:
            help = "calls for one task are limited by `max_attempts`"
            report.add("unfit-key", f"`per: request` is for `max_cost`, not for `{key}`", (*path, key), help)
    if control.max_cost is None:
        return limits
    if limits.cost is not None:
        message = "what one task may cost is set by another control already"
        report.add("duplicate-control", message, (*path, "per"), at_key=True)
    nano, currency = control.max_cost
    if catalog is not None:
        _check_currency(control, currency, every, catalog, report, path)
    return replace(limits, cost=TaskCost(control.name, nano, currency, control.unknown_cost == "refuse"))


def _reserve(
    control: Control,
    quota: Quota,
    share: float,
    when: CheckedExpr,
    condition: int,
    report: Report,
    path: Path,
) -> Reserve:
    if sum(reserve.share for reserve in quota.reserves) + share > 1 + 1e-9:
        message = f"the reserves of `{quota.name}` are more than 100% of it"
        report.add("wrong-value", message, (*path, "reserve"))
    # Rounded up: what is promised to hard work is never less than the share says. In decimals, since 7% of
    # 100 is a little more than 7 in binary.
    held = (quota.limit * Decimal(repr(share))).to_integral_value(ROUND_CEILING)
    return Reserve(control.name, int(held), share, when, condition)


def _with_limit(limits: TaskLimits, control: Control, report: Report, path: Path) -> TaskLimits:
    for key, field in (
        ("first_token_within", "first_token_within_ms"),
        ("cache_ttl", "cache_ttl_ms"),
        ("max_attempts", "max_attempts"),
        ("backoff", "backoff_ms"),
        ("deadline", "deadline_ms"),
        ("lease", "lease_ms"),
    ):
        value = getattr(control, key)
        if value is None:
            continue
        if getattr(limits, field) is not None:
            message = f"`{key}` is set by another control already"
            report.add("duplicate-control", message, (*path, key), at_key=True)
        if key == "lease" and value < MIN_LEASE_MS:
            report.add("wrong-value", "a lease lasts a second at least", (*path, key))
        limits = replace(limits, **{field: value})
    return limits
