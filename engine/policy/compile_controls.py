"""Controls in, quotas, reserves and time limits out; each control is exactly one kind of limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..condition.typed import CheckedExpr
from ..condition.types import Declaration
from ..suggest import suggest
from .compile_features import zone_named
from .compile_rules import find_model
from .compiled import CompiledCatalog, CompiledFeature, ControlKind, Quota, Reserve, TimeLimits
from .nodes import Path
from .quantities import MoneyAmount
from .report import Report
from .shape import Control

__all__ = ["CompiledControls", "compile_controls"]

_QUOTA_KEYS = ("max_requests", "max_tokens", "max_cost", "max_concurrent")
_RETRY_KEYS = ("max_attempts", "backoff", "deadline")
_COMMON = frozenset(("name", "description", "disabled"))
_KEYS: Mapping[ControlKind, frozenset[str]] = {
    "quota": frozenset((*_QUOTA_KEYS, "on", "for_each", "per", "timezone", "unknown_cost")),
    "reserve": frozenset(("of", "reserve", "for_")),
    "first_token": frozenset(("first_token_within",)),
    "cache": frozenset(("cache_ttl",)),
    "retry": frozenset(_RETRY_KEYS),
}
_MARKS: Mapping[ControlKind, tuple[str, ...]] = {
    "quota": _QUOTA_KEYS,
    "reserve": ("of", "reserve", "for_"),
    "first_token": ("first_token_within",),
    "cache": ("cache_ttl",),
    "retry": _RETRY_KEYS,
}


@dataclass(frozen=True, slots=True)
class CompiledControls:
    """``conditions`` are those of the reserves, in the order that ``Reserve.condition`` counts them from 0."""

    quotas: tuple[Quota, ...]
    limits: TimeLimits
    conditions: tuple[CheckedExpr, ...]
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
    limits = TimeLimits()
    conditions: list[CheckedExpr] = []
    disabled: list[str] = []
    reserves: list[tuple[Control, Path]] = []
    for number, control in enumerate(controls):
        path: Path = ("controls", number)
        kind = _kind_of(control, report, path)
        if control.disabled:
            disabled.append(f"control {control.name}")
            continue
        if kind == "quota":
            quota = _quota(control, catalog, features, report, path)
            if quota is not None:
                quotas[control.name] = quota
        elif kind == "reserve":
            reserves.append((control, path))
        elif kind is not None:
            limits = _with_limit(limits, control, report, path)
    names = {control.name for control in controls}
    for control, path in reserves:
        condition = (
            report.condition(control.for_, (*path, "for"), scope) if control.for_ is not None else None
        )
        if control.of not in names:
            hint = suggest(str(control.of), quotas, label="quotas")
            report.add("unknown-control", f"unknown control `{control.of}`", (*path, "of"), hint)
        if condition is not None and control.of in quotas and control.reserve is not None:
            quota = quotas[control.of]
            # Rounded up: what is promised to hard work is never less than the share says.
            held = -int(-quota.limit * control.reserve // 1)
            reserve = Reserve(control.name, held, control.reserve, len(conditions))
            conditions.append(condition)
            quotas[control.of] = replace(quota, reserves=(*quota.reserves, reserve))
    return CompiledControls(tuple(quotas.values()), limits, tuple(conditions), tuple(disabled))


def _kind_of(control: Control, report: Report, path: Path) -> ControlKind | None:
    kinds = [kind for kind, marks in _MARKS.items() if any(getattr(control, m) is not None for m in marks)]
    if not kinds:
        if not any(lost[:1] == ("controls",) for lost in report.set_aside):
            help = "such as max_requests, max_cost, reserve, first_token_within, cache_ttl, max_attempts"
            report.add("missing-key", f"control `{control.name}` limits nothing", path, help)
        return None
    if len(kinds) > 1:
        report.add(
            "unfit-key", f"control `{control.name}` mixes kinds: {' and '.join(kinds)}", path, "split it"
        )
        return None
    for key in sorted(control.model_fields_set - _COMMON - _KEYS[kinds[0]]):
        name = Control.model_fields[key].alias or key
        report.add(
            "unfit-key", f"`{name}` has no meaning in a {kinds[0]} control", (*path, name), at_key=True
        )
    if kinds[0] == "reserve" and None in (control.of, control.reserve, control.for_):
        report.add("missing-key", "a reserve needs `of`, `reserve` and `for`", path)
        return None
    return kinds[0]


def _quota(
    control: Control,
    catalog: CompiledCatalog | None,
    features: Sequence[CompiledFeature],
    report: Report,
    path: Path,
) -> Quota | None:
    given = [key for key in _QUOTA_KEYS if getattr(control, key) is not None]
    if len(given) > 1:
        message = f"control `{control.name}` has {len(given)} limits: {', '.join(given)}"
        report.add("unfit-key", message, path, "one control, one limit: split it")
    unit = given[0].removeprefix("max_")
    if unit == "concurrent" and control.per is not None:
        report.add("unfit-key", "`max_concurrent` has no period", (*path, "per"), at_key=True)
    if unit != "concurrent" and control.per is None:
        report.add("missing-key", f"`{given[0]}` needs `per`: the period it is counted over", path)
    zone_named(control.timezone, report, (*path, "timezone"))
    names = {feature.name for feature in features}
    if control.for_each is not None and control.for_each not in names:
        hint = suggest(control.for_each, names)
        report.add("unknown-name", f"unknown feature `{control.for_each}`", (*path, "for_each"), hint)
    limit = getattr(control, given[0])
    money = limit if isinstance(limit, MoneyAmount) else None
    return Quota(
        name=control.name,
        unit=unit,  # type: ignore[arg-type]  # the four keys are the four units
        limit=money.nano if money else limit,
        models=_bound_models(control, catalog, report, path),
        for_each=control.for_each,
        per=control.per,
        timezone=control.timezone,
        currency=money.currency if money else None,
        refuses_unknown_cost=money is not None and control.unknown_cost == "refuse",
        reserves=(),
    )


def _bound_models(
    control: Control, catalog: CompiledCatalog | None, report: Report, path: Path
) -> frozenset[int]:
    if catalog is None:
        return frozenset()
    if control.on is None:
        return frozenset(range(len(catalog.models)))
    if isinstance(control.on, str):
        found = [find_model(control.on, catalog, report, (*path, "on"))]
    else:
        found = [find_model(n, catalog, report, (*path, "on", i)) for i, n in enumerate(control.on)]
    return frozenset(model.index for model in found if model is not None)


def _with_limit(limits: TimeLimits, control: Control, report: Report, path: Path) -> TimeLimits:
    for field, value in (
        ("first_token_within_ms", control.first_token_within),
        ("cache_ttl_ms", control.cache_ttl),
        ("max_attempts", control.max_attempts),
        ("backoff_ms", control.backoff),
        ("deadline_ms", control.deadline),
    ):
        if value is None:
            continue
        if getattr(limits, field) is not None:
            report.add(
                "duplicate-control", f"control `{control.name}` sets a limit that is already set", path
            )
        limits = replace(limits, **{field: value})
    return limits
