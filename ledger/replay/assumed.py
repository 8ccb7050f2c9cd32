"""What is assumed of the state in which recorded tasks are decided again, as values and in SQL."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Final

from routewright.engine.decision import NOTHING_KNOWN, Health, ModelState, State


@dataclass(frozen=True, slots=True)
class AssumedModel:
    """What is assumed of one model; the rest of its state stays as it was recorded.

    A model that is assumed to be healthy has its breaker closed. ``latency_ms`` takes the place of what was observed,
    and ``latency_factor`` multiplies that; where nothing was observed, nothing is.
    """

    health: Health | None = None
    latency_ms: float | None = None
    latency_factor: float = 1.0

    def of(self, known: ModelState) -> ModelState:
        """The state of the model under the assumption."""
        if self.health == "unhealthy":
            known = replace(known, health="unhealthy", health_detail=DETAIL)
        elif self.health == "healthy":
            known = replace(
                known,
                health="healthy",
                health_detail=None,
                breaker="closed",
                breaker_until_us=None,
                breaker_after=None,
            )
        if self.latency_ms is not None:
            known = replace(known, latency_ms=self.latency_ms)
        elif known.latency_ms is not None and self.latency_factor != 1.0:
            known = replace(known, latency_ms=min(known.latency_ms, self._most_ms) * self.latency_factor)
        return known

    def latency_sql(self, observed: str) -> str:
        """The same of a latency in SQL."""
        if self.latency_ms is not None:
            return f"{self.latency_ms!r}::DOUBLE"
        if self.latency_factor == 1.0:
            return observed
        # `least` passes over NULL.
        least = f"(least({observed}, {self._most_ms!r}::DOUBLE) * {self.latency_factor!r}::DOUBLE)"
        return f"(CASE WHEN {observed} IS NOT NULL THEN {least} END)"

    @property
    def _most_ms(self) -> float:
        """A longer latency, multiplied, would be no number any more."""
        return sys.float_info.max / max(self.latency_factor, 1.0)


DETAIL: Final = "assumed"
"""Why a model is unhealthy that is assumed to be down."""


@dataclass(frozen=True, slots=True)
class AssumedState:
    """What is assumed of models, by id, of the load, and of what is used of quotas, by name."""

    models: Mapping[str, AssumedModel] = field(default_factory=dict)
    load: float | None = None
    quota_used: Mapping[str, int] = field(default_factory=dict)

    def of(self, state: State) -> State:
        """The state of a recorded task under the assumptions."""
        if self == NOTHING_ASSUMED:
            return state
        models = {id: one.of(state.models.get(id, NOTHING_KNOWN)) for id, one in self.models.items()}
        return replace(
            state,
            models={**state.models, **models},
            load=state.load if self.load is None else self.load,
            quota_used={**state.quota_used, **self.quota_used},
        )

    @property
    def known(self) -> Set[str]:
        """The models of which it is assumed whether they can be called: nothing of them need be recorded."""
        return {id for id, one in self.models.items() if one.health is not None}


NOTHING_ASSUMED: Final = AssumedState()
