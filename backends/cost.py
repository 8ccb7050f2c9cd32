"""Prices token counts, in integer nano-units (10⁻⁹) of a currency; ``None`` is not known."""

from __future__ import annotations

from dataclasses import dataclass

from .protocol import Usage

_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """Nano-units for a million tokens; without a cached price, cached tokens cost what input costs."""

    input_nano: int
    output_nano: int
    cached_input_nano: int | None = None
    currency: str = "USD"
    since: str | None = None


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
