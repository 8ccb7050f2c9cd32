"""A process that sends requests through a gateway as a test tells it: ``fault_worker.py FOLDER KIND ARGUMENTS``.

It says ``ready`` once its gateway is open, begins at the first line it is sent, and prints one line of JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from routewright import ChatRequest, ModelGateway, RunResult, Task, load_policy
from routewright.backends import Message
from routewright.backends.control import StateStore
from routewright.backends.executing import NotCalledError
from routewright.gateway import now_us, open_backends

REQUEST = ChatRequest((Message("user", "Hello?"),), max_output_tokens=100)


def open_gateway(folder: Path, ahead_us: int) -> ModelGateway:
    """A gateway whose clock is ``ahead_us`` microseconds ahead of the machine's."""
    policy = load_policy(folder / "policy.yaml")
    return ModelGateway(
        policy,
        backends=open_backends(policy),
        store=StateStore(folder / "state.db"),
        clock=lambda: now_us() + ahead_us,
    )


async def send(gateway: ModelGateway, requests: int) -> dict[str, int]:
    """So many requests at the same time: how many were answered, and how many had no room, planned or not."""
    decided = [gateway.decide(Task()) for _ in range(requests // 2)]
    planned = [gateway.execute(one, REQUEST) for one in decided]
    direct = [gateway.run(Task(), REQUEST) for _ in range(requests - len(planned))]
    counts = {"answered": 0, "refused": 0}
    for ran in await asyncio.gather(*planned, *direct):
        counts["answered" if was_answered(ran) else "refused"] += 1
    await gateway.close()
    return counts


def was_answered(ran: RunResult) -> bool:
    """Whether a model was called, and answered. Refused means that none was."""
    if ran.execution is None:
        assert ran.decision.outcome == "no_target"
        return False
    if ran.execution.answer is None:
        assert isinstance(ran.execution.error, NotCalledError), ran.execution.error
        assert [attempt.status for attempt in ran.execution.attempts] == ["skipped"]
        return False
    return True


async def hold(gateway: ModelGateway, requests: int) -> None:
    """Requests whose model takes its time; the process is killed while they hold their leases."""
    running = [asyncio.ensure_future(gateway.run(Task(), REQUEST)) for _ in range(requests)]
    await asyncio.sleep(0)
    print("holding", flush=True)
    await asyncio.gather(*running)


def main(folder: str, kind: str, requests: str, ahead_us: str) -> dict[str, int] | None:
    gateway = open_gateway(Path(folder), int(ahead_us))
    print("ready", flush=True)
    sys.stdin.readline()
    if kind == "send":
        return asyncio.run(send(gateway, int(requests)))
    asyncio.run(hold(gateway, int(requests)))
    return None


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])), flush=True)
