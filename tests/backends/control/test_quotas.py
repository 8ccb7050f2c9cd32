from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import datetime
from functools import partial

import pytest

from routewright.backends.control import (
    Lease,
    Period,
    QuotaLimit,
    Quotas,
    QuotaUse,
    Refusal,
    StateError,
    StateStore,
)
from routewright.engine.policy.quantities import MAX_EXACT


def us(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1_000_000


NOW = us("2026-11-22T10:07:00+00:00")
LATER = NOW + 60_000_000
DAY_END = us("2026-11-23T00:00:00+00:00")
DAILY = QuotaLimit("daily", "requests", 3, 1, "day")
TOKENS = QuotaLimit("tokens", "tokens", 1_000, 100, "day")
MONEY = QuotaLimit("money", "cost", 1_000, 300, "month", currency="USD")
AT_ONCE = QuotaLimit("at_once", "concurrent", 2, 1)


@pytest.fixture
def quotas(store: StateStore) -> Quotas:
    return Quotas(store)


def lease(
    quotas: Quotas, *limits: QuotaLimit, at_us: int = NOW, id: str = "", expires_us: int | None = None
) -> Lease:
    admission = quotas.reserve(
        id or f"lease-{next(_numbers)}",
        limits,
        at_us=at_us,
        expires_us=at_us + 60_000_000 if expires_us is None else expires_us,
    )
    assert isinstance(admission, Lease), admission
    return admission


_numbers = iter(range(1_000_000))


def refusal(quotas: Quotas, *limits: QuotaLimit, at_us: int = NOW) -> Refusal:
    admission = quotas.reserve("refused", limits, at_us=at_us, expires_us=at_us + 60_000_000)
    assert isinstance(admission, Refusal), admission
    return admission


def taken(quotas: Quotas, limit: QuotaLimit, at_us: int = NOW) -> tuple[int, int]:
    use = quotas.use(limit, at_us=at_us)
    return use.used, use.reserved


# --- reserve, settle, release ------------------------------------------------------------------------------


def test_a_limit_admits_as_many_as_it_says_and_tells_when_its_window_ends(quotas: Quotas) -> None:
    for _ in range(3):
        lease(quotas, DAILY)
    assert refusal(quotas, DAILY) == Refusal(DAILY, taken=3, until_us=DAY_END)
    assert quotas.use(DAILY, at_us=NOW) == QuotaUse("daily", (), "2026-11-22", 0, 3, DAY_END)


def test_reserving_under_several_limits_is_all_or_nothing(quotas: Quotas) -> None:
    lease(quotas, AT_ONCE)
    lease(quotas, AT_ONCE)
    assert refusal(quotas, DAILY, MONEY, AT_ONCE) == Refusal(AT_ONCE, taken=2, until_us=None)
    assert taken(quotas, DAILY) == taken(quotas, MONEY) == (0, 0)


def test_settling_counts_the_actual_and_the_reserved_where_nobody_knows(quotas: Quotas) -> None:
    tokens = QuotaLimit("tokens", "tokens", 10_000, 500, "day")
    first = lease(quotas, DAILY, tokens, MONEY, AT_ONCE)
    assert quotas.settle(first, {"tokens": 120, "cost": None})
    assert [taken(quotas, limit) for limit in (DAILY, tokens, MONEY, AT_ONCE)] == [
        (1, 0),
        (120, 0),
        (300, 0),
        (0, 0),
    ]


def test_more_than_was_reserved_counts_too(quotas: Quotas) -> None:
    quotas.settle(lease(quotas, MONEY), {"cost": 1_250})
    assert taken(quotas, MONEY) == (1_250, 0)
    assert refusal(quotas, replace(MONEY, amount=0)).taken == 1_250


def test_releasing_counts_nothing(quotas: Quotas) -> None:
    quotas.release(lease(quotas, DAILY, AT_ONCE))
    assert taken(quotas, DAILY) == taken(quotas, AT_ONCE) == (0, 0)


def test_a_lease_counts_once_however_often_it_is_settled_or_released(quotas: Quotas) -> None:
    first, second = lease(quotas, DAILY), lease(quotas, DAILY)
    assert [quotas.settle(first, {}), quotas.settle(first, {})] == [True, False]
    quotas.release(first)
    quotas.release(second)
    assert not quotas.settle(second, {})
    assert taken(quotas, DAILY) == (1, 0)


def test_an_attempt_without_limits_needs_no_lease(quotas: Quotas) -> None:
    free = lease(quotas)
    assert free.limits == ()
    assert not quotas.settle(free, {})
    quotas.release(free)


def test_an_attempt_that_costs_nothing_is_admitted_up_to_the_limit(quotas: Quotas) -> None:
    free = replace(MONEY, amount=0)
    quotas.settle(lease(quotas, replace(MONEY, amount=1_000)), {})
    quotas.settle(lease(quotas, free), {"cost": 0})
    assert taken(quotas, MONEY) == (1_000, 0)


def test_an_attempt_that_needs_more_than_the_whole_limit_is_never_promised_room(quotas: Quotas) -> None:
    assert refusal(quotas, replace(MONEY, amount=1_001)).until_us is None


@pytest.mark.parametrize("nonsense", [-1, -(10**30)])
def test_a_negative_count_of_a_backend_is_as_good_as_none(quotas: Quotas, nonsense: int) -> None:
    quotas.settle(lease(quotas, MONEY), {"cost": nonsense})
    assert taken(quotas, MONEY) == (300, 0)


def test_counts_stop_at_what_a_decision_record_can_hold(quotas: Quotas) -> None:
    many = replace(MONEY, limit=MAX_EXACT)
    for _ in range(2):
        quotas.settle(lease(quotas, replace(many, amount=0)), {"cost": 10**30})
    assert quotas.use(many, at_us=NOW).taken == MAX_EXACT


def test_misuse_is_an_error_and_reserves_nothing(quotas: Quotas) -> None:
    with pytest.raises(StateError, match="control `money` cannot reserve -1 cost"):
        lease(quotas, DAILY, replace(MONEY, amount=-1))
    with pytest.raises(StateError, match="lease `x` reserves twice under one control"):
        lease(quotas, AT_ONCE, DAILY, DAILY, id="x")
    assert taken(quotas, DAILY) == taken(quotas, AT_ONCE) == (0, 0)
    lease(quotas, DAILY, id="y")
    with pytest.raises(StateError, match="lease `y` reserves twice"):
        lease(quotas, DAILY, id="y", expires_us=LATER + 1)


# --- keys, reserves, reloads -------------------------------------------------------------------------------


def test_each_key_has_its_own_count(quotas: Quotas) -> None:
    red, blue = (replace(DAILY, key=("team", team)) for team in ("red", "blue"))
    for _ in range(3):
        lease(quotas, red)
    assert refusal(quotas, red).taken == 3
    quotas.settle(lease(quotas, blue), {})
    lease(quotas, blue)
    assert [(use.key, use.used, use.reserved) for use in quotas.use_by_key(DAILY, at_us=NOW)] == [
        (("team", "blue"), 1, 1),
        (("team", "red"), 0, 3),
    ]
    assert quotas.use_by_key(DAILY, at_us=DAY_END) == ()


def test_what_is_held_in_reserve_is_left_to_the_work_that_it_is_for(quotas: Quotas) -> None:
    easy, hard = replace(DAILY, limit=2), DAILY
    lease(quotas, easy)
    lease(quotas, hard)
    # Hard work takes from the whole, so easy work ends where only the reserve is left.
    assert refusal(quotas, easy).taken == 2
    lease(quotas, hard)
    assert refusal(quotas, hard).taken == 3


def test_counts_survive_a_changed_limit_and_belong_to_unit_and_currency(quotas: Quotas) -> None:
    quotas.settle(lease(quotas, MONEY), {})
    assert refusal(quotas, replace(MONEY, limit=400)).taken == 300
    for changed in (
        replace(MONEY, currency="EUR"),
        replace(MONEY, unit="tokens", currency=None),
    ):
        assert taken(quotas, changed) == (0, 0)


@pytest.mark.parametrize(
    ("before", "after", "used", "next_day"),
    [
        (("day", "UTC"), ("month", "UTC"), 2, 3),  # the days of the month are still known
        (("hour", "UTC"), ("day", "UTC"), 2, 1),
        (("month", "UTC"), ("day", "UTC"), 2, 1),  # too strict today, right from tomorrow on
        (("day", "UTC"), ("minute", "UTC"), 2, 1),
        (("day", "UTC"), ("day", "America/New_York"), 2, 1),
        (("day", "UTC"), ("day", "Asia/Tokyo"), 2, 1),
    ],
)
def test_a_changed_period_or_zone_never_counts_too_little(
    quotas: Quotas, before: tuple[Period, str], after: tuple[Period, str], used: int, next_day: int
) -> None:
    old, new = (replace(DAILY, limit=10, per=per, timezone=zone) for per, zone in (before, after))
    quotas.settle(lease(quotas, old), {})
    quotas.settle(lease(quotas, old), {})
    assert taken(quotas, new) == (used, 0)
    tomorrow = NOW + 24 * 3_600_000_000
    quotas.settle(lease(quotas, new, at_us=tomorrow), {})
    assert taken(quotas, new, tomorrow) == (next_day, 0)


# --- time --------------------------------------------------------------------------------------------------


def test_a_new_window_begins_at_zero_and_an_attempt_counts_where_it_began(quotas: Quotas) -> None:
    late = lease(quotas, DAILY, at_us=DAY_END - 1)
    assert taken(quotas, DAILY, DAY_END) == (0, 0)
    quotas.settle(late, {})
    assert taken(quotas, DAILY, DAY_END) == (0, 0)
    assert taken(quotas, DAILY, DAY_END - 1) == (1, 0)


def test_a_lease_that_lapsed_counts_as_used_and_frees_its_place_among_the_calls_at_once(
    quotas: Quotas,
) -> None:
    limits = (replace(DAILY, limit=2), replace(TOKENS, amount=70), replace(MONEY, amount=9), AT_ONCE)
    slow = lease(quotas, *limits)
    assert [taken(quotas, one, LATER - 1) for one in limits] == [(0, 1), (0, 70), (0, 9), (0, 1)]
    assert [taken(quotas, one, LATER) for one in limits] == [(1, 0), (70, 0), (9, 0), (0, 0)]
    assert [use.used for use in quotas.use_by_key(DAILY, at_us=LATER)] == [1]
    assert isinstance(lease(quotas, *limits, at_us=LATER), Lease)
    assert refusal(quotas, *limits, at_us=LATER).taken == 2
    assert quotas.settle(slow, {"requests": 1, "tokens": 5, "cost": None})
    assert [taken(quotas, one, LATER) for one in limits] == [(1, 1), (5, 70), (9, 9), (0, 1)], "once each"


def test_a_lease_that_lapsed_is_a_reservation_again_when_it_is_renewed(quotas: Quotas) -> None:
    slow = lease(quotas, DAILY, AT_ONCE)
    assert (taken(quotas, DAILY, LATER), taken(quotas, AT_ONCE, LATER)) == ((1, 0), (0, 0))
    assert quotas.renew(slow, expires_us=LATER + 1)
    assert (taken(quotas, DAILY, LATER), taken(quotas, AT_ONCE, LATER)) == ((0, 1), (0, 1))


def test_a_lapsed_lease_counts_in_its_own_window_alone_also_where_the_period_changes(quotas: Quotas) -> None:
    monthly = replace(DAILY, per="month")
    lease(quotas, DAILY, at_us=DAY_END - 1)
    lease(quotas, replace(monthly, control="m"), at_us=NOW)
    after = DAY_END + 60_000_000
    assert taken(quotas, DAILY, DAY_END - 1) == (0, 1)
    assert taken(quotas, DAILY, after) == (0, 0)
    assert taken(quotas, replace(monthly, control="m"), after) == (1, 0)
    # As of a count: what nobody used since the shorter window began is not in it.
    assert taken(quotas, replace(DAILY, control="m"), after) == (0, 0)


def test_what_only_lapsed_leases_count_is_named(quotas: Quotas) -> None:
    lease(quotas, DAILY, AT_ONCE)
    assert quotas.counters(at_us=NOW) == []
    assert quotas.counters(at_us=LATER) == ["daily"]


def test_a_lease_that_was_released_late_counts_nothing(quotas: Quotas) -> None:
    slow = lease(quotas, DAILY)
    lease(quotas, DAILY, at_us=LATER)
    quotas.release(slow)
    assert not quotas.settle(slow, {})
    assert taken(quotas, DAILY, LATER) == (0, 1)


def test_a_clock_that_is_put_back_gives_no_room_twice(quotas: Quotas) -> None:
    for _ in range(3):
        quotas.settle(lease(quotas, DAILY), {})
    assert refusal(quotas, DAILY, at_us=NOW - 3_600_000_000).taken == 3
    minute = replace(DAILY, control="minutes", per="minute")
    quotas.settle(lease(quotas, minute), {})
    assert taken(quotas, minute, NOW - 60_000_000) == (0, 0)
    assert taken(quotas, minute, NOW) == (1, 0)


def test_old_counts_and_leases_of_dead_processes_are_forgotten(store: StateStore, quotas: Quotas) -> None:
    minute = replace(DAILY, per="minute")
    at_us = NOW
    for _ in range(4 * 60):
        quotas.settle(lease(quotas, minute, at_us=at_us), {})
        lease(quotas, minute, at_us=at_us)
        at_us += 60_000_000
    ((rows,),) = store.read("SELECT count(*) FROM quota_used")
    assert rows == 2 * 60 + 1
    lease(quotas, minute, at_us=at_us + 3 * 3_600_000_000)
    assert store.read("SELECT count(*) FROM leases") == [(1,)]


# --- threads and tasks -------------------------------------------------------------------------------------


def test_threads_and_tasks_together_are_admitted_up_to_the_limit(quotas: Quotas, store: StateStore) -> None:
    limits = (replace(MONEY, limit=100 * 7 + 6, amount=7), replace(DAILY, limit=10_000))
    admitted: list[bool] = []

    def one(id: str) -> None:
        admission = quotas.reserve(id, limits, at_us=NOW, expires_us=LATER)
        admitted.append(isinstance(admission, Lease))

    def by_thread(thread: int) -> None:
        for number in range(40):
            one(f"thread-{thread}-{number}")

    async def by_tasks() -> None:
        await asyncio.gather(*(store.run_in_thread(partial(one, f"task-{number}")) for number in range(120)))

    threads = [threading.Thread(target=by_thread, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    asyncio.run(by_tasks())
    for thread in threads:
        thread.join()
    assert len(admitted) == 280
    assert sum(admitted) == 100
    assert taken(quotas, limits[0]) == (0, 700)
    assert taken(quotas, limits[1]) == (0, 100)
