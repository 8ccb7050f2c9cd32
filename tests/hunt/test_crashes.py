"""Processes that are killed in their only call: no limit is passed, and what may have been called is on record."""

from __future__ import annotations

import json
import os
import re
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.fault_parts import write_policy
from support.sizes import CRASHES, THOROUGH

from routewright import Ledger
from routewright.backends.control import Quotas, StateStore
from routewright.gateway.planning import Planner

_WORKER = Path(__file__).parents[1] / "support" / "crash_worker.py"


class Server(socketserver.ThreadingTCPServer):
    """An OpenAI server on a real socket that counts the calls of which the first byte has come.

    A call says who makes it. With ``kills`` that process is killed then; else it is answered after a moment.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Call)
        self.seen = 0
        self.kills = False
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Call(socketserver.StreamRequestHandler):
    server: Server

    def handle(self) -> None:
        if not self.rfile.read(1):
            return
        with self.server.lock:
            self.server.seen += 1
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.rfile.readline()
            if not line:
                return  # its process was killed while it wrote
            head += line
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length is not None and head.startswith(b"OST /v1/chat/completions")
        body = self.rfile.read(int(length[1]))
        if len(body) < int(length[1]):
            return
        if self.server.kills:
            os.kill(int(json.loads(body)["messages"][0]["content"]), signal.SIGKILL)
            return
        time.sleep(0.02)
        message = {"role": "assistant", "content": "Here I am."}
        answer = json.dumps(
            {
                "object": "chat.completion",
                "model": "one",
                "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
            }
        ).encode()
        headers = f"Content-Type: application/json\r\nContent-Length: {len(answer)}\r\nConnection: close"
        self.wfile.write(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode() + answer)


@pytest.fixture(scope="module")
def workers() -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes whose children are killed: what is loaded once serves them all."""
    with ExitStack() as stack:
        made = []
        for _ in range(2):
            command = [sys.executable, str(_WORKER)]
            made.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            stack.enter_context(made[-1])
            stack.callback(made[-1].kill)
        yield made


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


class Loop:
    """A folder with the policy, the ledger and the state of processes that crash again and again."""

    def __init__(self, folder: Path, server: Server, workers: list[subprocess.Popen[str]], cap: int) -> None:
        values: dict[str, Any] = {
            "routewright": 1,
            "name": "crashing",
            "catalog": {
                "routewright": 1,
                "backends": {"one": {"kind": "openai", "host": server.url}},
                "models": {"one": {"backend": "one", "price": {"input": 1, "output": 2}}},
            },
            "rules": [{"name": "all", "use": ["one"]}],
            "controls": [
                {"name": "monthly", "max_requests": cap, "per": "month"},
                {"name": "crashes", "lease": "1s"},
            ],
        }
        self._folder, self._policy, self._workers = folder, write_policy(values, folder), workers
        self.ledger = Ledger.open(folder / "ledger.duckdb", lock_timeout_s=60)

    def run(self, kills: Sequence[tuple[str, float]]) -> list[str]:
        """How far each process came that was killed at such a place or after so many seconds; two run at once."""
        asked = list(zip(cycle(self._workers), kills, strict=False))
        for worker, (place, delay_s) in asked:
            assert worker.stdin is not None
            worker.stdin.write(f"{self._folder} {place} {delay_s:.4f}\n")
            worker.stdin.flush()
        came = []
        for worker, _ in asked:
            assert worker.stdout is not None
            came.append(worker.stdout.readline().strip())
        return came

    def quota(self) -> tuple[int, int]:
        """What is used and reserved of the cap once every lease has lapsed."""
        store = StateStore(self._folder / "state.db")
        try:
            (limit,) = Planner(self._policy).quotas
            use = Quotas(store).use(limit, at_us=time.time_ns() // 1_000 + 2_000_000)
            return use.used, use.reserved
        finally:
            store.close()

    def attempts(self) -> Counter[str]:
        """How many attempts the ledger has of each status, those left out that were not made."""
        rows = self.ledger.query("SELECT status FROM attempt_rows WHERE status <> 'skipped'").rows
        assert self.ledger.query("SELECT count(*) FROM in_flight").rows == ((0,),)
        assert self.ledger.query(
            "SELECT count(*) FROM attempt_rows ANTI JOIN decision_records USING (decision_id)"
        ).rows == ((0,),)
        return Counter(status for (status,) in rows)


def test_processes_killed_at_any_moment_of_their_only_call_pass_no_limit(
    tmp_path: Path, server: Server, workers: list[subprocess.Popen[str]]
) -> None:
    cap = CRASHES // 5 if THOROUGH else CRASHES // 2
    loop, random = Loop(tmp_path, server, workers, cap), Random(0)
    came = loop.run([(random.choice("blii"), random.uniform(0, 0.06)) for _ in range(CRASHES)])
    assert len(came) == CRASHES and all(one.startswith("b") for one in came)
    (used, reserved), attempts = loop.quota(), loop.attempts()
    made = attempts.total()
    between = sum(one.endswith("l") for one in came)
    print(
        f"{CRASHES} processes killed under a cap of {cap}: {used} used, {made} on record ({dict(attempts)}), "
        f"{server.seen} seen by the server; {Counter(one[-1] for one in came)}"
    )
    assert cap >= used >= made >= server.seen
    assert reserved == 0
    assert used - made <= between
    assert made - server.seen <= sum("l" in one and "e" not in one for one in came)


@pytest.mark.parametrize(
    ("place", "quota", "ledger", "seen"),
    [("lease", 3, {}, 0), ("intent", 3, {"lost": 3}, 0), ("sent", 3, {"lost": 3}, 3)],
)
def test_processes_killed_at_one_place_leave_exactly_what_they_had_done(
    tmp_path: Path,
    server: Server,
    workers: list[subprocess.Popen[str]],
    place: str,
    quota: int,
    ledger: dict[str, int],
    seen: int,
) -> None:
    loop = Loop(tmp_path, server, workers, cap=3)
    server.kills = True
    came = loop.run([(place, 0)] * 5)
    assert sorted(came) == sorted(
        {"lease": ["bl"], "intent": ["bli"], "sent": ["bli"]}[place] * 3 + ["be"] * 2
    )
    assert loop.quota() == (quota, 0)
    assert (loop.attempts(), server.seen) == (Counter(ledger), seen)
