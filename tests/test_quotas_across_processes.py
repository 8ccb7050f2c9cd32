"""Quotas through the whole gateway, from several real processes at once: exact, also when one of them is killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fault_parts import write_policy
from fault_worker import REQUEST

from routewright import ModelGateway, Task
from routewright.backends.control import Quotas, QuotaUse, StateStore
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.planning import quota_limits
from routewright.targets import simulated_backends

_WORKER = Path(__file__).with_name("fault_worker.py")
_DAY_US = 86_400_000_000


class Worker:
    """A process with a gateway of its own; it waits until it is told to begin."""

    def __init__(self, folder: Path, kind: str, requests: int) -> None:
        command = [sys.executable, str(_WORKER), str(folder), kind, str(requests)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, int]:
        out, _ = self.process.communicate(timeout=90)
        assert self.process.returncode == 0
        counts: dict[str, int] = json.loads(out)
        return counts

    def kill(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def workers(number: int, folder: Path, kind: str, requests: int) -> Iterator[list[Worker]]:
    """So many processes, all ready; killed in the end where they still run."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            made.append(Worker(folder, kind, requests))
            stack.callback(made[-1].kill)
        for worker in made:
            worker.wait_for("ready")
        yield made


def policy_with(folder: Path, *controls: dict[str, Any], latency: str = "20ms") -> CompiledPolicy:
    values = {
        "routewright": 1,
        "name": "limited",
        "catalog": {
            "routewright": 1,
            "backends": {"one": {"kind": "simulated", "timeouts": {"total": "60s"}}},
            "models": {
                "first": {
                    "backend": "one",
                    "expected_latency": latency,
                    "price": {"input": 1_000, "output": 10_000},
                }
            },
        },
        "rules": [{"name": "all", "use": ["first"]}],
        "controls": list(controls),
    }
    return write_policy(values, folder)


def use_of(folder: Path, policy: CompiledPolicy, *, at_us: int) -> QuotaUse:
    """What is taken of the policy's one quota, asked of the file itself."""
    store = StateStore(folder / "state.db")
    try:
        (limit,) = quota_limits(policy)
        return Quotas(store).use(limit, at_us=at_us)
    finally:
        store.close()


@pytest.fixture(autouse=True)
def within_one_day() -> None:
    """Counting begins anew at midnight, UTC: nobody counts across it here."""
    left_s = (_DAY_US - time.time_ns() // 1_000 % _DAY_US) / 1e6
    if left_s < 60:
        time.sleep(left_s + 1)


def now_us() -> int:
    return time.time_ns() // 1_000


def sent(
    folder: Path, processes: int, requests: int, *, watch: Callable[[], object] = lambda: None
) -> tuple[int, int]:
    """How many requests were answered and how many refused, of so many processes at once.

    ``watch`` is called again and again while they work.
    """
    with workers(processes, folder, "send", requests // processes) as made:
        for worker in made:
            worker.begin()
        while any(worker.process.poll() is None for worker in made):
            watch()
            time.sleep(0.005)
        results = [worker.result() for worker in made]
    return sum(one["answered"] for one in results), sum(one["refused"] for one in results)


def test_200_requests_of_4_processes_against_a_limit_of_100_admit_exactly_100(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, {"name": "daily", "max_requests": 100, "per": "day"})
    assert sent(tmp_path, 4, 200) == (100, 100)
    use = use_of(tmp_path, policy, at_us=now_us())
    assert (use.used, use.reserved) == (100, 0)


def test_money_is_never_promised_twice(tmp_path: Path) -> None:
    """Reserved is what a call may cost at most; settled, what it did cost. Neither goes over the cap."""
    policy = policy_with(tmp_path, {"name": "money", "max_cost": "20 USD", "per": "day"})
    cap_nano = 20 * 10**9
    taken: list[int] = []
    store = StateStore(tmp_path / "state.db")
    (limit,) = quota_limits(policy)
    answered, refused = sent(
        tmp_path, 4, 120, watch=lambda: taken.append(Quotas(store).use(limit, at_us=now_us()).taken)
    )
    store.close()
    assert answered + refused == 120
    assert max(taken) <= cap_nano
    use = use_of(tmp_path, policy, at_us=now_us())
    assert 0 < use.used <= cap_nano and use.reserved == 0
    assert refused > 0 and answered > 0
    # A call may cost 1.02 USD: until that is left no more, there was room for another one.
    assert use.used > cap_nano - 2 * 10**9


def test_leases_of_a_killed_process_hold_until_they_expire_and_then_count_no_more(tmp_path: Path) -> None:
    """A lease outlives the deadline of its call by a minute, so that no call that is still made goes uncounted."""
    daily = {"name": "daily", "max_requests": 100, "per": "day"}
    policy = policy_with(tmp_path, daily, {"name": "answers", "deadline": "30s"}, latency="25s")
    with workers(1, tmp_path, "hold", 60) as [victim]:
        victim.begin()
        victim.wait_for("holding")
        until_s = time.monotonic() + 30
        while use_of(tmp_path, policy, at_us=now_us()).reserved < 60:
            assert time.monotonic() < until_s, "the victim did not get its leases"
            time.sleep(0.05)
        victim.kill()
    use = use_of(tmp_path, policy, at_us=now_us())
    assert (use.used, use.reserved) == (0, 60)

    # While the leases live, what they hold is nobody else's.
    policy = policy_with(tmp_path, daily)
    assert sent(tmp_path, 4, 60) == (40, 20)
    # After their expiry it is free again: time is an argument of the gateway, so nobody has to wait for it.
    later_us = now_us() + 120_000_000

    async def rest() -> int:
        gateway = ModelGateway(
            policy,
            backends=simulated_backends(policy),
            store=StateStore(tmp_path / "state.db"),
            clock=lambda: later_us,
        )
        async with gateway:
            found = await asyncio.gather(*(gateway.run(Task(), REQUEST) for _ in range(80)))
        return sum(ran.execution is not None and ran.execution.answer is not None for ran in found)

    assert asyncio.run(rest()) == 60
    use = use_of(tmp_path, policy, at_us=later_us)
    assert (use.used, use.reserved) == (100, 0)


def test_calls_at_the_same_time_are_counted_across_processes(tmp_path: Path) -> None:
    """More than the limit are never under way together, whichever process they are of."""
    policy = policy_with(tmp_path, {"name": "at_once", "max_concurrent": 3}, latency="10s")
    with workers(2, tmp_path, "hold", 4) as made:
        for worker in made:
            worker.begin()
        for worker in made:
            worker.wait_for("holding")
        until_s = time.monotonic() + 30
        while (use := use_of(tmp_path, policy, at_us=now_us())).reserved < 3:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert use.reserved == 3
        assert replace(use, reserved=0).taken == 0
