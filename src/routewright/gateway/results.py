"""What deciding and executing give, and how they fail for the caller."""

from __future__ import annotations

from dataclasses import dataclass

from routewright.backends import BackendError
from routewright.backends.executing import Answer, Execution
from routewright.engine.decision import Decision
from routewright.engine.report import RoutewrightError, TaskError
from routewright.ledger import LedgerError


@dataclass(slots=True, eq=False)
class DecisionResult:
    """A decision, and how long deciding took in nanoseconds: that is no part of the record.

    ``executed`` says that it has been executed, or is being: once, as its attempts in the ledger are of one
    execution. Under a shadow rollout ``shadow`` is what the candidate decided of the same task, which is never
    executed; where it could not decide it, ``shadow_error`` says why.
    """

    decision: Decision
    deciding_ns: int
    executed: bool = False
    shadow: DecisionResult | None = None
    shadow_error: RoutewrightError | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """A decision and what came of executing it.

    ``execution`` is None where the decision has no target; else it holds the answer or the error of the last
    attempt, and every attempt in order. ``shadow`` is the candidate's decision under a shadow rollout, and
    ``shadow_error`` why there is none.
    """

    decision: Decision
    execution: Execution | None
    shadow: Decision | None = None
    shadow_error: RoutewrightError | None = None


class NoTargetError(TaskError):
    """A task that no model may do; ``decision`` says why."""

    def __init__(self, decision: Decision) -> None:
        why = [
            f"{decision.policy.catalog.models[c.model].id}: {c.failure.explained(decision)}"
            for c in decision.candidates
            if c.failure
        ]
        said = f"no eligible target ({decision.outcome})"
        super().__init__(f"{said}: {'; '.join(why)}" if why else said)
        self.decision = decision


class NotStoredError(LedgerError):
    """The ledger refused what was executed; ``ran`` is the result, so that no answer is lost with it."""

    def __init__(self, cause: LedgerError, ran: RunResult) -> None:
        super().__init__(str(cause), help=cause.help, problem=cause.problem)
        self.ran = ran


def answer_of(ran: RunResult) -> Answer:
    """The answer of an execution, or its failure raised."""
    if ran.execution is None:
        raise NoTargetError(ran.decision)
    if ran.execution.answer is None:
        raise ran.execution.error or BackendError("nothing answered", error_class="bad_response")
    return ran.execution.answer


def model_that_answered(execution: Execution) -> str | None:
    """The id of the model that answered, before what steps made of it; None where several or none did."""
    answered = [
        attempt.model_id
        for attempt in execution.attempts
        if attempt.role in ("answer", "fallback", "retry") and attempt.status in ("ok", "cached")
    ]
    return answered[-1] if answered and execution.answer is not None else None
