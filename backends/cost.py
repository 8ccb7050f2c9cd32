"""Prices calls, in integer nano-units (10⁻⁹) of a currency; ``None`` is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .protocol import CostSource, Usage

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """Nano-units for a million tokens; without a cached price, cached tokens cost what input costs."""

    input_nano: int
    output_nano: int
    cached_input_nano: int | None = None
    currency: str = "USD"
    since: str | None = None


class Cost(NamedTuple):
    """What a call costs, and how that is known, under the names that attempts have for it."""

    cost_nano: int | None
    currency: str | None
    cost_source: CostSource | None
    price_since: str | None


def cost_of(usage: Usage | None, price: PriceFacts | None) -> Cost:
    """What the server says that ``usage`` costs, else what it costs at ``price``.

    The server's word is left out if the catalog's price is in another currency, as nothing is converted, and if its
    token counts were too low to be true.
    """
    currency, since = (None, None) if price is None else (price.currency, price.since)
    if usage is not None and usage.billed_usd_nano is not None:
        if currency in (None, "USD") and usage.source != "lower_bound":
            return Cost(usage.billed_usd_nano, "USD", "billed", None)
    nano = cost_nano(usage, price)
    return Cost(nano, currency, None if usage is None or nano is None else usage.source, since)


def cost_nano(usage: Usage | None, price: PriceFacts | None) -> int | None:
    """What ``usage`` costs at ``price``, rounded half up; ``None`` when price or counts are unknown, never 0.

    Cached tokens are part of the input and are charged once, at their own price; reasoning tokens are part
    of the output.

    >>> cost_nano(Usage(1_000, 400, 50, 0, "reported"), PriceFacts(600_000_000, 2_500_000_000, 150_000_000))
    545000
    """
    if usage is None or price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = min(usage.cached_input_tokens or 0, usage.input_tokens)
    cached_price = price.input_nano if price.cached_input_nano is None else price.cached_input_nano
    total = (
        (usage.input_tokens - cached) * price.input_nano
        + cached * cached_price
        + usage.output_tokens * price.output_nano
    )
    return (total + _MILLION // 2) // _MILLION
