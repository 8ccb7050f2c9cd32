"""Compiles controls into quotas, reserves and limits on each task; each control is exactly one kind of limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import NamedTuple

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
from ..quantities import MoneyAmount
from ..shapes.policy import Control
from .features import zone_named
from .report import Report
from .rules import find_model

MIN_LEASE_MS = 1_000
"""A shorter lease could lapse while its call is under way: an event loop may be busy for a moment."""

QUOTA_KEYS = ("max_requests", "max_tokens", "max_cost", "max_concurrent")
"""The keys that limit how much is used."""


class _Kind(NamedTuple):
    """What messages call a kind of control, the keys that make a control one of it, and those it may have beside."""

    name: str
    marks: tuple[str, ...]
    beside: tuple[str, ...] = ()


_KINDS: Mapping[ControlKind, _Kind] = {
    "quota": _Kind("a quota", QUOTA_KEYS, ("on", "for_each", "per", "timezone", "scope", "unknown_cost")),
    "reserve": _Kind("a reserve", ("of", "reserve", "for_")),
    "first_token": _Kind("a limit on the first token", ("first_token_within",)),
    "cache": _Kind("a cache limit", ("cache_ttl",), ("cache_by",)),
    "retry": _Kind("a limit on retries", ("max_attempts", "backoff", "deadline")),
    "lease": _Kind("the time of leases", ("lease",)),
    # A quota whose period is one request.
    "task_cost": _Kind("a limit on one task", (), (*QUOTA_KEYS, "per", "unknown_cost")),
}
_COMMON = ("name", "description", "disabled")

_LIMITS: Mapping[str, str] = {
    "first_token_within": "first_token_within_ms",
    "cache_ttl": "cache_ttl_ms",
    "max_attempts": "max_attempts",
    "backoff": "backoff_ms",
    "deadline": "deadline_ms",
    "lease": "lease_ms",
}
"""The field of ``TaskLimits`` that a key sets."""


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
    return _ControlCompiler(catalog, features, report.at("controls")).compile(controls, scope)


class _ControlCompiler:
    def __init__(
        self, catalog: CompiledCatalog | None, features: Sequence[CompiledFeature], report: Report
    ) -> None:
        self._catalog = catalog
        self._features = [feature.name for feature in features]
        self._report = report
        self._every = frozenset(model.index for model in ([] if catalog is None else catalog.models))
        self._kinds: dict[str, ControlKind | None] = {}
        self._quotas: dict[str, Quota] = {}
        self._limits = TaskLimits()
        self._set_by: dict[str, str] = {}

    def compile(self, controls: Sequence[Control], scope: Mapping[str, Declaration]) -> CompiledControls:
        disabled = [f"control {control.name}" for control in controls if control.disabled]
        off = {control.name for control in controls if control.disabled}
        reserves: list[tuple[int, Control]] = []
        for number, control in enumerate(controls):
            kind = _kind_of(control, self._report.at(number))
            self._kinds.setdefault(control.name, kind)
            if kind == "reserve" and not control.disabled:
                reserves.append((number, control))
            elif kind is not None and not control.disabled:
                self._limit(control, kind, self._report.at(number))
        conditions: dict[int, CheckedExpr] = {}
        for number, control in reserves:
            here = self._report.at(number)
            self._check_reserved(str(control.of), here.at("of"))
            condition = here.at("for").condition(control.for_, scope)
            if control.of in off:
                disabled.append(f"control {control.name}, as {control.of} is")
            elif condition is not None and control.of in self._quotas:
                self._reserve(control, self._quotas[control.of], condition, len(conditions), here)
                conditions[number] = condition
        found, at = tuple(conditions.values()), tuple(conditions)
        return CompiledControls(tuple(self._quotas.values()), self._limits, found, at, tuple(disabled))

    def _limit(self, control: Control, kind: ControlKind, report: Report) -> None:
        """Take in a control that is no reserve."""
        if kind == "quota":
            self._quotas.setdefault(control.name, self._quota(control, report))
        elif kind == "task_cost":
            self._task_cost(control, report)
        else:
            self._task_limits(control, report)

    def _quota(self, control: Control, report: Report) -> Quota:
        given = [key for key in QUOTA_KEYS if getattr(control, key) is not None]
        if len(given) > 1:
            message = f"{report.name} has {len(given)} limits: {', '.join(given)}"
            report.add("unfit-key", message, "one control, one limit: split it")
        _check_period(control, given[0], report)
        zone_named(control.timezone, report.at("timezone"))
        report.at("for_each").feature(control.for_each, self._features)
        limit = getattr(control, given[0])
        money = limit if isinstance(limit, MoneyAmount) else None
        models = self._every if control.on is None else self._bound_models(control.on, report.at("on"))
        if money is not None:
            self._check_currency(control, money.currency, models, report)
        return Quota(
            name=control.name,
            unit=given[0].removeprefix("max_"),  # type: ignore[arg-type]  # the four keys are the four units
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

    def _bound_models(self, on: str | list[str], report: Report) -> frozenset[ModelIndex]:
        if isinstance(on, str):
            found = [find_model(on, self._catalog, report)]
        else:
            found = [find_model(name, self._catalog, report.at(number)) for number, name in enumerate(on)]
        return frozenset(model.index for model in found if model is not None)

    def _check_currency(
        self, control: Control, currency: str, models: frozenset[ModelIndex], report: Report
    ) -> None:
        """Money is never converted: a sum of two currencies would be a number without a meaning."""
        bound = () if self._catalog is None else [self._catalog.models[index] for index in sorted(models)]
        for model in bound:
            price = model.shape.price
            if price is not None and price.currency != currency:
                message = f"`{model.id}` is priced in {price.currency}, the limit is in {currency}"
                help = "name the models with this currency in `on`; nothing is converted"
                if control.per == "request":
                    help = "one task may use any model, so all have to be priced alike; nothing is converted"
                report.at("max_cost").add("mixed-currencies", message, help)
                return

    def _check_reserved(self, name: str, report: Report) -> None:
        """Note it when what a reserve is kept from is no quota."""
        kind = self._kinds.get(name, "unknown")
        if kind in ("quota", None):
            return
        hint = suggest(name, self._quotas, label="quotas")
        if kind != "unknown":
            report.add("unfit-value", f"nothing can be kept from `{name}`: it is no quota", hint)
            return
        # A control whose own name could not be read may be the one that is meant.
        unread = any(self._report.at(number).lost("name") for number in range(len(self._kinds)))
        if not unread and not self._report.incomplete:
            report.add("unknown-control", f"unknown control `{name}`", hint)

    def _reserve(
        self, control: Control, quota: Quota, when: CheckedExpr, condition: int, report: Report
    ) -> None:
        share = control.reserve
        assert share is not None  # or the control would not have counted as a reserve
        if sum(reserve.share for reserve in quota.reserves) + share > 1 + 1e-9:
            report.at("reserve").add(
                "wrong-value", f"the reserves of `{quota.name}` are more than 100% of it"
            )
        # Rounded up: what is promised to hard work is never less than the share says. In decimals, since 7% of
        # 100 is a little more than 7 in binary.
        held = (quota.limit * Decimal(repr(share))).to_integral_value(ROUND_CEILING)
        reserve = Reserve(control.name, int(held), share, when, condition)
        self._quotas[quota.name] = replace(quota, reserves=(*quota.reserves, reserve))

    def _task_cost(self, control: Control, report: Report) -> None:
        for key in QUOTA_KEYS:
            if key != "max_cost" and getattr(control, key) is not None:
                message = f"`per: request` is for `max_cost`, not for `{key}`"
                report.at(key).add("unfit-key", message, "calls for one task are limited by `max_attempts`")
        if control.max_cost is None:
            return
        if self._limits.cost is not None:
            message = f"what one task may cost is set by control `{self._limits.cost.control}` already"
            report.at("per").add("duplicate-control", message, at_key=True)
        nano, currency = control.max_cost
        self._check_currency(control, currency, self._every, report)
        cost = TaskCost(control.name, nano, currency, control.unknown_cost == "refuse")
        self._limits = replace(self._limits, cost=cost)

    def _task_limits(self, control: Control, report: Report) -> None:
        for key, field in _LIMITS.items():
            value = getattr(control, key)
            if value is None:
                continue
            if getattr(self._limits, field) is not None:
                message = f"`{key}` is set by control `{self._set_by[key]}` already"
                report.at(key).add("duplicate-control", message, at_key=True)
            self._set_by.setdefault(key, control.name)
            if key == "lease" and value < MIN_LEASE_MS:
                report.at(key).add("wrong-value", "a lease lasts a second at least")
            self._limits = replace(self._limits, **{field: value})
        if control.cache_by is not None:
            for number, name in enumerate(control.cache_by):
                report.at("cache_by").at(number).feature(name, self._features)
            self._limits = replace(self._limits, cache_by=tuple(sorted(set(control.cache_by))))


def _kind_of(control: Control, report: Report) -> ControlKind | None:
    given: list[ControlKind] = [
        kind for kind, (_, marks, _) in _KINDS.items() if any(getattr(control, m) is not None for m in marks)
    ]
    lost = [kind for kind, (_, marks, _) in _KINDS.items() if report.lost(*map(_key, marks))]
    if not given:
        if not lost:
            help = "such as max_requests, max_cost, reserve, first_token_within, cache_ttl, max_attempts"
            report.add("missing-key", f"{report.name} limits nothing", help)
        return None
    if len(given) > 1:
        names = " and ".join(_KINDS[kind].name for kind in given)
        report.add("unfit-key", f"{report.name} is {names} at once", "one control, one limit: split it")
        return None
    kind = "task_cost" if given == ["quota"] and control.per == "request" else given[0]
    name, marks, beside = _KINDS[kind]
    for key in sorted(control.model_fields_set.difference(_COMMON, marks, beside)):
        report.unfit(_key(key), f"`{_key(key)}` has no meaning in {name}")
    if kind == "reserve" and None in (control.of, control.reserve, control.for_):
        if "reserve" not in lost:
            report.add("missing-key", "a reserve needs `of`, `reserve` and `for`")
        return None
    return kind


def _key(field: str) -> str:
    """A field's key as authors write it."""
    return Control.model_fields[field].alias or field


def _check_period(control: Control, limit: str, report: Report) -> None:
    """Note a period that is missing or has no meaning for the quota's key ``limit``, and an idle ``unknown_cost``."""
    if limit == "max_concurrent":
        for key in sorted({"per", "timezone"} & control.model_fields_set):
            report.unfit(key, "`max_concurrent` counts calls at the same time: it has no period")
    elif control.per is None:
        report.missing("per", f"`{limit}` needs `per`: the period it is counted over")
    if limit != "max_cost" and "unknown_cost" in control.model_fields_set:
        report.unfit("unknown_cost", "`unknown_cost` belongs to `max_cost`")
