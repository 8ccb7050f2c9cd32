"""A small ledger to replay: real work that one policy decided, always the same."""

from __future__ import annotations

from pathlib import Path
from random import Random

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.parts import parts_of
from routewright.gateway.deciding import uuid7
from routewright.ledger import DecisionRow, Ledger, LedgerEntry, PolicyRow

from .ledger_rows import START_US
from .new_ledgers import new_ledger


def compiled_text(text: str) -> CompiledPolicy:
    """The policy in ``text``, which has its catalog in it."""
    return compile_policy(read_policy(text, "policy.yaml"), None)


def replay_ledger(
    path: Path, text: str, tasks: int = 40, *, simulated: bool | None = None, minutes: int = 1
) -> Ledger:
    """A ledger in which the policy of ``text`` has decided so many tasks, so many ``minutes`` apart.

    Of each four, the first is short, the second long, the third hard, and the last hard and private.
    """
    ledger = new_ledger(path)
    add_decided(ledger, text, tasks, simulated=simulated, minutes=minutes)
    return ledger


def add_decided(
    ledger: Ledger,
    text: str,
    tasks: int,
    *,
    seed: int = 7,
    keep_text: bool = True,
    simulated: bool | None = None,
    minutes: int = 1,
) -> None:
    """Record the same tasks as decided by the policy of ``text``, which the ledger keeps unless told otherwise."""
    policy, random = compiled_text(text), Random(seed)
    entries = []
    for number in range(tasks):
        at_us = START_US + number * minutes * 60_000_000
        kind = number % 4
        features = {"complex_reasoning": kind >= 2, "private": kind == 3}
        task = Task(features, request=RequestFacts(prompt_tokens=20_000 if kind == 1 else 500))
        decision = decide(policy, task, State(at_us), decision_id=uuid7(at_us, random))
        entries.append([LedgerEntry(DecisionRow(parts_of(decision), "exploit", simulated=simulated), [])])
    texts = (
        PolicyRow(policy.digest, "policy", policy.name, text, START_US),
        PolicyRow(policy.catalog.digest, "catalog", "", policy.catalog.text, START_US),
    )
    if keep_text:
        entries[0] = [entries[0][0]._replace(policies=texts)]
    writer = ledger.writer()
    assert writer.add_all(entries) == [None] * tasks
    writer.close()
