"""Says in SQL whether a task may cost what a model costs, and what is left of quotas, as the gates do for one task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...policy import CompiledModel, CompiledPolicy, Quota, nano_units
from ..token_limits import TOO_LOW, affordable_tokens
from .keys import KeyPart, condition_column, quota_column
from .lengths import exact_sql


def cost_parts(policy: CompiledPolicy, models: Sequence[CompiledModel]) -> Iterator[KeyPart]:
    """What the gates and the mark for the cost of one task come to, as ``money`` has them."""
    cost = policy.limits.cost
    if cost is None:
        return
    priced = {
        (
            nano_units(price.input),
            nano_units(price.output),
            model.tokenizer,
            model.shape.max_output_tokens,
        ): model
        for model in models
        if (price := model.shape.price) is not None
    }
    too_long = []
    for number, ((rate_in, rate_out, _, most_out), model) in enumerate(priced.items()):
        exact = exact_sql(policy, model)
        limit = cost.limit * 1_000_000 + 499_999
        # What nobody limits has no price that could be reserved.
        asked = (
            "max_output_tokens"
            if most_out is None
            else f"least(coalesce(max_output_tokens, {most_out}), {most_out})"
        )
        answer = f"(CASE WHEN op = 0 THEN {asked} ELSE 0 END)"
        left = f"({limit}::HUGEINT - coalesce({answer}, 0)::HUGEINT * {rate_out})"
        twice = f"((CASE WHEN {exact} THEN 2 ELSE 1 END)::HUGEINT * coalesce(prompt_tokens, 0))"
        alone = affordable_tokens(model, cost)
        too_dear = "false" if alone is None else f"({twice} > {2 * alone} AND prompt_tokens IS NOT NULL)"
        if rate_in:
            # `//` cuts towards zero, and what is left may be less than nothing.
            most = f"(CASE WHEN {left} < 0 THEN -1 ELSE {left} // {rate_in} END)"
            longer = f"({twice} > 2 * {most})"
        else:
            longer = f"({left} < 0)"
        refused = f"({answer} IS NOT NULL AND {longer} AND NOT {too_dear})"
        numerator, denominator = TOO_LOW.numerator, TOO_LOW.denominator
        at_most = f"((CASE WHEN {exact} THEN {denominator} ELSE {numerator} END)::HUGEINT * prompt_tokens)"
        unsure = f"({answer} IS NULL)" if rate_out else "false"
        if rate_in:
            perhaps = f"({unsure} OR prompt_tokens IS NULL OR {at_most} > {denominator} * {most})"
        else:
            perhaps = f"({unsure} OR {left} < 0)"
        yield KeyPart(f"too_dear_{number}", f"{too_dear}::INTEGER", 2)
        yield KeyPart(f"answer_too_dear_{number}", f"{refused}::INTEGER", 2)
        yield KeyPart(f"perhaps_too_dear_{number}", f"{perhaps}::INTEGER", 2)
        too_long.append(refused)
    if too_long:
        # What a plan says of a model that is refused for its answer names the answer's length.
        yield KeyPart("answer", f"(CASE WHEN {' OR '.join(too_long)} THEN max_output_tokens END)", None)


def quota_parts(policy: CompiledPolicy, models: Sequence[CompiledModel]) -> Iterator[KeyPart]:
    """Whether each quota is used up for the task, and whether that is known."""
    used_by = {model.index for model in models}
    for position, quota in enumerate(policy.quotas):
        if quota.models.isdisjoint(used_by):
            continue
        used, limit = quota_column(position), allowance_sql(policy, quota)
        exhausted = f"(coalesce({used}, 0) >= {limit})::INTEGER"
        yield KeyPart(f"quota_{position}", f"({exhausted} + 2 * ({used} IS NULL)::INTEGER)", 4)
        for reserve in quota.reserves:
            column = condition_column(reserve.condition + len(policy.rules) + len(policy.constraints))
            yield KeyPart(f"reserve_{reserve.condition}", f"coalesce({column}, false)::INTEGER", 2)


def allowance_sql(policy: CompiledPolicy, quota: Quota) -> str:
    """What a task may use of a quota, as ``allowance`` has it."""
    first = len(policy.rules) + len(policy.constraints)
    kept = "".join(
        f" - (CASE WHEN {condition_column(first + reserve.condition)} THEN 0 ELSE {reserve.held} END)"
        for reserve in quota.reserves
    )
    return f"greatest(0, {quota.limit}::BIGINT{kept})"
