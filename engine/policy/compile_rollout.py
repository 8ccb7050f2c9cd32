"""A rollout's shape and its compiled candidate in, a compiled rollout out. Reads no files.

Who loads brings the candidate: compiled by itself, against its own catalog, or why it cannot be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import Problem
from .compiled import CompiledFeature, CompiledPolicy, CompiledRollout
from .document import Path
from .report import Report
from .shape import Rollout

__all__ = ["UnfitCandidate", "compile_rollout"]


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
    candidate: CompiledPolicy | UnfitCandidate | None,
    report: Report,
) -> CompiledRollout | None:
    """The rollout, or None after noting what is wrong with it; the candidate's own problems are not noted here.

    ``candidate`` is None where a policy is compiled alone, to explain what was decided under it.
    """
    if rollout is None:
        return None
    path: Path = ("rollout",)
    here = (*path, "candidate")
    if rollout.mode == "canary" and rollout.percent is None and not report.lost((*path, "percent")):
        report.add("missing-key", "`mode: canary` needs `percent`", (*path, "mode"))
    if rollout.mode != "canary" and rollout.percent is not None:
        report.add("unfit-key", "`percent` belongs to `mode: canary`", (*path, "percent"), at_key=True)
    slots = {feature.name: slot for slot, feature in enumerate(features)}
    report.feature(rollout.key, slots, (*path, "key"))
    if isinstance(candidate, UnfitCandidate):
        if candidate.message:
            report.add(candidate.code, candidate.message, here, candidate.help)
        candidate = None
    elif candidate is not None and candidate.shape.rollout is not None:
        message = f"the candidate `{rollout.candidate}` has a rollout of its own, and rollouts do not nest"
        report.add("nested-rollout", message, here, "take `rollout` out of the candidate")
        candidate = None
    return CompiledRollout(
        mode=rollout.mode,
        share=rollout.percent,
        key=slots.get(rollout.key) if rollout.key else None,
        key_name=rollout.key,
        salt=rollout.salt,
        file=rollout.candidate,
        candidate=candidate,
    )
