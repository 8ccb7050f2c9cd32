"""Gates for what may be used: quotas with their reserves, and what one task may cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar, Self

from ...policy import MAX_EXACT, CompiledModel, Quota, TaskCost, nano_units
from ...report import money_text
from ..token_limits import TOO_LOW, affordable_tokens, is_exact, least_tokens, longest_answer
from .context import GateContext
from .failure import Call, GateFailure, Mark

_UNPRICED = "its price is unknown, and unknown costs are refused"


@dataclass(frozen=True, slots=True)
class QuotaLimit(GateFailure, gate="quota", remembered=True):
    """Refuses a model whose quota is used up, reserves for other work included; under a limit in money, a model
    without a price unless `unknown_cost: allow`; a model whose price for the prompt, or for the
    prompt and the longest answer that it may give, is more than the task may cost."""

    mark: ClassVar = Mark(
        "quota_unverified", "what is used of a quota that binds the model", "what is used of a quota"
    )

    varies: ClassVar = True

    quota: Quota
    limit: int | None
    """What the task may use of the quota, in its unit; None if the model is refused for its unknown price."""
    held: tuple[str, ...]
    """The reserves that are kept from the task."""

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterator[Self]:
        for quota in context.policy.quotas:
            if model.index not in quota.models:
                continue
            if quota.refuses_unknown_cost and model.shape.price is None:
                yield cls(quota, None, ())
            limit, held = allowance(quota, context.reserves)
            # Whatever is used, nothing is left of nothing.
            if context.state.quota_used.get(quota.name, 0) >= limit:
                yield cls(quota, limit, tuple(held))

    @classmethod
    def is_unverified(cls, model: CompiledModel, context: GateContext) -> bool:
        used = context.state.quota_used
        return any(model.index in quota.models and quota.name not in used for quota in context.policy.quotas)

    def facts(self, call: Call) -> Mapping[str, object]:
        if self.limit is None:
            return {"control": self.quota.name, "price": None}
        return {
            "control": self.quota.name,
            "limit": self.limit,
            "value": call.state.quota_used.get(self.quota.name),
            "unit": self.quota.unit,
            "currency": self.quota.currency,
            "held": list(self.held),
        }

    def recorded(self, call: Call) -> str:
        quota, limit = self.quota, self.limit
        if limit is None:
            return f"{quota.name}: {_UNPRICED}"
        used = call.state.quota_used.get(quota.name)
        kept = f", the rest is kept by {', '.join(self.held)}" if self.held else ""
        if used is None:
            return f"{quota.name}: {_amount(limit, quota)} may be used{kept}"
        kept = kept if used < quota.limit else ""
        return f"{quota.name}: {_number(used, quota)} of {_amount(limit, quota)} used{kept}"


@dataclass(frozen=True, slots=True)
class CostLimit(GateFailure, gate="quota", remembered=True):
    """What one task may cost: only what is certain refuses here, the rest is reserved when it is executed."""

    cost: TaskCost
    model: CompiledModel

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        cost = context.policy.limits.cost
        if cost is None:
            return ()
        if model.shape.price is None:
            return (cls(cost, model),) if cost.refuses_unknown else ()
        tokens, most = least_tokens(model, context.request), affordable_tokens(model, cost)
        return (cls(cost, model),) if tokens is not None and most is not None and tokens > most else ()

    def _prompt_nano(self, call: Call) -> int | None:
        """What the prompt costs at least; None if that is no exact number in JSON."""
        price, tokens = self.model.shape.price, least_tokens(self.model, call.request)
        if price is None or tokens is None:
            return None
        nano = math.floor(Fraction(nano_units(price.input), 1_000_000) * tokens)
        return nano if nano <= MAX_EXACT else None

    def facts(self, call: Call) -> Mapping[str, object]:
        cost = self.cost
        limit = {"control": cost.control, "limit": cost.limit, "currency": cost.currency}
        return {**limit, "value": self._prompt_nano(call)}

    def recorded(self, call: Call) -> str:
        if self.model.shape.price is None:
            return f"{self.cost.control}: {_UNPRICED}"
        limit = f"{money_text(self.cost.limit)} {self.cost.currency}"
        return f"{self.cost.control}: the prompt alone costs more than {limit}"

    def explained(self, call: Call) -> str:
        nano = self._prompt_nano(call)
        if nano is None:
            return self.recorded(call)
        limit, currency = money_text(self.cost.limit), self.cost.currency
        alone = f"the prompt alone costs {money_text(nano)} {currency}"
        return f"{self.cost.control}: {alone}, more than {limit} {currency}"


@dataclass(frozen=True, slots=True)
class AnswerCost(GateFailure, gate="quota", remembered=True):
    """What one task may cost with its answer, of which the longest is reserved before the call.

    Steps and judges are asked for answers of their own, so this gate is for candidates only.
    """

    mark: ClassVar = Mark(
        "cost_unverified",
        "how long the prompt or the answer is, where the task may cost more than it is allowed to",
        "whether the cost fits",
    )

    cost: TaskCost
    model: CompiledModel
    answer: int

    @classmethod
    def check(cls, model: CompiledModel, context: GateContext) -> Iterable[Self]:
        cost, request = context.policy.limits.cost, context.request
        if cost is None or (answer := _longest_answer(model, context)) is None:
            return ()
        least, alone = least_tokens(model, request) or 0, affordable_tokens(model, cost)
        most = affordable_tokens(model, cost, answer)
        # A prompt that alone costs too much is told by the limit on it.
        refused = most is not None and least > most and (alone is None or least <= alone)
        return (cls(cost, model, answer),) if refused else ()

    @classmethod
    def is_unverified(cls, model: CompiledModel, context: GateContext) -> bool:
        cost, request = context.policy.limits.cost, context.request
        if cost is None or model.shape.price is None:
            return False
        answer, tokens = _longest_answer(model, context), request.prompt_tokens
        if answer is None or tokens is None:
            return True
        most = affordable_tokens(model, cost, answer)
        longest = tokens if is_exact(model, request) else tokens * TOO_LOW
        return most is not None and longest > most

    def facts(self, call: Call) -> Mapping[str, object]:
        limit = {"control": self.cost.control, "limit": self.cost.limit, "currency": self.cost.currency}
        return {**limit, "answer": self.answer}

    def recorded(self, call: Call) -> str:
        limit = f"{money_text(self.cost.limit)} {self.cost.currency}"
        return (
            f"{self.cost.control}: with an answer of {self.answer} tokens it may cost more than {limit}: ask for a "
            "shorter one (`max_output_tokens`)"
        )


def _longest_answer(model: CompiledModel, context: GateContext) -> int | None:
    return longest_answer(model, context.request.max_output_tokens, context.task.operation)


def allowance(quota: Quota, reserves: Sequence[bool | None]) -> tuple[int, list[str]]:
    """What the task may use of a quota, at least 0, and the reserves that are kept from it.

    A reserve is kept from every task that is not known to be one that it is for.
    """
    held = [reserve for reserve in quota.reserves if reserves[reserve.condition] is not True]
    return max(0, quota.limit - sum(reserve.held for reserve in held)), [reserve.name for reserve in held]


def _amount(value: int, quota: Quota) -> str:
    unit = {"cost": quota.currency, "concurrent": "calls at once"}.get(quota.unit, quota.unit)
    return f"{_number(value, quota)} {unit}"


def _number(value: int, quota: Quota) -> str:
    return money_text(value, 2) if quota.unit == "cost" else str(value)
