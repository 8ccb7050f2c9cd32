"""Measures what recording one call takes on the way to its model, beside deciding it.

    python benchmarks/recording.py    some seconds; prints only

What is recorded waits in the spool of a temporary ledger, and is too little to be loaded into its tables.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from timing import Timed, measure, ratio_of
from workload import Workload, shipped

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import State
from routewright.engine.record.attempt import Attempt, Intent
from routewright.engine.record.parts import parts_of
from routewright.gateway.recorder import Pending, Recorder
from routewright.gateway.results import DecisionResult
from routewright.ledger import Ledger

STATE = State(1_767_225_600_000_000)
INTENT = Intent(1, "answer", "kimi-k2-cloud", "cloud", STATE.at_us, False, "USD", "2026-01-01", True)
ENDED = {
    "status": "ok",
    "finish_reason": "stop",
    "total_us": 900_000,
    "input_tokens": 900,
    "output_tokens": 50,
}
UNKNOWN: dict[str, Any] = dict.fromkeys(
    name for name in Attempt._fields if name not in Attempt._field_defaults
)
ATTEMPT = Attempt(**(UNKNOWN | INTENT._asdict() | ENDED))


def main() -> None:
    with TemporaryDirectory() as folder:
        recorder = Recorder(Ledger.open(Path(folder) / "ledger.duckdb"))
        times = measure(contenders(shipped(), recorder), rounds=9, block_ms=2)
    for name, found in times.items():
        ratio = ratio_of(found, times["decide"])
        print(f"{name:22} {median(found):7.1f} µs {ratio.middle:6.1f} × decide")


def contenders(workload: Workload, recorder: Recorder) -> list[Timed]:
    """Deciding, the record's parts, and recording a decision: whole, as before a call, and also after it."""
    policy = workload.policy
    ids = [f"019b76da-a800-7000-8000-{number:012d}" for number in range(len(workload.tasks))]
    decided = [
        DecisionResult(decide(policy, task, STATE, decision_id=id), 0)
        for task, id in zip(workload.tasks, ids, strict=True)
    ]

    def begun(one: DecisionResult) -> Pending:
        pending = Pending(policy, one, None, intents=[INTENT])
        recorder._write([pending])
        return pending

    def ended(pending: Pending) -> None:
        pending.attempts, pending.answered_attempt = [ATTEMPT], 1
        recorder.record(pending)

    return [
        Timed("decide", workload.tasks, lambda task: decide(policy, task, STATE, decision_id=ids[0])),
        Timed("record's parts", decided, lambda one: parts_of(one.decision)),
        Timed("whole, after the call", decided, lambda one: ended(Pending(policy, one, None))),
        Timed("intent", decided, begun),
        Timed("intent and end", decided, lambda one: ended(begun(one))),
    ]


if __name__ == "__main__":
    main()
