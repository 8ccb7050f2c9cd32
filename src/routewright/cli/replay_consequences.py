"""The part of a replay's report that says what would have come of it: cost, latency, success and outcomes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby

from routewright.ledger import Baseline, Consequence, Estimate, ReplayReport

from .page import Section
from .shown import Shown

_NOT_COMPARED = (0, 1, 3, 6)
"""The columns that say something where no log says what was done before."""


def consequences_section(report: ReplayReport) -> Section | None:
    """Each metric before and under the candidate; None where all that was measured stands."""
    metrics = report.consequences.metrics
    if all(one.kept.decisions == one.before.decisions for one in metrics):
        return None
    rows = [
        [
            _label(one),
            _counts(one),
            _text(one, one.before.mean if one.after.logged is None else one.after.logged),
            _text(one, one.after.value),
            change_text(one),
            _interval(one),
            one.after.verdict,
        ]
        for one in metrics
    ]
    now = _now(report)
    header = ["metric", "decisions", "before", now, "change", "95 % interval", "verdict"]
    if not report.compared:
        header, rows = (
            [header[at] for at in _NOT_COMPARED],
            [[row[at] for at in _NOT_COMPARED] for row in rows],
        )
    return Section(
        "consequences",
        "What it would have cost, taken and answered",
        f"The mean of a decision, before and under the {now}. Where only a part of them can be known, the numbers are "
        f"of that part, and `decisions` says how many these are. A decision has no "
        f"support where the log never tried what is done under the {now}.",
        Shown(header, rows, []),
        lines=[*_totals(metrics, now), *_reasons(metrics)],
    )


def _counts(one: Consequence) -> str:
    """Of how many decisions the numbers of a metric are: the one before, and the one beside it if that is of others."""
    found = one.after
    before = one.before.decisions - one.before.unknown
    if found.logged is not None:
        before = round(found.logged_decisions)
    if found.value is None:
        return f"{before:,}"
    now = round(found.decisions * (1 - found.without_support - found.not_measured))
    return f"{now:,}" if now == before or not before else f"{before:,} before, {now:,} now"


def baselines_section(report: ReplayReport) -> Section | None:
    """Policies that look at nothing, to compare with."""
    found = report.consequences
    if not found.baselines:
        return None
    by_name = {one.after.metric.name: one for one in found.metrics}
    metrics = [by_name[name] for name in found.compared]
    rows = [
        *([["recorded", *before]] if any(before := [_text(one, one.before.mean) for one in metrics]) else []),
        [_now(report), *(_of_part(one, one.after) for one in metrics)],
        *([_named(alike), *_estimates(alike[0], metrics)] for alike in _alike(found.baselines)),
    ]
    return Section(
        "baselines",
        "Beside policies that look at no feature",
        "All of these decisions to one model, whatever they ask for; and each to one of both by chance, at the cost of "
        f"the {_now(report)}. The best is that by {_label(metrics[-1])}. Where a number is of a part of the decisions, "
        "their share stands beside it.",
        Shown(["policy", *map(_label, metrics)], rows, []),
    )


def headlines(report: ReplayReport) -> Iterator[str]:
    """What changes of cost, latency and success, as far as that is known; and of what it is not."""
    metrics = [one for one in report.consequences.metrics if one.kind != "outcome"]
    for one in metrics:
        if one.after.verdict == "identified" and one.after.change:
            yield f"{_label(one)} would change by {change_text(one)}"
    unknown = [_label(one) for one in metrics if one.after.verdict != "identified"]
    if unknown:
        yield f"not known from this log for all of them: {', '.join(unknown)}"


def means(report: ReplayReport) -> Iterator[str]:
    """What is known under the candidate where nothing is known of before."""
    for one in report.consequences.metrics:
        if one.after.verdict == "identified":
            yield f"{_label(one)} would be {_text(one, one.after.value)} on average"


def change_text(one: Consequence) -> str:
    """By how much the mean changes: in percent, for success in points of a percentage; nothing where it is not known.

    Only what does not change at all is said to change by 0, and not what is known of those alone that stay as they are.
    """
    of_part = one.after.verdict != "identified" and one.kept.decisions < one.before.decisions
    return "" if of_part and one.after.change == 0 else _changed(one, one.after.change)


def _changed(one: Consequence, change: float | None) -> str:
    if change is None:
        return ""
    if change == 0:
        return "0"
    if one.kind == "success":
        return f"{change * 100:+.2f} points"
    if one.kind == "outcome" or not one.after.logged:
        return f"{change:+.4g}"
    return f"{change / one.after.logged * 100:+.2f} %"


def _interval(one: Consequence) -> str:
    found = one.after.change_interval
    if found is None:
        return ""
    if found.low == found.high:
        return _changed(one, found.low)
    low, _, _ = _changed(one, found.low).partition(" ")
    return f"{low} to {_changed(one, found.high)}"


def _label(one: Consequence) -> str:
    return f"{one.name} in {one.unit}" if one.unit else one.name


def _text(one: Consequence, value: float | None) -> str:
    if value is None:
        return ""
    if one.kind == "success":
        return f"{value * 100:.1f} %"
    if one.kind == "latency" and value >= 10:
        return f"{value:,.0f}"
    return _amount_text(value) if one.kind == "cost" else f"{value:.4g}"


def _amount_text(value: float) -> str:
    """An amount with four digits that say something, never as a power of ten."""
    places = 3 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{places}f}".rstrip("0").rstrip(".") if places > 0 else f"{value:,.0f}"


def _totals(metrics: tuple[Consequence, ...], now: str) -> Iterator[str]:
    """What all decisions cost together, where that is known."""
    for one in metrics:
        if one.kind == "cost" and one.before.total is not None:
            known = one.before.decisions - one.before.unknown
            line = f"all {known:,} decisions cost {_sum_text(one.before.total)} {one.unit}"
            if one.before.unknown:
                line = f"{line.removeprefix('all ')}; what the other {one.before.unknown:,} cost is not known"
            if one.after.verdict == "identified" and one.after.value is not None:
                line += f"; under the {now} about {_sum_text(one.after.value * one.before.decisions)}"
            yield line
        elif one.kind == "cost" and one.after.verdict == "identified" and one.after.value is not None:
            total = (
                one.known.total if one.known.decisions - one.known.unknown == one.before.decisions else None
            )
            sum = one.after.value * one.before.decisions if total is None else total
            yield f"under the {now} all {one.before.decisions:,} decisions cost {_sum_text(sum)} {one.unit}"


def _sum_text(total: Decimal | float) -> str:
    """A sum of money: of what is less than one, four digits that are not 0, and at most nano-units."""
    if not total:
        return "0"
    decimals = 2 if total >= 1 else min(9, 3 - math.floor(math.log10(total)))
    return f"{total:,.{decimals}f}"


def _reasons(metrics: tuple[Consequence, ...]) -> Iterator[str]:
    """Why something is not known, once for all that it is true of."""
    alike: dict[str, list[str]] = {}
    for one in metrics:
        if one.after.verdict != "identified":
            alike.setdefault(f"{one.after.verdict}, as {one.after.reason}", []).append(_label(one))
    for why, names in alike.items():
        yield f"{', '.join(names)}: {why}"


def _alike(baselines: Sequence[Baseline]) -> Iterator[list[Baseline]]:
    """Those that do the same together: the cheapest may be the best."""
    for _, alike in groupby(baselines, key=lambda one: one.shares):
        yield list(alike)


def _named(alike: Sequence[Baseline]) -> str:
    baseline = alike[0]
    if baseline.name == "random mix":
        shares = (f"{_share_text(share)} to {action}" for action, share in baseline.shares)
        return f"by chance {' and '.join(shares)}"
    [(action, _)] = baseline.shares
    return f"all to {action}, {' and '.join(f'the {one.name}' for one in alike)}"


def _share_text(share: float) -> str:
    """A share of which some is never none, nor most all."""
    return "under 1 %" if 0 < share < 0.005 else "over 99 %" if 0.995 <= share < 1 else f"{share * 100:.0f} %"


def _estimates(baseline: Baseline, metrics: list[Consequence]) -> Iterator[str]:
    for one, found in zip(metrics, baseline.estimates, strict=True):
        yield _of_part(one, found.all)


def _of_part(one: Consequence, found: Estimate) -> str:
    """The value, with the share of the decisions that it is of where that is not all; else the verdict."""
    told = _text(one, found.value)
    if told and not found.is_whole():
        return f"{told} (of {_share_text(1 - found.without_support - found.not_measured)})"
    return told or found.verdict


def _now(report: ReplayReport) -> str:
    """What stands beside what was: the candidate, or what is assumed of the policies themselves."""
    return "candidate" if report.candidate is not None else "assumption"
