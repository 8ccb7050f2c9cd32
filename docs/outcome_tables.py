"""The tables of `docs/executing.md` that say what follows the end of a call, and which limits hold by default."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from routewright.backends.executing import FAILURES, STAGES
from routewright.engine.policy import DEFAULT_DEADLINE_MS, DEFAULT_TIMEOUTS, kinds
from routewright.engine.report import duration_text

_COST = {"none": "0", "unknown": "unknown", "estimated": "estimated"}


def outcome_tables() -> dict[str, Iterable[str]]:
    """The lines of each table, by the name of its marks."""
    return {"failures": _failures(), "stages": _stages(), "defaults": _defaults()}


def _defaults() -> Iterator[str]:
    yield "| limit | default | holds | of what |"
    yield "| --- | --- | --- | --- |"
    for phase, wait in DEFAULT_TIMEOUTS.items():
        means = (kinds.Timeouts.model_fields[phase].description or "").partition(";")[0]
        yield f"| `{phase}` | {duration_text(wait.ms)} | {wait.holds} | {means} |"
    yield f"| `deadline` | {duration_text(DEFAULT_DEADLINE_MS)} | always | all calls of a task together |"


def _failures() -> Iterator[str]:
    yield "| class | then | breaker | without a token it was | why |"
    yield "| --- | --- | --- | --- | --- |"
    for error_class, row in FAILURES.items():
        cooling = "" if row.cool_ms is None else f", {row.cool_ms // 60_000} min"
        yield f"| `{error_class}` | {row.then} | {row.breaker}{cooling} | {row.stage} | {row.why} |"


def _stages() -> Iterator[str]:
    yield "| stage | when the call ended | its cost | quotas of requests, `max_attempts` | of tokens or money |"
    yield "| --- | --- | --- | --- | --- |"
    for stage, use in STAGES.items():
        counts = "count it" if use.request else "are released"
        used = {"none": "nothing", "unknown": "as reserved", "estimated": "as estimated"}[use.cost]
        yield f"| {stage} | {use.means} | {_COST[use.cost]} | {counts} | {used if use.request else 'are released'} |"
