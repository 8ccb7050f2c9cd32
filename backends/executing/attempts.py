"""What was done, as plain values: attempts in the order they began, reports of steps, the execution itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from routewright.engine.policy import Role
from routewright.engine.record import Attempt

from ..errors import BackendError, ErrorClass
from .work import Answer, Combine

StepOutcome = Literal["done", "accepted", "rejected", "clean", "flagged", "unreadable", "dropped", "failed"]


@dataclass(frozen=True, slots=True)
class StepReport:
    """What came of a step. ``notes`` are the model's own words, or why the step was left out.

    ``done`` is a draft or a refinement that was used; ``unreadable`` is a verdict that is neither yes nor no;
    ``dropped`` and ``failed`` are steps that could not be carried out, the second of them required. ``about`` is the
    number of the attempt whose answer a verdict judges.
    """

    role: Role
    model_id: str
    outcome: StepOutcome
    notes: str | None = None
    about: int | None = None


@dataclass(frozen=True, slots=True)
class EnsembleReport:
    """How members' answers became one.

    ``winner`` is the model whose answer was taken, None where there was none (``notes`` says why). ``labels`` holds
    each answering member's label, None where it gave none; it is empty where no label is declared.
    """

    combine: Combine
    answered: tuple[str, ...]
    winner: str | None
    labels: tuple[tuple[str, str | None], ...] = ()
    notes: str | None = None


@dataclass(frozen=True, slots=True)
class Execution:
    """What came of it: an answer or an error; every attempt, in the order they began.

    The answer's type follows the request's: ChatAnswer for ChatRequest, and so on. ``answered_by`` is the number
    of the attempt whose answer it is. ``steps`` reports on steps as they were carried out, ``ensemble`` on how
    answers were combined. ``verified`` says whether the answer, as it is given, was accepted by every ``verify`` of the
    work (True) or rejected by one (False); None if there is none, or one was left out or could not be read, or the
    answer was changed after it.
    """

    answer: Answer | None
    attempts: tuple[Attempt, ...]
    error: BackendError | None
    answered_by: int | None = None
    steps: tuple[StepReport, ...] = ()
    ensemble: EnsembleReport | None = None
    verified: bool | None = None


def verdict_on(attempt: int, reports: Sequence[StepReport], verifiers: int) -> bool | None:
    """What so many verifiers said of the answer of ``attempt``; see ``Execution.verified``."""
    said = [report.outcome for report in reports if report.role == "verify" and report.about == attempt]
    if "rejected" in said:
        return False
    return True if verifiers and said.count("accepted") == verifiers else None


class NotCalledError(BackendError):
    """Nothing could be called: a limit of ours had no room. No backend has refused anything."""


class QuorumError(BackendError):
    """Too few members of an ensemble gave a usable answer, or they reached no decision.

    ``members`` holds each member's model id with the class of its failure; None for one that answered.
    """

    def __init__(
        self, message: str, *, error_class: ErrorClass, members: tuple[tuple[str, ErrorClass | None], ...]
    ) -> None:
        super().__init__(message, error_class=error_class)
        self.members = members
