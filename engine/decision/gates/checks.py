"""Gates for what a task requires of a model, and for whether the model may be called now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from ...policy import MAY_FORWARD, CompiledConstraint, CompiledModel, Operation
from ...report import gigabytes, iso_time
from ..fit import memory_fit
from ..task import NOTHING_KNOWN, ModelState
from ..token_limits import fit_of, lengths_of
from .context import Call, GateContext, GateFailure

HARD_FAILURES: Final = frozenset(("quota_exhausted",))
"""Failures that only time mends, and whose end is known: the breaker that they open holds even for the last
model that is left. (Where somebody has to pay or sign in, that may have happened a moment ago.)"""


def constraint(model: CompiledModel, context: GateContext) -> Iterator[GateFailure]:
    """Refuses what a constraint does not allow. Whatever is not known to be allowed is refused: an unknown `when`
    counts as true, an unknown `require` as false."""
    for one, applies in context.constraints:
        required = _require(one, model, context)
        if required is True:
            continue
        why = one.name if one.reason is None else f"{one.name}: {one.reason}"
        unknown = ["whether it applies"] * (not applies) + ["what it requires"] * (required is None)
        if unknown:
            why += f" ({' and '.join(unknown)} is unknown)"
        if required is None and model.location is None and "model.location" in one.require.names:
            why += f"; nothing says whether `{model.id}` runs on this machine: {MAY_FORWARD}"
        data = {"constraint": one.name, "applies": applies or None, "required": required}
        yield GateFailure("constraint", why, data)


def _require(one: CompiledConstraint, model: CompiledModel, context: GateContext) -> bool | None:
    if one.by_model is not None:
        return one.by_model[model.index]
    assert one.function is not None
    known = context.known(model)
    facts = [candidate_fact(name, model, known) for name in one.model_names]
    verdict: bool | None = one.function((*context.parameters, *facts))[0]
    return verdict


def candidate_fact(name: str, model: CompiledModel, known: ModelState) -> object:
    """The value of a name that conditions on a candidate may use: a fact of the model, or of its state now."""
    field = name.removeprefix("state.")
    return model.facts.get(name) if field == name else getattr(known, field)


def operation(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses a model that does not do the task's operation, or whose backend does not; a step of anything but a
    chat."""
    asked = context.task.operation
    if asked in model.operations:
        return ()
    who = f"backend {model.backend}" if asked in model.shape.operations else "the model"
    return (GateFailure("operation", f"{who} does not offer {asked}", {"operation": asked}),)


def no_steps(asked: Operation) -> GateFailure:
    """Why no step is taken of ``asked``, which is not ``chat``."""
    return GateFailure("operation", f"{asked} has no steps", {"operation": asked, "model": None})


def capability(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses a model without what a true feature `needs:`, or without `vision`, `tools` or `json_schema` where the
    request has images, tools or a schema."""
    return [
        GateFailure("capability", f"{by} needs {need}", {"capability": need, "asked_by": by})
        for need, by in context.needs
        if need not in model.capabilities
    ]


def embedding_space(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses for `embed`, a model outside the space of the first candidate that offers it, whether that one is
    eligible or not: an index belongs to the model that filled it."""
    if context.embedding_space is None:
        return ()
    space, first = context.embedding_space
    own = model.embedding_space
    if model.id == first or (space is not None and own == space):
        return ()
    why = f"its vectors are of {own or 'an unnamed space'}, those of {first} are not"
    return (GateFailure("embedding_space", why, {"space": own, "first": first}),)


@dataclass(frozen=True, slots=True)
class _TooLong(GateFailure):
    model: CompiledModel

    def facts(self, call: Call) -> Mapping[str, object]:
        lengths = lengths_of(self.model, call.request, call.task.operation)
        return {"limit": self.model.context_length, "prompt": lengths.prompt, "answer": lengths.answer}

    def explained(self, call: Call) -> str:
        lengths = lengths_of(self.model, call.request, call.task.operation)
        limit = self.model.context_length
        if lengths.prompt is None:
            return f"an answer of {lengths.answer} tokens does not fit into {limit}"
        prompt = f"a prompt of {lengths.prompt} tokens"
        if not lengths.exact:
            prompt = f"half of the estimated prompt, {lengths.prompt} tokens,"
        fits = f"and an answer of {lengths.answer} do" if lengths.answer else "does"
        return f"{prompt} {fits} not fit into {limit}"


def context_window(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses a model whose window is known to be too short for the prompt, or, for `chat`, for the prompt and the
    answer that is asked for (`max_output_tokens`, or the model's own if that is less): a shorter answer than asked
    for would be cut in silence."""
    fit = fit_of(model, context.request, context.task.operation)
    if fit in ("fits", "unverified"):
        return ()
    what = "the prompt does" if fit == "prompt_too_long" else "the prompt and the answer asked for do"
    why = f"{what} not fit into {model.context_length} tokens"
    return (_TooLong("context_window", why, {}, model),)


def memory(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses a model that needs more memory than all models of its backend may take together. One that fits once
    others are unloaded passes."""
    fit = memory_fit(model, context.state)
    if fit.how != "never" or fit.needed_bytes is None or fit.limit_bytes is None:
        return ()
    why = (
        f"it needs {gigabytes(fit.needed_bytes)} of memory, and all models of {model.backend} together have"
        f" {gigabytes(fit.limit_bytes)}"
    )
    return (GateFailure("memory", why, {"limit": fit.limit_bytes, "value": fit.needed_bytes}),)


def disabled(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses a model that the catalog takes out, or its backend."""
    why = model.disabled
    return () if why is None else (GateFailure("disabled", why, {"why": why}),)


def health(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses a model known to be unhealthy."""
    known = context.known(model)
    if known.health != "unhealthy":
        return ()
    why = "" if known.health_detail is None else f": {known.health_detail}"
    return (GateFailure("health", f"the model is unhealthy{why}", {"why": known.health_detail}),)


@dataclass(frozen=True, slots=True)
class _Open(GateFailure):
    varies: ClassVar = True

    model: str

    @property
    def lasting(self) -> str:
        return "its breaker is open"

    def facts(self, call: Call) -> Mapping[str, object]:
        known = call.state.models.get(self.model, NOTHING_KNOWN)
        return {"until_us": known.breaker_until_us, "after": known.breaker_after}

    def recorded(self, call: Call) -> str:
        known = call.state.models.get(self.model, NOTHING_KNOWN)
        until = "" if known.breaker_until_us is None else f" until {iso_time(known.breaker_until_us)}"
        after = "" if known.breaker_after is None else f" after {known.breaker_after}"
        return f"{self.lasting}{until}{after}"


def breaker(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Refuses a model whose breaker is open, unless no other is left (see below)."""
    return (_Open("breaker", "", {}, model.id),) if context.known(model).breaker == "open" else ()


def closes_first(models: Sequence[int], context: GateContext) -> int | None:
    """Of models that nothing but an open breaker keeps from being used, the one to use all the same.

    The one whose breaker closes first; of several, and where nobody knows when, the first. None where each has
    to be left alone, since its provider's limit is used up: asking it sooner only wastes calls.
    """
    until: dict[int, float] = {}
    for index in models:
        known = context.known(context.policy.catalog.models[index])
        if known.breaker_after not in HARD_FAILURES:
            until[index] = float("inf") if known.breaker_until_us is None else known.breaker_until_us
    return min(until, key=until.__getitem__, default=None)
