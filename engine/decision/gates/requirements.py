"""Gates for what a task requires: constraints, its operation, capabilities, embedding space, context window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from ...policy import MAY_FORWARD, CompiledConstraint, CompiledModel, Operation
from ..token_limits import Fit, Lengths, fit_of, lengths_of
from .context import NOTHING_KNOWN, GateContext
from .failure import Call, GateFailure, Mark


# Under constraints that compare a model with features or with the state, no plan is remembered at all.
@dataclass(frozen=True, slots=True)
class Constraint(GateFailure, gate="constraint", remembered=True):
    """Refuses what a constraint does not allow. Whatever is not known to be allowed is refused: an unknown `when`
    counts as true, an unknown `require` as false."""

    constraint: CompiledConstraint
    model: CompiledModel
    applies: bool
    """False if it is unknown whether the constraint applies."""
    required: bool | None
    """False, or None for unknown."""

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterator[Self]:
        for constraint, known in context.constraints:
            verdict = _require(constraint, model, context)
            if verdict is not True:
                yield cls(constraint, model, known, verdict)

    def facts(self, call: Call) -> Mapping[str, object]:
        return {
            "constraint": self.constraint.name,
            "applies": self.applies or None,
            "required": self.required,
        }

    def recorded(self, call: Call) -> str:
        name, reason = self.constraint.name, self.constraint.reason
        why = name if reason is None else f"{name}: {reason}"
        unknown = ["whether it applies"] * (not self.applies) + ["what it requires"] * (self.required is None)
        if unknown:
            why += f" ({' and '.join(unknown)} is unknown)"
        model = self.model
        if (
            self.required is None
            and model.location is None
            and "model.location" in self.constraint.require.names
        ):
            why += f"; nothing says whether `{model.id}` runs on this machine: {MAY_FORWARD}"
        return why


def _require(constraint: CompiledConstraint, model: CompiledModel, context: GateContext) -> bool | None:
    if constraint.by_model is not None:
        return constraint.by_model[model.index]
    assert constraint.function is not None
    known = context.state.models.get(model.id, NOTHING_KNOWN)
    facts = [
        known.latency_ms if name == "state.latency_ms" else model.facts.get(name)
        for name in constraint.model_names
    ]
    verdict: bool | None = constraint.function((*context.parameters, *facts))[0]
    return verdict


@dataclass(frozen=True, slots=True)
class Offered(GateFailure, gate="operation", remembered=True):
    """Refuses a model that does not do the task's operation, or whose backend does not; a step of anything but a
    chat."""

    operation: Operation
    model: CompiledModel | None
    """None for a step, which the operation does not have."""

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        operation = context.task.operation
        return () if operation in model.operations else (cls(operation, model),)

    def recorded(self, call: Call) -> str:
        model, operation = self.model, self.operation
        if model is None:
            return f"{operation} has no steps"
        offered = operation in model.shape.operations
        return f"{f'backend {model.backend}' if offered else 'the model'} does not offer {operation}"


@dataclass(frozen=True, slots=True)
class Capability(GateFailure, gate="capability", remembered=True):
    """Refuses a model without what a true feature `needs:`, or without `vision`, `tools` or `json_schema` where the
    request has images, tools or a schema."""

    mark: ClassVar = Mark(
        "capability_unverified",
        "a feature that would need a capability which the model lacks",
        "a capability that an unknown feature may need",
    )

    capability: str
    asked_by: str

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        return [cls(need, by) for need, by in context.needs if need not in model.capabilities]

    @classmethod
    def is_unverified(cls, model: CompiledModel, context: GateContext) -> bool:
        return not context.perhaps_needs <= model.capabilities

    def recorded(self, call: Call) -> str:
        return f"{self.asked_by} needs {self.capability}"


@dataclass(frozen=True, slots=True)
class EmbeddingSpace(GateFailure, gate="embedding_space", remembered=True):
    """Refuses for `embed`, a model outside the space of the first candidate that offers it, whether that one is
    eligible or not: an index belongs to the model that filled it."""

    space: str | None
    first: str

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        if context.embedding_space is None:
            return ()
        space, first = context.embedding_space
        fits = model.id == first or (space is not None and model.embedding_space == space)
        return () if fits else (cls(model.embedding_space, first),)

    def recorded(self, call: Call) -> str:
        return f"its vectors are of {self.space or 'an unnamed space'}, those of {self.first} are not"


@dataclass(frozen=True, slots=True)
class ContextWindow(GateFailure, gate="context_window", remembered=True):
    """Refuses a model whose window is known to be too short for the prompt, or, for `chat`, for the prompt and the
    answer that is asked for (`max_output_tokens`, or the model's own if that is less): a shorter answer than asked
    for would be cut in silence."""

    mark: ClassVar = Mark(
        "context_unverified",
        "the length of the prompt, or the model's window; or whether a length that was estimated fits",
        "whether the prompt fits",
    )

    model: CompiledModel
    fit: Fit

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        fit = fit_of(model, context.request, context.task.operation)
        return (cls(model, fit),) if fit in ("prompt_too_long", "answer_too_long") else ()

    @classmethod
    def is_unverified(cls, model: CompiledModel, context: GateContext) -> bool:
        return fit_of(model, context.request, context.task.operation) == "unverified"

    def _lengths(self, call: Call) -> Lengths:
        return lengths_of(self.model, call.request, call.task.operation)

    def facts(self, call: Call) -> Mapping[str, object]:
        lengths = self._lengths(call)
        return {"limit": self.model.context_length, "prompt": lengths.prompt, "answer": lengths.answer}

    def recorded(self, call: Call) -> str:
        what = (
            "the prompt does" if self.fit == "prompt_too_long" else "the prompt and the answer asked for do"
        )
        return f"{what} not fit into {self.model.context_length} tokens"

    def explained(self, call: Call) -> str:
        lengths, limit = self._lengths(call), self.model.context_length
        if lengths.prompt is None:
            return f"an answer of {lengths.answer} tokens does not fit into {limit}"
        asked = f" + {lengths.answer}" if lengths.answer else ""
        half = "" if lengths.exact else f" ({lengths.prompt} is half of the estimate)"
        return f"{lengths.prompt}{asked} tokens do not fit into {limit}{half}"
