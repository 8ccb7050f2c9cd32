"""Fills a ledger as a busy gateway does: decisions of the shipped policy, a call each, 16 under way at a time.

Features vary, and latencies change before every decision.
"""

from __future__ import annotations

import hashlib
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from random import Random

from recording import ATTEMPT, INTENT
from workload import Workload, shipped

from routewright.engine.canonical import canonical_bytes
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import ModelState, State
from routewright.engine.record.record import record_values
from routewright.gateway.deciding import uuid7
from routewright.gateway.recorder import Pending, Recorder
from routewright.gateway.results import DecisionResult
from routewright.ledger import Ledger

BEGIN_US = 1_767_225_600_000_000
EVERY_US = 250_000
AT_ONCE = 16
FILE = 50_000
"""Calls in one file of the spool: as many as come in half a minute to a busy gateway, or so."""


def fill(path: Path, decisions: int, *, keep: bool = False, begin_us: int = BEGIN_US) -> dict[str, bytes]:
    """Record so many decisions from a time on, and load them into the tables file by file.

    With ``keep``, gives the SHA-256 of the record of each as the engine encodes it, by id.
    """
    workload, ledger, encoded = shipped(), Ledger.open(path), dict[str, bytes]()
    spent = {"decide": 0.0, "append": 0.0, "ingest": 0.0}

    def timed(name: str, work: Callable[[], object]) -> object:
        began = time.process_time()
        result = work()
        spent[name] += time.process_time() - began
        return result

    made = _decided(workload, timed, begin_us)
    if keep:
        made = _encoded(made, encoded)
    for start in range(0, decisions, FILE):
        recorder = Recorder(ledger)
        _record(recorder, islice(made, min(FILE, decisions - start)), workload, timed)
        writer = recorder._writer
        assert writer is not None
        timed("ingest", writer.close)
    most = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024) / 1024
    )
    print(f"{decisions:,} decisions; memory at most {most:.2f} GiB")
    for name, seconds in spent.items():
        print(f"  {name:8} {seconds / decisions * 1e6:7.1f} µs a decision")
    return encoded


def _encoded(made: Iterator[DecisionResult], encoded: dict[str, bytes]) -> Iterator[DecisionResult]:
    for one in made:
        record = canonical_bytes(record_values(one.decision))
        encoded[one.decision.id] = hashlib.sha256(record).digest()
        yield one


def _decided(workload: Workload, timed: Callable[..., object], at_us: int) -> Iterator[DecisionResult]:
    random = Random(1)
    ids = [model.id for model in workload.policy.catalog.models]
    models = {id: ModelState(latency_ms=round(random.uniform(50, 5_000), 3)) for id in ids}
    tasks = cycle(random.sample(workload.tasks, len(workload.tasks)))
    while True:
        at_us += EVERY_US
        models = {
            **models,
            random.choice(ids[:8]): ModelState(latency_ms=round(random.uniform(50, 5_000), 3)),
        }
        state, task = State(at_us, models=models), next(tasks)
        id = uuid7(at_us, random)
        decision = timed("decide", lambda s=state, t=task, i=id: decide(workload.policy, t, s, decision_id=i))
        yield DecisionResult(decision, 8_000 + random.randrange(4_000))  # type: ignore[arg-type]


def _record(
    recorder: Recorder, made: Iterator[DecisionResult], workload: Workload, timed: Callable[..., object]
) -> None:
    random, under_way = Random(2), deque[Pending]()

    def end(one: Pending) -> None:
        tokens = random.randrange(20, 4_000), random.randrange(5, 900)
        one.attempts = [
            ATTEMPT._replace(
                started_at_us=one.decided.decision.state.at_us + random.randrange(2_000),
                total_us=random.randrange(80_000, 9_000_000),
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                cost_nano=tokens[0] * 600 + tokens[1] * 2_500,
                simulated=False,
            )
        ]
        one.answered_attempt, one.ended = 1, True
        timed("append", lambda: recorder._write([one]))
        assert one.error is None

    for decided in made:
        one = Pending(workload.policy, decided, {"team": random.choice(("search", "ads", "mail"))})
        one.intents = [INTENT._replace(started_at_us=decided.decision.state.at_us, simulated=False)]
        timed("append", lambda one=one: recorder._write([one]))
        under_way.append(one)
        if len(under_way) >= AT_ONCE:
            end(under_way.popleft())
    for one in under_way:
        end(one)
