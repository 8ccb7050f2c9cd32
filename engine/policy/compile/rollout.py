"""Compiles a rollout and checks its candidate against the control. Reads no files.

Who loads brings the candidate: compiled by itself, against its own catalog, or why it cannot be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...condition import unify
from ...report import Problem
from ..compiled import CompiledCatalog, CompiledFeature, CompiledPolicy, CompiledRollout
from ..shapes.policy import Rollout
from .report import Report


@dataclass(frozen=True, slots=True)
class UnfitCandidate:
    """Why a file cannot be the candidate: problems of its own, or what ``message`` says of naming it."""

    code: str = ""
    message: str = ""
    help: str | None = None
    problems: tuple[Problem, ...] = ()


def compile_rollout(
    rollout: Rollout | None,
    features: Sequence[CompiledFeature],
    catalog: CompiledCatalog | None,
    candidate: CompiledPolicy | UnfitCandidate | None,
    report: Report,
) -> CompiledRollout | None:
    """The rollout, or None after noting what is wrong with it; the candidate's own problems are not noted here.

    ``candidate`` is None where a policy is compiled alone, to explain what was decided under it.
    """
    if rollout is None:
        return None
    here = report.at("rollout")
    if rollout.mode == "canary" and rollout.percent is None:
        here.missing("percent", "`mode: canary` needs `percent`", at=["mode"])
    if rollout.mode != "canary" and rollout.percent is not None:
        here.unfit("percent", "`percent` belongs to `mode: canary`")
    catalogs = [catalog, candidate.catalog if isinstance(candidate, CompiledPolicy) else None]
    _check_conditions(rollout, [one for one in catalogs if one is not None], here)
    slots = {feature.name: slot for slot, feature in enumerate(features)}
    here.at("key").feature(rollout.key, slots)
    return CompiledRollout(
        mode=rollout.mode,
        share=rollout.percent,
        key=slots.get(rollout.key) if rollout.key else None,
        key_name=rollout.key,
        salt=rollout.salt,
        file=rollout.candidate,
        candidate=_checked(rollout, features, candidate, here.at("candidate")),
        abort_when=tuple(rollout.abort_when),
        promote_when=tuple(rollout.promote_when),
    )


def _check_conditions(rollout: Rollout, catalogs: Sequence[CompiledCatalog], report: Report) -> None:
    """Note conditions that end nothing, and costs that cannot be compared."""
    currencies = sorted({code for one in catalogs for code in one.currencies})
    for key, conditions in (("abort_when", rollout.abort_when), ("promote_when", rollout.promote_when)):
        if conditions and rollout.mode != "canary":
            report.unfit(key, f"`{key}` belongs to `mode: canary`")
        for number, condition in enumerate(conditions):
            if condition.metric == "cost" and len(currencies) > 1:
                message = f"costs in {' and '.join(currencies)} cannot be compared"
                report.at(key, number, "metric").add("mixed-currencies", message, "nothing is converted")


def _checked(
    rollout: Rollout,
    features: Sequence[CompiledFeature],
    candidate: CompiledPolicy | UnfitCandidate | None,
    report: Report,
) -> CompiledPolicy | None:
    """The candidate, or None after noting why it cannot be one."""
    if isinstance(candidate, UnfitCandidate):
        if candidate.message:
            report.add(candidate.code, candidate.message, candidate.help)
        return None
    if candidate is not None and candidate.shape.rollout is not None:
        message = f"the candidate `{rollout.candidate}` has a rollout of its own, and rollouts do not nest"
        report.add("nested-rollout", message, "take `rollout` out of the candidate")
        return None
    if candidate is not None and rollout.mode == "canary":
        lacks = [lack for feature in features if (lack := _lack(feature, candidate)) is not None]
        if lacks:
            # Its tasks come from callers of this policy: what it cannot take would be their errors, in no row.
            message = f"the candidate `{rollout.candidate}` takes less than this policy: {'; '.join(lacks)}"
            help = "widen it there, or look at it with `mode: shadow`"
            report.add("narrower-candidate", message, help)
    return candidate


def _lack(feature: CompiledFeature, candidate: CompiledPolicy) -> str | None:
    """What a candidate that declares the feature too does not take of its values."""
    other = next((one for one in candidate.features if one.name == feature.name), None)
    if other is None:
        return None
    mine, theirs = feature.declaration, other.declaration
    name = f"feature `{feature.name}`"
    if theirs.type != mine.type and unify(mine.type, theirs.type) != theirs.type:
        return f"{name} is {theirs.type} there and {mine.type} here"
    if theirs.enum is not None and mine.enum != theirs.enum:
        if mine.enum is None:
            return f"{name} has an `enum` there alone"
        missing = [repr(value) for value in mine.enum if value not in theirs.enum]
        if missing:
            return f"{name} lacks {', '.join(missing)} there"
    if other.minimum is not None and (feature.minimum is None or feature.minimum < other.minimum):
        return f"{name} begins at {other.minimum} there"
    if other.maximum is not None and (feature.maximum is None or feature.maximum > other.maximum):
        return f"{name} ends at {other.maximum} there"
    return None
