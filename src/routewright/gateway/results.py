"""What deciding and executing give, and how they fail for the caller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Final

from routewright.backends import BackendError, ChatAnswer, EmbedAnswer
from routewright.backends.executing import Answer, Attempt, Execution, StepReport
from routewright.engine.decision import Decision
from routewright.engine.report import RoutewrightError, TaskError
from routewright.ledger import LedgerError

from .costs import Cost, total_cost

_NAMED: Final = 5
"""The most models that advice names."""


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

    @property
    def decision_id(self) -> str:
        """The id of the decision, under which the ledger has it."""
        return self.decision.id

    @property
    def answer(self) -> Answer | None:
        """The answer; None where there is none."""
        return None if self.execution is None else self.execution.answer

    @property
    def error(self) -> BackendError | None:
        """Why there is no answer; None where there is one, and where nothing was executed."""
        return None if self.execution is None else self.execution.error

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Every call, in the order they began; also failed, skipped and cached ones."""
        return () if self.execution is None else self.execution.attempts

    @property
    def answered_by(self) -> Attempt | None:
        """The attempt whose answer it is."""
        by = None if self.execution is None else self.execution.answered_by
        return next((attempt for attempt in self.attempts if attempt.number == by), None)

    @property
    def model(self) -> str | None:
        """The id of the model whose answer it is."""
        return None if self.answered_by is None else self.answered_by.model_id

    @property
    def cost(self) -> Cost | None:
        """What all calls cost together, steps and failed ones included; None if that is not known."""
        return total_cost(self.attempts)

    @property
    def steps(self) -> Sequence[StepReport]:
        """What came of each step, first of those that no model could be asked for when it was decided."""
        plan = self.decision.plan
        if self.execution is None or plan is None:
            return ()
        models = self.decision.policy.catalog.models
        left_out = [
            StepReport(
                one.step.role, models[one.step.model].id, "dropped", one.failure.explained(self.decision)
            )
            for one in plan.dropped
        ]
        return (*left_out, *self.execution.steps)

    @property
    def verified(self) -> bool | None:
        """Whether every ``verify`` of the rule accepted the answer (True), or one rejected it (False).

        None if the rule has none, and if one of them was left out, could not be read, or saw another answer.
        """
        if self.execution is None:
            return None
        lost = any(step.role == "verify" and step.about is None for step in self.steps)
        return None if lost and self.execution.verified else self.execution.verified

    @property
    def notes(self) -> str | None:
        """What those who verified said of the answer."""
        by = None if self.execution is None else self.execution.answered_by
        said = [step.notes for step in self.steps if step.about == by is not None and step.notes]
        return "\n".join(said) or None


class _FromRun:
    """What an answer tells of how it came about; ``ran`` has the rest."""

    __slots__ = ()
    ran: RunResult

    @property
    def decision_id(self) -> str:
        """The id of the decision, under which the ledger has it."""
        return self.ran.decision_id

    @property
    def model(self) -> str:
        """The id of the model whose answer it is."""
        model = self.ran.model
        assert model is not None  # it has answered
        return model

    @property
    def cost(self) -> Cost | None:
        """What all calls for it cost together, steps and failed ones included; None if that is not known."""
        return self.ran.cost

    @property
    def attempts(self) -> Sequence[Attempt]:
        """Every call that was made for it, or was not, in the order they began."""
        return self.ran.attempts


@dataclass(frozen=True, slots=True)
class ChatResult(_FromRun, ChatAnswer):
    """The answer to a chat, and what is known of how it came about."""

    ran: RunResult = field(kw_only=True, repr=False)

    @property
    def verified(self) -> bool | None:
        """Whether it was accepted by every ``verify`` of its rule (True) or rejected by one (False).

        None if the rule has none, and if one of them was left out, could not be read, or saw another answer.
        """
        return self.ran.verified

    @property
    def notes(self) -> str | None:
        """What those who verified it said of it."""
        return self.ran.notes

    @property
    def steps(self) -> Sequence[StepReport]:
        """What came of each step around it, those included that were lost."""
        return self.ran.steps


@dataclass(frozen=True, slots=True)
class EmbedResult(_FromRun, EmbedAnswer):
    """Vectors, and what is known of how they came about."""

    ran: RunResult = field(kw_only=True, repr=False)


class NoTargetError(TaskError):
    """A task that no model may do; ``decision`` says why."""

    def __init__(self, decision: Decision) -> None:
        why = [
            f"{decision.policy.catalog.models[c.model].id}: {c.failure.explained(decision)}"
            for c in decision.candidates
            if c.failure
        ]
        said = f"no eligible target ({decision.outcome})"
        super().__init__(f"{said}: {'; '.join(why)}" if why else said, help=_offered_elsewhere(decision))
        self.decision = decision

    @property
    def decision_id(self) -> str:
        """The id of the decision, under which the ledger has it."""
        return self.decision.id


def _offered_elsewhere(decision: Decision) -> str | None:
    """Advice where no candidate offers the operation, and models that were none do."""
    asked, gates = decision.task.operation, {one.failure and one.failure.gate for one in decision.candidates}
    if decision.task.pin is not None or gates != {"operation"}:
        return None
    models = decision.policy.catalog.models
    able = [f"`{model.id}`" for model in models if asked in model.operations and model.disabled is None]
    if not able:
        return None
    more = f" and {len(able) - _NAMED} more" if len(able) > _NAMED else ""
    named = ", ".join(able[:_NAMED])
    return f"offered by {named}{more}: give the features of a rule that uses it, or name it as `model`"


class NotStoredError(LedgerError):
    """The ledger refused what was executed; ``ran`` is the result, so that no answer is lost with it."""

    def __init__(self, cause: LedgerError, ran: RunResult) -> None:
        super().__init__(str(cause), help=cause.help, problem=cause.problem)
        self.ran = ran


_CHAT_FIELDS: Final = attrgetter(*(one.name for one in fields(ChatAnswer)))
_EMBED_FIELDS: Final = attrgetter(*(one.name for one in fields(EmbedAnswer)))


def chat_result(ran: RunResult) -> ChatResult:
    """The answer of a chat. Raises NoTargetError, and its BackendError with the decision's id and the attempts."""
    answer = _answer_of(ran)
    assert isinstance(answer, ChatAnswer)
    return ChatResult(*_CHAT_FIELDS(answer), ran=ran)


def embed_result(ran: RunResult) -> EmbedResult:
    """The vectors of an embedding. Raises as ``chat_result`` does."""
    answer = _answer_of(ran)
    assert isinstance(answer, EmbedAnswer)
    return EmbedResult(*_EMBED_FIELDS(answer), ran=ran)


def _answer_of(ran: RunResult) -> Answer:
    if ran.execution is None:
        raise NoTargetError(ran.decision)
    if ran.answer is not None:
        return ran.answer
    error = ran.error or BackendError("nothing answered", error_class="bad_response")
    error.decision_id, error.attempts = ran.decision_id, tuple(ran.attempts)
    raise error


def model_that_answered(execution: Execution) -> str | None:
    """The id of the model that answered, before what steps made of it; None where several or none did."""
    answered = [
        attempt.model_id
        for attempt in execution.attempts
        if attempt.role in ("answer", "fallback", "retry") and attempt.status in ("ok", "cached")
    ]
    return answered[-1] if answered and execution.answer is not None else None
