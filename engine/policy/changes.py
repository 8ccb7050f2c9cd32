"""Policies with other prices, limits or models than their files have, compiled anew from the changed shapes.

No text is written: the new policy keeps the texts that were read, and has digests of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final, TypeVar

from pydantic import ValidationError

from ..report import NANO
from .compile.controls import QUOTA_KEYS
from .compile.policy import compile_policy
from .compiled import CompiledPolicy
from .quantities import MAX_EXACT, MoneyAmount, nano_units, parse_money
from .reading.read import Source
from .shapes.catalog import Catalog, Model, Price
from .shapes.policy import Control
from .source.nodes import parse_yaml

S = TypeVar("S", Control, Price)


@dataclass(frozen=True, slots=True)
class PolicyChanges:
    """What stands in place of models, by id, and of controls, by name."""

    models: Mapping[str, Model] = field(default_factory=dict)
    controls: Mapping[str, Control] = field(default_factory=dict)


def with_changes(policy: CompiledPolicy, changes: PolicyChanges) -> CompiledPolicy:
    """``policy`` as it would be with the changes; itself where there are none.

    The candidate of its rollout stays as it is. Raises PolicyError where the changes do not fit the rest of the policy.
    """
    if changes == PolicyChanges():
        return policy
    catalog = policy.catalog.shape
    catalog = catalog.model_copy(update={"models": {**catalog.models, **changes.models}})
    controls = [changes.controls.get(one.name, one) for one in policy.shape.controls]
    shape = policy.shape.model_copy(update={"controls": controls})
    written = parse_yaml(policy.text, policy.source)
    candidate = None if policy.rollout is None else policy.rollout.candidate
    if isinstance(shape.catalog, Catalog):
        shape = shape.model_copy(update={"catalog": catalog})
        return compile_policy(Source(shape, written), candidate=candidate)
    beside = Source(catalog, parse_yaml(policy.catalog.text, policy.catalog.source))
    return compile_policy(Source(shape, written), beside, candidate=candidate)


def limit_of(control: Control) -> tuple[str, int] | None:
    """The key of what a control limits and its limit, money in nano-units; None for one that limits no use."""
    for key in QUOTA_KEYS:
        limit = getattr(control, key)
        if limit is not None:
            return key, limit.nano if isinstance(limit, MoneyAmount) else limit
    return None


def amount_of(control: Control, text: str) -> int:
    """An amount in the unit of a control's limit, such as ``1000`` or ``2.50 USD``; money in nano-units.

    Raises ValueError, also for money in another currency.
    """
    if control.max_cost is not None:
        money = parse_money(text)
        if money.currency != control.max_cost.currency:
            raise ValueError(f"expected an amount in {control.max_cost.currency}, as nothing is converted")
        return money.nano
    if not (text.isascii() and text.isdigit() and int(text[:20]) <= MAX_EXACT):
        raise ValueError(f"expected a whole number up to {MAX_EXACT}")
    return int(text)


def with_limit(control: Control, limit: int) -> Control:
    """The control with another limit, in the unit of its own. Raises ValueError for one that it cannot have."""
    key = next(key for key in QUOTA_KEYS if getattr(control, key) is not None)
    value: object = limit
    if control.max_cost is not None:
        whole, nano = divmod(limit, NANO)
        value = f"{whole}.{nano:09} {control.max_cost.currency}"
    least = 1 if key == "max_concurrent" else 0
    found = _checked(Control, {"name": "x", key: value}, f"a limit from {least} to {MAX_EXACT}")
    return control.model_copy(update={key: getattr(found, key)})


def new_price(input: Fraction, output: Fraction, currency: str) -> Price:
    """Prices per million tokens, none of its own for what is read from a cache. Raises ValueError."""
    return _checked(
        Price, {"input": _number(input), "output": _number(output), "currency": currency}, _PRICES
    )


def scaled_price(price: Price, factor: Fraction) -> Price:
    """All prices multiplied. Raises ValueError where one gets too high."""
    scaled = {
        name: _number(Fraction(nano_units(value), NANO) * factor)
        for name in ("input", "cached_input", "output")
        if (value := getattr(price, name)) is not None
    }
    return _checked(Price, {**price.model_dump(exclude_unset=True), **scaled}, _PRICES)


_PRICES: Final = "prices up to 1,000,000 per million tokens"


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _checked(shape: type[S], values: Mapping[str, object], wanted: str) -> S:
    try:
        return shape.model_validate(values)
    except ValidationError:
        raise ValueError(f"expected {wanted}") from None
