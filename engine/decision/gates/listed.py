"""All gates in the order in which models meet them, and what they make of a model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from ...policy import CompiledModel
from .availability import Breaker, Disabled, Health
from .context import GateContext
from .failure import Call, GateFailure, Mark
from .money import AnswerCost, CostLimit, QuotaLimit
from .requirements import Capability, Constraint, ContextWindow, EmbeddingSpace, Offered


@dataclass(frozen=True, slots=True)
class RequiredStep(GateFailure, gate="required_step", remembered=True):
    """Refuses every candidate, where a step with `required: true` (`screen` has it by default) cannot run."""

    varies: ClassVar = True

    role: str
    model: str
    failure: GateFailure
    """The gate that the step's model did not pass."""

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        """None: the rule's steps close it, for all candidates alike."""
        return ()

    def facts(self, call: Call) -> Mapping[str, object]:
        inner = {"gate": self.failure.gate, **self.failure.facts(call)}
        return {"role": self.role, "model": self.model, "failure": inner}

    def recorded(self, call: Call) -> str:
        return f"required {self.role} with {self.model}: {self.failure.recorded(call)}"

    def explained(self, call: Call) -> str:
        return f"required {self.role} with {self.model}: {self.failure.explained(call)}"


GATES: Final[tuple[type[GateFailure], ...]] = (
    Constraint,
    Offered,
    Capability,
    EmbeddingSpace,
    ContextWindow,
    Disabled,
    Health,
    Breaker,
    QuotaLimit,
    CostLimit,
    AnswerCost,
    RequiredStep,
)
"""In the order in which candidates meet them. The same gates hold for every role: candidate, fallback, drafter,
verifier, judge, ensemble member, pin; only the price of the answer is not asked of those that give another one."""

BREAKER_OPEN_LAST: Final = Mark(
    "breaker_open_last",
    "whether the model is well again: its breaker is open, and no other model is left",
    "breaker open",
)
"""On a model whose breaker is open, and which passed because no other is left."""

MARKS: Final = (*(gate.mark for gate in GATES if gate.mark is not None), BREAKER_OPEN_LAST)


def failures(model: CompiledModel, context: GateContext, *, answers: bool = True) -> Iterator[GateFailure]:
    """The gates that ``model`` does not pass, in order; the first is the one that a record keeps.

    ``answers`` says that the model is to give the answer of the task, and not to be a part around it.
    """
    for gate in GATES:
        if answers or gate is not AnswerCost:
            yield from gate.check(model, context)


def marks(model: CompiledModel, context: GateContext) -> tuple[str, ...]:
    """What could not be checked of a model, and passed for that."""
    return tuple([gate.mark.name for gate in GATES if gate.mark and gate.is_unverified(model, context)])
