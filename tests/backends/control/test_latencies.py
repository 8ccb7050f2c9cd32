from __future__ import annotations

import pytest

from routewright.backends.control import Latencies, LoadTimes, StateStore
from routewright.backends.control.latencies import FORGET_AFTER_US, FORGET_LOADS_AFTER_US

NOW = 1_795_341_600_000_000


@pytest.fixture
def latencies(store: StateStore) -> Latencies:
    return Latencies(store)


def observe(latencies: Latencies, *samples_ms: float, at_us: int = NOW) -> None:
    for sample_ms in samples_ms:
        latencies.observed("kimi", sample_ms, at_us=at_us)


def test_few_samples_say_nothing_and_the_first_ones_count_alike(latencies: Latencies) -> None:
    observe(latencies, 100.0, 200.0, 300.0, 400.0)
    assert latencies.all(at_us=NOW) == {}
    observe(latencies, 500.0)
    assert latencies.all(at_us=NOW) == {"kimi": pytest.approx(300.0)}


def test_later_samples_count_a_fifth(latencies: Latencies) -> None:
    observe(latencies, *[100.0] * 5, 200.0)
    assert latencies.all(at_us=NOW) == {"kimi": pytest.approx(120.0)}


def test_after_an_hour_without_samples_the_mean_begins_anew(latencies: Latencies) -> None:
    observe(latencies, *[100.0] * 50)
    late = NOW + FORGET_AFTER_US
    assert set(latencies.all(at_us=late - 1)) == {"kimi"}
    assert latencies.all(at_us=late) == {}
    observe(latencies, 900.0, at_us=late)
    assert latencies.all(at_us=late) == {}
    observe(latencies, *[900.0] * 4, at_us=late)
    assert latencies.all(at_us=late) == {"kimi": pytest.approx(900.0)}


def test_models_that_are_not_called_any_more_are_forgotten(latencies: Latencies, store: StateStore) -> None:
    observe(latencies, 100.0)
    latencies.observed("glm", 50.0, at_us=NOW + FORGET_AFTER_US)
    assert store.read("SELECT model FROM latencies") == [("glm",)]


def test_samples_of_another_process_count_at_once(latencies: Latencies, store: StateStore) -> None:
    other = StateStore(store.path)
    assert latencies.all(at_us=NOW) == {}
    observe(Latencies(other), *[100.0] * 5)
    other.close()
    assert latencies.all(at_us=NOW) == {"kimi": pytest.approx(100.0)}


def test_one_load_is_told_the_newest_counts_half_and_a_week_later_none(store: StateStore) -> None:
    loads = LoadTimes(store)
    loads.observed("kimi", 8_000.0, at_us=NOW)
    assert loads.all(at_us=NOW) == {"kimi": 8_000.0}
    loads.observed("kimi", 2_000.0, at_us=NOW)
    loads.observed("kimi", 1_000.0, at_us=NOW)
    assert loads.all(at_us=NOW + FORGET_LOADS_AFTER_US - 1) == {"kimi": 3_000.0}
    assert loads.all(at_us=NOW + FORGET_LOADS_AFTER_US) == {}
    assert Latencies(store).all(at_us=NOW) == {}, "a cold start is no latency"
