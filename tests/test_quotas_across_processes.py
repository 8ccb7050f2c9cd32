"""Quotas through whole gateways in several processes over HTTP: exact, also when one of them is killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.fault_parts import write_policy

from routewright.backends.control import Quotas, QuotaUse, StateStore
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.gateway.planning import Planner

_WORKER = Path(__file__).parent / "support" / "fault_worker.py"
_SERVER = Path(__file__).parent / "servers" / "slow_openai_server.py"
_DAY_US = 86_400_000_000
_AHEAD_US = _DAY_US // 2 - time.time_ns() // 1_000 % _DAY_US
"""Clocks stand at noon when the tests begin, as counts begin anew at midnight, UTC."""


class Worker:
    """A process with a gateway of its own; it waits until it is told to begin."""

    def __init__(self, folder: Path, kind: str, requests: int, ahead_us: int) -> None:
        command = [sys.executable, str(_WORKER), str(folder), kind, str(requests), str(ahead_us)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def wait_for(self, word: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == f"{word}\n"

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, int]:
        out, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0
        counts: dict[str, int] = json.loads(out)
        return counts

    def kill(self) -> None:
        """SIGKILL it, and wait until it is gone."""
        self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def workers(
    number: int, folder: Path, kind: str, requests: int, *, later_s: int = 0
) -> Iterator[list[Worker]]:
    """So many processes, all ready, their clocks ``later_s`` ahead; killed in the end where they still run."""
    with ExitStack() as stack:
        made = []
        for _ in range(number):
            made.append(Worker(folder, kind, requests, _AHEAD_US + later_s * 1_000_000))
            stack.callback(made[-1].kill)
        for worker in made:
            worker.wait_for("ready")
        yield made


@dataclass(frozen=True)
class Server:
    """The slow server that all processes call."""

    url: str

    def calls(self) -> int:
        """How many chats were asked of it."""
        with urllib.request.urlopen(f"{self.url}/calls") as answer:
            return int(answer.read())


@pytest.fixture
def server() -> Iterator[Server]:
    process = subprocess.Popen([sys.executable, str(_SERVER)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Server(f"http://127.0.0.1:{int(process.stdout.readline())}")
    finally:
        process.kill()
        process.communicate()


def policy_with(
    folder: Path, server: Server, *controls: dict[str, Any], wait_s: float = 0.02
) -> CompiledPolicy:
    """A policy with a single model, which answers after ``wait_s``; it is what workers read from then on."""
    values = {
        "routewright": 1,
        "name": "limited",
        "catalog": {
            "routewright": 1,
            "backends": {"one": {"kind": "openai", "host": server.url, "timeouts": {"total": "60s"}}},
            "models": {
                "first": {
                    "backend": "one",
                    "tag": f"wait-{wait_s}",
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
        (limit,) = Planner(policy).quotas
        return Quotas(store).use(limit, at_us=at_us)
    finally:
        store.close()


def now_us(*, later_s: int = 0) -> int:
    return time.time_ns() // 1_000 + _AHEAD_US + later_s * 1_000_000


def sent(folder: Path, processes: int, requests: int) -> tuple[int, int]:
    """How many requests were answered and how many refused, of so many processes at once."""
    with workers(processes, folder, "send", requests // processes) as made:
        for worker in made:
            worker.begin()
        results = [worker.result() for worker in made]
    return total(results, "answered"), total(results, "refused")


def kill_in_calls(victim: Worker, server: Server, calls: int) -> None:
    """Kill a process in the middle of so many calls."""
    victim.begin()
    victim.wait_for("holding")
    until_s = time.monotonic() + 60
    while server.calls() < calls:
        assert time.monotonic() < until_s, "the victim did not make its calls"
        time.sleep(0.05)
    victim.kill()


LEASE_S = 300
"""Long beside what the others take to use up the rest while the killed process holds its part."""
LAPSED_S = LEASE_S + 1
LEASE = {"name": "crashes", "lease": f"{LEASE_S}s"}
DAILY = {"name": "daily", "max_requests": 100, "per": "day"}
MONEY = {"name": "money", "max_cost": "20 USD", "per": "day"}
CAP_NANO = 20 * 10**9
MOST_NANO = 1_050_000_000
"""More than a call is reckoned to cost at most; it will be 0.21 USD."""


def test_200_requests_of_4_processes_against_a_limit_of_100_admit_exactly_100(
    tmp_path: Path, server: Server
) -> None:
    policy = policy_with(tmp_path, server, DAILY)
    assert sent(tmp_path, 4, 200) == (100, 100)
    use = use_of(tmp_path, policy, at_us=now_us())
    assert (use.used, use.reserved) == (100, 0)
    assert server.calls() == 100


def test_leases_of_a_killed_process_hold_until_they_lapse_and_count_as_used_from_then_on(
    tmp_path: Path, server: Server
) -> None:
    policy = policy_with(tmp_path, server, DAILY, LEASE, wait_s=45)
    with workers(1, tmp_path, "hold", 60) as [victim]:
        policy_with(tmp_path, server, DAILY, LEASE)
        with workers(4, tmp_path, "send", 50) as others:
            kill_in_calls(victim, server, 60)
            use = use_of(tmp_path, policy, at_us=now_us())
            assert (use.used, use.reserved) == (0, 60)
            # While the leases hold, what is reserved is nobody else's.
            for other in others:
                other.begin()
            results = [other.result() for other in others]
        assert (total(results, "answered"), total(results, "refused")) == (40, 160)
        with workers(1, tmp_path, "send", 10, later_s=LAPSED_S) as [other]:
            other.begin()
            assert other.result() == {"answered": 0, "refused": 10}
    use = use_of(tmp_path, policy, at_us=now_us(later_s=LAPSED_S))
    assert (use.used, use.reserved) == (100, 0)
    assert server.calls() == 100, "those of the killed process too"


def test_money_is_never_promised_twice_also_when_a_process_is_killed(tmp_path: Path, server: Server) -> None:
    """Reserved is what a call may cost at most; settled, what it did cost. Neither goes over the cap."""
    policy = policy_with(tmp_path, server, MONEY, LEASE, wait_s=45)
    taken: list[int] = []
    store = StateStore(tmp_path / "state.db")
    (limit,) = Planner(policy).quotas

    def watch(later_s: int = 0) -> None:
        taken.append(Quotas(store).use(limit, at_us=now_us(later_s=later_s)).taken)

    with workers(1, tmp_path, "hold", 10) as [victim]:
        policy_with(tmp_path, server, MONEY, LEASE)
        with workers(4, tmp_path, "send", 30) as others:
            kill_in_calls(victim, server, 10)
            held_nano = use_of(tmp_path, policy, at_us=now_us()).reserved
            answered = watched(others, watch)
        assert 10 * 10**9 < held_nano <= 10 * MOST_NANO, "100 tokens of each answer, and its prompt"
        use = use_of(tmp_path, policy, at_us=now_us())
        assert (use.used, use.reserved) == (answered * 210_000_000, held_nano)
        # So many fit beside what the killed process holds, at the least: one that has ended makes room.
        assert (CAP_NANO - held_nano) // MOST_NANO <= answered < 120
        # What it may have spent stays spent when its leases lapse.
        with workers(1, tmp_path, "send", 10, later_s=LAPSED_S) as others:
            answered += watched(others, partial(watch, LAPSED_S))
    store.close()
    assert max(taken) <= CAP_NANO
    use = use_of(tmp_path, policy, at_us=now_us(later_s=LAPSED_S))
    assert (use.used, use.reserved) == (answered * 210_000_000 + held_nano, 0)


def watched(made: list[Worker], watch: Callable[[], object]) -> int:
    """How many requests were answered; ``watch`` is called again and again while they are sent."""
    for worker in made:
        worker.begin()
    while any(worker.process.poll() is None for worker in made):
        watch()
        time.sleep(0.005)
    return total([worker.result() for worker in made], "answered")


def total(results: list[dict[str, int]], what: str) -> int:
    return sum(result[what] for result in results)


def test_calls_at_the_same_time_are_counted_across_processes(tmp_path: Path, server: Server) -> None:
    """More than the limit are never under way together, whichever process they are of."""
    at_once = {"name": "at_once", "max_concurrent": 3}
    policy = policy_with(tmp_path, server, at_once, wait_s=30)
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
        assert server.calls() <= 3
