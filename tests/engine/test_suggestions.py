"""What may have been meant by a misspelt name: found among very many, with bounded work."""

from __future__ import annotations

import pytest

from routewright.engine.report import suggestions as suggest
from routewright.engine.report.suggestions import closest


@pytest.mark.parametrize("length", [10, 40, 100])
def test_pairs_of_characters_compared_are_bounded(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    compared: list[int] = []

    def count(name: str, names: list[str], **_: object) -> list[str]:
        compared.append(len(name) * sum(map(len, names)))
        return names[:1]

    monkeypatch.setattr(suggest, "get_close_matches", count)
    closest("x" * (length - 4) + "9999", [f"{'x' * (length - 4)}{number:04}" for number in range(5_000)])
    assert 0 < compared[0] <= 50_000


@pytest.mark.parametrize(
    "name",
    ["model_4217_lrge", "model_4217_large_", "mdoel_4217_large", "model-4217_large", "MODEL_4217_LARGE"],
)
def test_name_with_one_error_is_found_among_very_many(name: str) -> None:
    known = [f"model_{number}_{size}" for number in range(5_000) for size in ("large", "small")]
    assert closest(name, known) == "model_4217_large"


def test_few_names_are_compared_whole() -> None:
    assert (
        closest("lenght_of_context", ["context_length", "complexity", "length_of_context"])
        == "length_of_context"
    )


def test_nothing_is_put_in_order_among_more_names_than_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggest, "_MOST_KNOWN", 3)
    assert closest("afstest", ["cheapest", "fastest", "first"]) == "fastest"
    assert closest("afstest", ["cheapest", "fastest", "first", "split"]) is None
    assert closest("fastset", ["cheapest", "fastest", "first", "split"]) == "fastest"
