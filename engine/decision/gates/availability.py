"""Gates for whether a model may be called now: disabled in the catalog, its health, its breaker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from ...policy import CompiledModel
from ...report import iso_time
from ..task import ModelState
from .context import NOTHING_KNOWN, GateContext
from .failure import Call, GateFailure, Mark

HARD_FAILURES: Final = frozenset(("quota_exhausted",))
"""Failures that only time mends, and whose end is known: the breaker that they open holds even for the last
model that is left. (Where somebody has to pay or sign in, that may have happened a moment ago.)"""


@dataclass(frozen=True, slots=True)
class Disabled(GateFailure, gate="disabled", remembered=True):
    """Refuses a model that the catalog takes out, or its backend."""

    why: str

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        return () if model.disabled is None else (cls(model.disabled),)

    def recorded(self, call: Call) -> str:
        return self.why


@dataclass(frozen=True, slots=True)
class Health(GateFailure, gate="health", remembered=True):
    """Refuses a model known to be unhealthy."""

    mark: ClassVar = Mark("health_unknown", "the model's health", "health")

    why: str | None

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        known = context.state.models.get(model.id, NOTHING_KNOWN)
        return (cls(known.health_detail),) if known.health == "unhealthy" else ()

    @classmethod
    def is_unverified(cls, model: CompiledModel, context: GateContext) -> bool:
        return context.state.models.get(model.id, NOTHING_KNOWN).health is None

    def recorded(self, call: Call) -> str:
        return "the model is unhealthy" + ("" if self.why is None else f": {self.why}")


@dataclass(frozen=True, slots=True)
class Breaker(GateFailure, gate="breaker", remembered=True):
    """Refuses a model whose breaker is open, unless no other is left (see below)."""

    mark: ClassVar = Mark(
        "breaker_half_open",
        "whether the model is well again: its breaker lets a call through to see",
        "breaker half open",
    )

    varies: ClassVar = True

    model: str

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        known = context.state.models.get(model.id, NOTHING_KNOWN)
        return (cls(model.id),) if known.breaker == "open" else ()

    @classmethod
    def is_unverified(cls, model: CompiledModel, context: GateContext) -> bool:
        return context.state.models.get(model.id, NOTHING_KNOWN).breaker == "half_open"

    def _known(self, call: Call) -> ModelState:
        return call.state.models.get(self.model, NOTHING_KNOWN)

    def facts(self, call: Call) -> Mapping[str, object]:
        known = self._known(call)
        return {"until_us": known.breaker_until_us, "after": known.breaker_after}

    def recorded(self, call: Call) -> str:
        known = self._known(call)
        until = "" if known.breaker_until_us is None else f" until {iso_time(known.breaker_until_us)}"
        after = "" if known.breaker_after is None else f" after {known.breaker_after}"
        return f"its breaker is open{until}{after}"


def closes_first(models: Sequence[int], context: GateContext) -> int | None:
    """Of models that nothing but an open breaker keeps from being used, the one to use all the same.

    The one whose breaker closes first; of several, and where nobody knows when, the first. None where each has
    to be left alone, since its provider's limit is used up: asking it sooner only wastes calls.
    """
    catalog = context.policy.catalog.models
    best: tuple[float, int] | None = None
    for index in models:
        known = context.state.models[catalog[index].id]
        until_us = float("inf") if known.breaker_until_us is None else known.breaker_until_us
        if known.breaker_after not in HARD_FAILURES and (best is None or until_us < best[0]):
            best = (until_us, index)
    return None if best is None else best[1]
