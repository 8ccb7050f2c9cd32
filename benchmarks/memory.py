"""Whether memory stays flat: a hundred thousand requests under the shipped policy, 16 at once, with a state store.

    python benchmarks/memory.py [REQUESTS] [--ledger]

Every prompt is another one, so that the cache fills up; answers are simulated. Prints resident memory every tenth of
the way, the most of it after the first tenth, and how long closing took.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from routewright import Ledger, ModelGateway, StateStore, load_policy
from routewright.loading import load_samples
from routewright.tasks import AskedTask, asked_by

REQUESTS = 100_000
AT_ONCE = 16
POLICIES = Path(__file__).resolve().parent.parent / "policies"


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Measure memory over many requests.")
    parser.add_argument("requests", nargs="?", type=int, default=REQUESTS)
    parser.add_argument("--ledger", action="store_true", help="record everything as well")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        asyncio.run(_run(given.requests, Path(folder), ledger=given.ledger))


async def _run(requests: int, folder: Path, *, ledger: bool) -> None:
    gateway = ModelGateway(
        load_policy(POLICIES / "hybrid.yaml"),
        ledger=Ledger.open(folder / "ledger.duckdb") if ledger else None,
        store=StateStore(folder / "state.sqlite"),
    )
    tasks, most = islice(_tasks(), requests), 0.0
    tenth = max(1, requests // 10)
    done = 0

    async def worker() -> None:
        nonlocal done, most
        for asked in tasks:
            assert asked.request is not None
            await gateway.execute(gateway.decide(asked.task), asked.request, unenforced=True)
            done += 1
            if done % 100 == 0 and done > tenth:
                most = max(most, resident_mb())
            if done % tenth == 0:
                gc.collect()
                print(f"{done:>8} requests  {resident_mb():6.1f} MB", flush=True)

    print(f"{0:>8} requests  {resident_mb():6.1f} MB", flush=True)
    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    began_s = time.monotonic()
    await gateway.close()
    took_s = time.monotonic() - began_s
    print(f"at most {most:.1f} MB after the first tenth; closed in {took_s:.2f} s", flush=True)


def _tasks() -> Iterator[AskedTask]:
    """The sample tasks again and again, each time with another prompt."""
    samples = load_samples(POLICIES / "samples.yaml").tasks
    for number in count():
        sample = samples[number % len(samples)]
        yield asked_by(sample.model_copy(update={"prompt": f"{number}: {sample.prompt}"}))


def resident_mb() -> float:
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
    main()
