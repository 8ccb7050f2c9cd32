"""Several real processes on one real file: limits hold exactly, and a process that dies leaves nothing behind."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.quota_worker import AT_US, EXPIRES_US
from support.state_processes import Worker, workers

from routewright.backends.control import Breakers, Lease, QuotaLimit, Quotas, Refusal, StateStore

DAILY = QuotaLimit("daily", "requests", 100, 1, "day")
AT_ONCE = QuotaLimit("at_once", "concurrent", 100, 1)


def run(made: Sequence[Worker]) -> list[object]:
    for worker in made:
        worker.begin()
    return [worker.result() for worker in made]


@pytest.mark.parametrize(
    ("unit", "limit", "amount", "admitted"),
    [("requests", 100, 1, 100), ("cost", 2_000_000_000, 30_000_000, 66)],
)
def test_concurrent_requests_of_four_processes_are_admitted_up_to_the_limit(
    store: StateStore, unit: str, limit: int, amount: int, admitted: int
) -> None:
    with workers(4, store.path, "admitted", limit, amount, unit, 52) as made:
        counts = run(made)
    assert all(isinstance(count, int) for count in counts)
    assert sum(count for count in counts if isinstance(count, int)) == admitted
    bound = QuotaLimit("daily", "cost" if unit == "cost" else "requests", limit, amount, "day")
    use = Quotas(store).use(bound, at_us=AT_US)
    assert (use.used, use.reserved) == (admitted * amount, 0)
    assert use.used <= limit


def test_leases_of_a_killed_process_lapse_when_they_expire_and_their_calls_count(store: StateStore) -> None:
    quotas = Quotas(store)
    with workers(1, store.path, "hold", 60) as (holder,):
        assert quotas.use(DAILY, at_us=AT_US).reserved == 60
        holder.kill()
    before, after = EXPIRES_US - 1, EXPIRES_US

    def reserve(name: str, limit: QuotaLimit, at_us: int) -> Lease | Refusal:
        return quotas.reserve(name, [limit], at_us=at_us, expires_us=EXPIRES_US + 1)

    refused = reserve("mine", replace(DAILY, amount=41), before)
    assert isinstance(refused, Refusal) and refused.taken == 60
    leases = [reserve(f"mine-{n}", DAILY, after) for n in range(41)]
    assert [type(lease) for lease in leases] == [Lease] * 40 + [Refusal]
    use = quotas.use(DAILY, at_us=after)
    assert (use.used, use.reserved) == (60, 40)
    refused = reserve("crowded", replace(AT_ONCE, amount=41), before)
    assert isinstance(refused, Refusal) and refused.taken == 60
    assert isinstance(reserve("alone", replace(AT_ONCE, amount=100), after), Lease)


def test_a_process_that_is_killed_in_a_transaction_leaves_nothing_of_it(store: StateStore) -> None:
    with workers(1, store.path, "lock_file") as (holder,):
        holder.kill()
    assert isinstance(Quotas(store).reserve("mine", [DAILY], at_us=AT_US, expires_us=EXPIRES_US), Lease)


def test_of_all_processes_one_gets_the_probe_and_another_when_it_is_lost(store: StateStore) -> None:
    breakers = Breakers(store)
    breakers.failed("kimi", at_us=AT_US - 2_000_000, error_class="overloaded", cool_ms=1_000)
    with workers(3, store.path, "probe") as made:
        assert sorted(map(str, run(made))) == ["False"] * 2 + ["True"]
    assert breakers.admit("kimi", at_us=AT_US + 59_999_999) is None
    assert breakers.admit("kimi", at_us=AT_US + 60_000_000) == "probe"


def test_processes_may_make_the_same_file_at_the_same_time(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "state.db"
    with workers(4, path, "open_new") as made:
        assert len(set(run(made))) == 4
    with closing(StateStore(path)) as store:
        assert Quotas(store).use(DAILY, at_us=AT_US).used == 4
