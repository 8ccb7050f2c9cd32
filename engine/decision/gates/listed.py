"""All gates in the order in which models meet them, all marks, and what they make of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from ...policy import CompiledModel
from ..fit import is_fit_unknown
from ..token_limits import fit_of
from . import checks, money
from .context import Call, GateContext, GateFailure


class Gate(NamedTuple):
    """A gate: its ``name`` in records, and the ways in which a model fails it, none if it passes.

    The docstring of ``check`` says in the docs what it refuses. ``remembered`` says whether the key of a remembered
    plan holds all that it goes by: else no plan is remembered.
    """

    name: str
    check: Callable[[CompiledModel, GateContext], Iterable[GateFailure]]
    remembered: bool


class Mark(NamedTuple):
    """What could not be checked of a model, which passed all the same.

    ``name`` stands in records, ``unknown`` says in the docs what was not known, ``label`` in a report tree.
    """

    name: str
    unknown: str
    label: str
    holds: Callable[[CompiledModel, GateContext], bool]


def required_step(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses every candidate, where a step with `required: true` (`screen` has it by default) cannot run."""
    return ()  # the rule's steps close it, for all candidates alike


# Under constraints that compare a model with features or with the state, no plan is remembered at all.
GATES: Final = (
    Gate("constraint", checks.constraint, remembered=True),
    Gate("operation", checks.operation, remembered=True),
    Gate("capability", checks.capability, remembered=True),
    Gate("embedding_space", checks.embedding_space, remembered=True),
    Gate("context_window", checks.context_window, remembered=True),
    Gate("memory", checks.memory, remembered=True),
    Gate("disabled", checks.disabled, remembered=True),
    Gate("health", checks.health, remembered=True),
    Gate("breaker", checks.breaker, remembered=True),
    Gate("quota", money.quota_limit, remembered=True),
    Gate("quota", money.prompt_cost, remembered=True),
    Gate("quota", money.answer_cost, remembered=True),
    Gate("required_step", required_step, remembered=True),
)
"""In the order in which candidates meet them. The same gates hold for every role: candidate, fallback, drafter,
verifier, judge, ensemble member, pin; only the price of the answer is not asked of those that give another one."""

BREAKER_OPEN_LAST: Final = "breaker_open_last"
"""On a model whose breaker is open, and which passed because no other is left."""

MARKS: Final = (
    Mark(
        "capability_unverified",
        "a feature that would need a capability which the model lacks",
        "a capability that an unknown feature may need",
        lambda model, context: not context.perhaps_needs <= model.capabilities,
    ),
    Mark(
        "context_unverified",
        "the length of the prompt, or the model's window; or whether a length that was estimated fits",
        "whether the prompt fits",
        lambda model, context: fit_of(model, context.request, context.task.operation) == "unverified",
    ),
    Mark(
        "memory_unverified",
        "what the model needs, or what is in memory, where a backend's memory is bounded",
        "whether it fits into memory",
        lambda model, context: is_fit_unknown(model, context.state),
    ),
    Mark(
        "health_unknown",
        "the model's health",
        "health",
        lambda model, context: context.known(model).health is None,
    ),
    Mark(
        "breaker_half_open",
        "whether the model is well again: its breaker lets a call through to see",
        "breaker half open",
        lambda model, context: context.known(model).breaker == "half_open",
    ),
    Mark(
        "quota_unverified",
        "what is used of a quota that binds the model",
        "what is used of a quota",
        money.is_use_unknown,
    ),
    Mark(
        "cost_unverified",
        "how long the prompt or the answer is, where the task may cost more than it is allowed to",
        "whether the cost fits",
        money.may_cost_more,
    ),
    Mark(
        BREAKER_OPEN_LAST,
        "whether the model is well again: its breaker is open, and no other model is left",
        "breaker open",
        lambda model, context: False,  # what a plan makes of all candidates together
    ),
)


def failures(model: CompiledModel, context: GateContext, *, answers: bool = True) -> Iterator[GateFailure]:
    """The gates that ``model`` does not pass, in order; the first is the one that a record keeps.

    ``answers`` says that the model is to give the answer of the task, and not to be a part around it.
    """
    for gate in GATES:
        if answers or gate.check is not money.answer_cost:
            yield from gate.check(model, context)


def marks(model: CompiledModel, context: GateContext) -> tuple[str, ...]:
    """What could not be checked of a model, and passed for that."""
    return tuple([mark.name for mark in MARKS if mark.holds(model, context)])


@dataclass(frozen=True, slots=True)
class PartFailure(GateFailure):
    """A part of a plan that cannot be used; ``text`` names it, ``failure`` is the gate that its model did not pass."""

    varies: ClassVar = True

    failure: GateFailure

    @property
    def lasting(self) -> str:
        return f"{self.text}: {self.failure.lasting}"

    def facts(self, call: Call) -> Mapping[str, object]:
        return {**self.data, "failure": {"gate": self.failure.gate, **self.failure.facts(call)}}

    def recorded(self, call: Call) -> str:
        return f"{self.text}: {self.failure.recorded(call)}"

    def explained(self, call: Call) -> str:
        return f"{self.text}: {self.failure.explained(call)}"
