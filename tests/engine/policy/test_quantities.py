"""Quantities as people write them, exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from routewright.engine.policy.quantities import (
    MoneyAmount,
    nano_units,
    parse_count,
    parse_duration_ms,
    parse_money,
    parse_percent,
)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_duration_ms, "250ms", 250),
        (parse_duration_ms, "5s", 5_000),
        (parse_duration_ms, "1.5 m", 90_000),
        (parse_duration_ms, "0.1s", 100),
        (parse_duration_ms, "1h", 3_600_000),
        (parse_duration_ms, "2d", 172_800_000),
        (parse_money, "200 USD", MoneyAmount(200_000_000_000, "USD")),
        (parse_money, "0.1EUR", MoneyAmount(100_000_000, "EUR")),
        (parse_money, "0.000000001 USD", MoneyAmount(1, "USD")),
        (parse_percent, "20%", 0.2),
        (parse_percent, "0.5 %", 0.005),
        (parse_percent, "100%", 1.0),
        (parse_count, 7, 7),
        (parse_count, "32B", 32_000_000_000),
        (parse_count, "1T", 1_000_000_000_000),
        (parse_count, "1.5K", 1_500),
    ],
)
def test_quantity_is_read_exactly(parse: Callable[[object], object], text: object, value: object) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_duration_ms, 5),
        (parse_duration_ms, "5"),
        (parse_duration_ms, "-5s"),
        (parse_duration_ms, "5 seconds"),
        (parse_duration_ms, "0.0005s"),
        (parse_duration_ms, "٥s"),
        (parse_duration_ms, "9" * 400 + "d"),
        (parse_money, 200),
        (parse_money, "200"),
        (parse_money, "$200"),
        (parse_money, "200 usd"),
        (parse_money, "0.0000000001 USD"),
        (parse_money, "9007200 USD"),
        (parse_percent, 0.2),
        (parse_percent, "20"),
        (parse_percent, "101%"),
        (parse_percent, "-1%"),
        (parse_count, True),
        (parse_count, -1),
        (parse_count, 1.5),
        (parse_count, "1.5"),
        (parse_count, "1.0001K"),
        (parse_count, 2**53),
        (parse_count, "32b"),
    ],
)
def test_what_is_no_quantity_is_refused(parse: Callable[[object], object], text: object) -> None:
    with pytest.raises(ValueError, match="^expected "):
        parse(text)


def test_money_is_kept_in_nano_units_of_its_shortest_decimal() -> None:
    assert [nano_units(amount) for amount in (0.1, 0.6, 2, 1e-9)] == [
        100_000_000,
        600_000_000,
        2_000_000_000,
        1,
    ]
