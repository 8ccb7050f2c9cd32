from __future__ import annotations

import threading

import pytest

from routewright.backends.control import Breaker, Breakers, BreakerSettings, StateStore

NOW = 1_795_341_600_000_000
SECOND = 1_000_000
SETTINGS = BreakerSettings(failures=3, open_ms=10_000, most_ms=60_000, probe_ms=30_000)


@pytest.fixture
def breakers(store: StateStore) -> Breakers:
    return Breakers(store, SETTINGS)


def fail(breakers: Breakers, times: int = 3, at_us: int = NOW, began_us: int | None = None) -> Breaker:
    for _ in range(times):
        found = breakers.failed("kimi", at_us=at_us, error_class="overloaded", began_us=began_us)
    return found


def state(breakers: Breakers, at_us: int) -> str:
    known = breakers.all(at_us=at_us).get("kimi")
    return "unknown" if known is None else known.state


def test_failures_in_a_row_open_a_breaker_for_a_while(breakers: Breakers) -> None:
    assert fail(breakers, 2) == Breaker("kimi", "closed", 2, None, "overloaded")
    assert breakers.admit("kimi", at_us=NOW) == "free"
    opened = fail(breakers, 1)
    assert opened == Breaker("kimi", "open", 3, NOW + 10 * SECOND, "overloaded")
    assert breakers.all(at_us=NOW) == {"kimi": opened}
    assert breakers.admit("kimi", at_us=NOW + 10 * SECOND - 1) is None
    assert breakers.admit("glm", at_us=NOW) == "free"


def test_a_success_in_between_begins_the_row_anew(breakers: Breakers) -> None:
    for _ in range(5):
        fail(breakers, 2)
        breakers.succeeded("kimi", at_us=NOW)
    assert breakers.all(at_us=NOW) == {}


def test_half_open_admits_one_probe_and_its_success_closes(breakers: Breakers) -> None:
    fail(breakers)
    later = NOW + 10 * SECOND
    assert state(breakers, later) == "half_open"
    assert [breakers.admit("kimi", at_us=later) for _ in range(3)] == ["probe", None, None]
    breakers.succeeded("kimi", at_us=later, began_us=later)
    assert breakers.admit("kimi", at_us=later) == "free"
    assert breakers.all(at_us=later) == {}


