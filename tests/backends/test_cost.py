"""Money from token counts: integers, cached tokens once, unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright.backends import PriceFacts, Usage, cost_nano
from routewright.backends.cost import Cost, cost_of

PRICE = PriceFacts(600_000_000, 2_500_000_000, 150_000_000, "USD", "2026-01-01")


def usage(given_in: int | None, cached: int | None, out: int | None, reasoning: int | None = 0) -> Usage:
    return Usage(given_in, cached, out, reasoning, "reported")


@pytest.mark.parametrize(
    ("counts", "price", "expected"),
    [
        (usage(1_000, 0, 50), PRICE, 725_000),
        (usage(1_000, 400, 50), PRICE, 545_000),  # 600 × 600 + 400 × 150 + 50 × 2,500
        (usage(1_000, None, 50), PRICE, 725_000),
        (usage(1_000, 400, 50), PriceFacts(600_000_000, 2_500_000_000), 725_000),
        (usage(10, 0, 50, 40), PRICE, 131_000),  # reasoning tokens are inside the output
        (usage(0, 0, 0), PRICE, 0),
        (usage(1, 0, 0), PriceFacts(1, 1), 0),
        (usage(500_000, 0, 0), PriceFacts(1, 1), 1),  # half a nano-unit is rounded up
        (usage(10**12, 0, 10**12), PriceFacts(15 * 10**9, 75 * 10**9), 90 * 10**15),
    ],
)
def test_cost_is_exact(counts: Usage, price: PriceFacts, expected: int) -> None:
    assert cost_nano(counts, price) == expected


@pytest.mark.parametrize(
    ("counts", "price"),
    [(None, PRICE), (usage(5, 0, 5), None), (usage(None, 0, 5), PRICE), (usage(5, 0, None), PRICE)],
)
def test_unknown_counts_or_price_are_an_unknown_cost_and_never_zero(
    counts: Usage | None, price: PriceFacts | None
) -> None:
    assert cost_nano(counts, price) is None


EUROS = replace(PRICE, currency="EUR")


@pytest.mark.parametrize(
    ("counts", "price", "expected"),
    [
        (usage(1_000, 0, 50), PRICE, Cost(725_000, "USD", "reported", "2026-01-01")),
        (replace(usage(1_000, 0, 50), billed_usd_nano=7), PRICE, Cost(7, "USD", "billed", None)),
        (replace(usage(None, None, None), billed_usd_nano=7), None, Cost(7, "USD", "billed", None)),
        # Nothing is converted, and a server that counts too little is not believed.
        (
            replace(usage(1_000, 0, 50), billed_usd_nano=7),
            EUROS,
            Cost(725_000, "EUR", "reported", "2026-01-01"),
        ),
        (Usage(1_000, 0, 50, 0, "lower_bound", 7), PRICE, Cost(725_000, "USD", "lower_bound", "2026-01-01")),
        (Usage(1_000, 0, 50, 0, "lower_bound", 7), None, Cost(None, None, None, None)),
        (None, PRICE, Cost(None, "USD", None, "2026-01-01")),
    ],
)
def test_a_cost_that_the_server_names_goes_before_the_price(
    counts: Usage | None, price: PriceFacts | None, expected: Cost
) -> None:
    assert cost_of(counts, price) == expected


@given(tokens=st.integers(0, 10**9), cached=st.integers(0, 10**9), out=st.integers(0, 10**9))
def test_caching_never_makes_a_call_dearer(tokens: int, cached: int, out: int) -> None:
    with_cache = cost_nano(usage(tokens, min(cached, tokens), out), PRICE)
    without = cost_nano(usage(tokens, 0, out), PRICE)
    assert with_cache is not None and without is not None and 0 <= with_cache <= without
