"""Whether memory stays flat: a hundred thousand simulated requests through a whole gateway.

Ledger, state store, quotas, breakers, retries, fallbacks and cache are on, and some calls fail. Prints resident
memory every tenth of the way. ``python benchmarks/memory.py [REQUESTS]``
"""

from __future__ import annotations

import asyncio
import gc
import sys
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from routewright import (
    ChatRequest,
    Ledger,
    Message,
    ModelGateway,
    RequestFacts,
    StateStore,
    Task,
    load_policy,
)
from routewright.backends import Fault
from routewright.gateway.opening import simulated_backends

REQUESTS = 100_000
AT_ONCE = 64
_FAULTS: tuple[Fault, ...] = ("ok", "overloaded", "ok", "broken_stream", "ok", "ok", "rate_limited")

_POLICY = """
routewright: 1
name: memory
catalog:
  routewright: 1
  backends: { simulated: { kind: simulated } }
  models:
    a: { backend: simulated, price: { input: 1, output: 2 } }
    b: { backend: simulated }
features:
  team: { type: string, from: request.metadata.team }
  length: { type: integer, from: request.prompt_tokens }
rules:
  - { name: otherwise, use: [a], fallback: [b] }
controls:
  - { name: in_all, deadline: 10m }
  - { name: calls, max_attempts: 4 }
  - { name: answers, cache_ttl: 2s }
  - { name: daily, for_each: team, max_requests: 1000000000, per: day }
  - { name: tokens, on: a, max_tokens: 1000000000000, per: hour }
"""


def main(requests: int) -> None:
    """Run and print."""
    with TemporaryDirectory() as folder:
        asyncio.run(_run(requests, Path(folder)))


async def _run(requests: int, folder: Path) -> None:
    (folder / "policy.yaml").write_text(_POLICY, encoding="utf-8")
    policy = load_policy(folder / "policy.yaml")
    faults = {"a": tuple(islice(cycle(_FAULTS), requests))}
    ledger = Ledger.open(folder / "ledger.duckdb")
    gateway = ModelGateway(
        policy,
        backends=simulated_backends(policy, seed=1, faults=faults),
        ledger=ledger,
        store=StateStore(folder / "state.sqlite"),
    )
    numbers = iter(range(requests))

    async def worker() -> None:
        for number in numbers:
            request = ChatRequest((Message("user", f"question {number}"),))
            task = Task(request=RequestFacts(metadata={"team": f"team-{number % 20}"}))
            ran = await gateway.run(task, request)
            assert ran.execution is not None
            if (number + 1) % (requests // 10 or 1) == 0:
                gc.collect()
                print(f"{number + 1:>8} requests  {_resident_mb():6.1f} MB", flush=True)

    print(f"{0:>8} requests  {_resident_mb():6.1f} MB", flush=True)
    async with gateway:
        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    [[decisions, attempts]] = ledger.query(
        "SELECT (SELECT count(*) FROM decisions), count(*) FROM attempts"
    ).rows
    print(f"{decisions} decisions and {attempts} attempts in the ledger, {_resident_mb():.1f} MB")


def _resident_mb() -> float:
    """Resident memory now where the system tells, else the most so far."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024
    import resource

    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 / (1024 if sys.platform == "darwin" else 1)
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS)