def test_a_failed_probe_opens_for_twice_as_long_up_to_the_most(breakers: Breakers) -> None:
    fail(breakers)
    at_us, waits = NOW, []
    for _ in range(5):
        until_us = breakers.all(at_us=at_us)["kimi"].until_us
        assert until_us is not None
        waits.append((until_us - at_us) // SECOND)
        at_us = until_us
        assert breakers.admit("kimi", at_us=at_us) == "probe"
        fail(breakers, 1, at_us)
        assert breakers.admit("kimi", at_us=at_us) is None
    assert waits == [10, 20, 40, 60, 60]


def test_calls_that_fail_together_open_once(breakers: Breakers) -> None:
    opened = fail(breakers, 64)
    assert (opened.failures, opened.until_us) == (64, NOW + 10 * SECOND)


def test_late_failures_of_calls_from_before_do_not_open_a_half_open_breaker_again(breakers: Breakers) -> None:
    fail(breakers)
    later = NOW + 10 * SECOND
    assert breakers.admit("kimi", at_us=later) == "probe"
    fail(breakers, 1, later, began_us=NOW - 1)
    assert state(breakers, later) == "half_open"
    assert breakers.admit("kimi", at_us=later) is None  # the probe is still under way


def test_late_successes_of_calls_from_before_do_not_close_an_open_breaker(breakers: Breakers) -> None:
    breakers.failed("kimi", at_us=NOW, error_class="quota_exhausted", cool_ms=5 * 3_600_000)
    breakers.succeeded("kimi", at_us=NOW + 1, began_us=NOW - 1)
    assert state(breakers, NOW + 3_600 * SECOND) == "open"
    # The last model that is left is tried although it is open, and it answers.
    breakers.succeeded("kimi", at_us=NOW + 3_601 * SECOND, began_us=NOW + 3_600 * SECOND)
    assert state(breakers, NOW + 3_601 * SECOND) == "unknown"


def test_opening_again_never_shortens_a_deadline(breakers: Breakers) -> None:
    hours = breakers.failed("kimi", at_us=NOW, error_class="quota_exhausted", cool_ms=5 * 3_600_000)
    assert hours.until_us == NOW + 5 * 3_600 * SECOND
    assert fail(breakers, 5, NOW + SECOND).until_us == hours.until_us
    shorter = breakers.failed("kimi", at_us=NOW + SECOND, error_class="rate_limited", cool_ms=1_000)
    assert shorter.until_us == hours.until_us
    longer = breakers.failed("kimi", at_us=NOW, error_class="quota_exhausted", cool_ms=6 * 3_600_000)
    assert longer.until_us == NOW + 6 * 3_600 * SECOND


def test_a_probe_that_nobody_reports_on_is_lost_and_one_that_is_released_is_free(breakers: Breakers) -> None:
    fail(breakers)
    later = NOW + 10 * SECOND
    assert breakers.admit("kimi", at_us=later) == "probe"
    assert breakers.admit("kimi", at_us=later + 30 * SECOND - 1) is None
    assert breakers.admit("kimi", at_us=later + 30 * SECOND) == "probe"
    breakers.released("kimi")
    assert breakers.admit("kimi", at_us=later + 30 * SECOND) == "probe"
    breakers.released("glm")  # of which nothing is known


def test_a_clock_that_is_put_back_does_not_keep_a_model_away(breakers: Breakers) -> None:
    fail(breakers)
    back = NOW - 3_600 * SECOND
    assert state(breakers, back) == "half_open"
    assert [breakers.admit("kimi", at_us=back) for _ in range(2)] == ["probe", None]
    assert fail(breakers, 1, back).until_us == back + 20 * SECOND
    # A probe from before the clock was put back does not block the next one.
    assert breakers.admit("kimi", at_us=back + 20 * SECOND) == "probe"
    further = back - 3_600 * SECOND
    assert breakers.admit("kimi", at_us=further) == "probe"
    breakers.succeeded("kimi", at_us=further, began_us=further)
    assert state(breakers, further) == "unknown"


def test_failures_are_forgotten_after_a_day(breakers: Breakers, store: StateStore) -> None:
    fail(breakers)
    day = NOW + 10 * SECOND + 86_400 * SECOND
    assert state(breakers, day - 1) == "half_open"
    assert state(breakers, day) == "unknown"
    assert breakers.admit("kimi", at_us=day) == "free"
    assert fail(breakers, 1, day) == Breaker("kimi", "closed", 1, None, "overloaded")
    breakers.failed("glm", at_us=2 * day, error_class="overloaded")
    assert store.read("SELECT model FROM breakers") == [("glm",)]


def test_what_another_process_changed_is_seen_at_once_by_every_thread(
    breakers: Breakers, store: StateStore
) -> None:
    other = StateStore(store.path)
    theirs = Breakers(other, SETTINGS)
    wrong: list[str] = []
    turn = threading.Barrier(4)

    def watch() -> None:
        for number in range(30):
            turn.wait()  # the change is made
            if state(breakers, NOW) != ("open" if number % 2 == 0 else "unknown"):
                wrong.append(f"{number} in {threading.current_thread().name}")
            turn.wait()

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for number in range(30):
        # Some changes are ours and some are the other's, so that either's counters may stand still.
        writer = theirs if number % 3 else breakers
        if number % 2 == 0:
            fail(writer)
        else:
            writer.succeeded("kimi", at_us=NOW)
        turn.wait()
        turn.wait()
    for thread in threads:
        thread.join()
    other.close()
    assert wrong == []


def test_succeeding_writes_nothing_while_nothing_is_known(breakers: Breakers, store: StateStore) -> None:
    before = store.version()
    breakers.succeeded("kimi", at_us=NOW)
    breakers.released("kimi")
    assert store.version() == before
