"""What deciding and executing give, and how they fail for the caller."""

from __future__ import annotations

from dataclasses import dataclass

from routewright.backends import BackendError
from routewright.backends.executing import Answer, Execution
from routewright.engine.decision.decision import Decision
from routewright.engine.errors import TaskError
from routewright.ledger import LedgerError

__all__ = ["Decided", "NoTargetError", "NotStoredError", "Ran", "answer_of"]


@dataclass(slots=True, eq=False)
class Decided:
    """A decision, and how long deciding took in nanoseconds: that is no part of the record.

    ``executed`` says that it has been executed, or is being: once, as its attempts in the ledger are of one
    execution.
    """

    decision: Decision
    deciding_ns: int
    executed: bool = False


@dataclass(frozen=True, slots=True)
class Ran:
    """A decision and what came of executing it.

    ``execution`` is None where the decision has no target; else it holds the answer or the error of the last
    attempt, and every attempt in order.
    """

    decision: Decision
    execution: Execution | None


class NoTargetError(TaskError):
    """A task that no model may do; ``decision`` says why."""

    def __init__(self, decision: Decision) -> None:
        why = [
            f"{_model_id(decision, c.model)}: {c.failure.detail}" for c in decision.candidates if c.failure
        ]
        super().__init__(f"no eligible target ({decision.outcome})", help="; ".join(why) or None)
        self.decision = decision


class NotStoredError(LedgerError):
    """The ledger refused what was executed; ``ran`` is the result, so that no answer is lost with it."""

    def __init__(self, cause: LedgerError, ran: Ran) -> None:
        super().__init__(str(cause), help=cause.help, problem=cause.problem)
        self.ran = ran


def answer_of(ran: Ran) -> Answer:
    """The answer of an execution, or its failure raised."""
    if ran.execution is None:
        raise NoTargetError(ran.decision)
    if ran.execution.answer is None:
        raise ran.execution.error or BackendError("nothing answered", error_class="bad_response")
    return ran.execution.answer


def _model_id(decision: Decision, index: int) -> str:
    return decision.policy.catalog.models[index].id
