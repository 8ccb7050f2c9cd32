"""Gates for what may be used: quotas with their reserves, and what one task may cost."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import ClassVar

from ...policy import MAX_EXACT, CompiledModel, Quota, TaskCost, nano_units
from ...report import money_text
from ..token_limits import TOO_LOW, affordable_tokens, is_exact, least_tokens, longest_answer
from .context import Call, GateContext, GateFailure

_UNPRICED = "its price is unknown, and unknown costs are refused"


@dataclass(frozen=True, slots=True)
class _UsedUp(GateFailure):
    varies: ClassVar = True

    quota: Quota
    limit: int
    held: tuple[str, ...]

    def facts(self, call: Call) -> Mapping[str, object]:
        return {
            "control": self.quota.name,
            "limit": self.limit,
            "value": call.state.quota_used.get(self.quota.name),
            "unit": self.quota.unit,
            "currency": self.quota.currency,
            "held": list(self.held),
        }

    @property
    def lasting(self) -> str:
        return f"{self.quota.name}: {self._most} may be used{self._kept}"

    def recorded(self, call: Call) -> str:
        quota = self.quota
        used = call.state.quota_used.get(quota.name)
        if used is None:
            return self.lasting
        kept = self._kept if used < quota.limit else ""
        return f"{quota.name}: {_number(used, quota)} of {self._most} used{kept}"

    @property
    def _most(self) -> str:
        unit = {"cost": self.quota.currency, "concurrent": "calls at once"}.get(
            self.quota.unit, self.quota.unit
        )
        return f"{_number(self.limit, self.quota)} {unit}"

    @property
    def _kept(self) -> str:
        return f", the rest is kept by {', '.join(self.held)}" if self.held else ""


def quota_limit(model: CompiledModel, context: GateContext) -> Iterator[GateFailure]:
    """Refuses a model whose quota is used up, reserves for other work included; under a limit in money, a model
    without a price unless `unknown_cost: allow`; a model whose price for the prompt, or for the
    prompt and the longest answer that it may give, is more than the task may cost."""
    for quota in context.policy.quotas:
        if model.index not in quota.models:
            continue
        if quota.refuses_unknown_cost and model.shape.price is None:
            yield GateFailure("quota", f"{quota.name}: {_UNPRICED}", {"control": quota.name, "price": None})
        limit, held = allowance(quota, context.reserves)
        # Whatever is used, nothing is left of nothing.
        if context.state.quota_used.get(quota.name, 0) >= limit:
            yield _UsedUp("quota", "", {}, quota, limit, tuple(held))


def is_use_unknown(model: CompiledModel, context: GateContext) -> bool:
    """Whether nobody knows what is used of a quota that binds the model."""
    used = context.state.quota_used
    return any(model.index in quota.models and quota.name not in used for quota in context.policy.quotas)


def _prompt_nano(model: CompiledModel, call: Call) -> int | None:
    """What the prompt costs at least; None if that is no exact number in JSON."""
    price, tokens = model.shape.price, least_tokens(model, call.request)
    if price is None or tokens is None:
        return None
    nano = math.floor(Fraction(nano_units(price.input), 1_000_000) * tokens)
    return nano if nano <= MAX_EXACT else None


@dataclass(frozen=True, slots=True)
class _TooDear(GateFailure):
    cost: TaskCost
    model: CompiledModel

    def facts(self, call: Call) -> Mapping[str, object]:
        return {**self.data, "value": _prompt_nano(self.model, call)}

    def explained(self, call: Call) -> str:
        nano, currency = _prompt_nano(self.model, call), self.cost.currency
        if nano is None:
            return self.text
        alone = f"{self.cost.control}: the prompt alone costs {money_text(nano)} {currency}"
        return f"{alone}, more than {money_text(self.cost.limit)} {currency}"


def prompt_cost(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """Only what is certain refuses here, the rest is reserved when the task is executed."""
    cost = context.policy.limits.cost
    if cost is None:
        return ()
    why = _UNPRICED
    if model.shape.price is not None:
        tokens, most = least_tokens(model, context.request), affordable_tokens(model, cost)
        if tokens is None or most is None or tokens <= most:
            return ()
        why = f"the prompt alone costs more than {money_text(cost.limit)} {cost.currency}"
    elif not cost.refuses_unknown:
        return ()
    return (_TooDear("quota", f"{cost.control}: {why}", _limit(cost), cost, model),)


def answer_cost(model: CompiledModel, context: GateContext) -> Iterable[GateFailure]:
    """The longest answer is reserved before the call. Steps and judges are asked for answers of their own, so this gate
    is for candidates only."""
    cost, request = context.policy.limits.cost, context.request
    if cost is None or (answer := _longest_answer(model, context)) is None:
        return ()
    least, alone = least_tokens(model, request) or 0, affordable_tokens(model, cost)
    most = affordable_tokens(model, cost, answer)
    # A prompt that alone costs too much is told by the limit on it.
    if most is None or least <= most or (alone is not None and least > alone):
        return ()
    why = (
        f"{cost.control}: with an answer of {answer} tokens it may cost more than {money_text(cost.limit)} "
        f"{cost.currency}: ask for a shorter one (`max_output_tokens`)"
    )
    return (GateFailure("quota", why, {**_limit(cost), "answer": answer}),)


def may_cost_more(model: CompiledModel, context: GateContext) -> bool:
    """Whether nobody knows that the prompt with its answer costs no more than the task may."""
    cost, request = context.policy.limits.cost, context.request
    if cost is None or model.shape.price is None:
        return False
    answer, tokens = _longest_answer(model, context), request.prompt_tokens
    if answer is None and model.shape.price.output:
        return True
    most = affordable_tokens(model, cost, answer or 0)
    if most is None or tokens is None:
        return most is not None
    return (tokens if is_exact(model, request) else tokens * TOO_LOW) > most


def _longest_answer(model: CompiledModel, context: GateContext) -> int | None:
    return longest_answer(model, context.request.max_output_tokens, context.task.operation)


def _limit(cost: TaskCost) -> dict[str, object]:
    return {"control": cost.control, "limit": cost.limit, "currency": cost.currency}


def allowance(quota: Quota, reserves: Sequence[bool | None]) -> tuple[int, list[str]]:
    """What the task may use of a quota, at least 0, and the reserves that are kept from it.

    A reserve is kept from every task that is not known to be one that it is for.
    """
    held = [reserve for reserve in quota.reserves if reserves[reserve.condition] is not True]
    return max(0, quota.limit - sum(reserve.held for reserve in held)), [reserve.name for reserve in held]


def _number(value: int, quota: Quota) -> str:
    return money_text(value, 2) if quota.unit == "cost" else str(value)
