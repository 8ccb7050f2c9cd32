"""Ledgers of decisions that were executed, for tests of what a replay says would have come of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import State, Task
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.attempt import Attempt
from routewright.engine.record.parts import parts_of
from routewright.gateway.deciding import uuid7
from routewright.ledger import AttemptRow, DecisionRow, Ledger, LedgerEntry, PolicyRow

from .ledger_rows import START_US, attempt
from .new_ledgers import new_ledger

__all__ = ["SPLIT", "Executed", "attempt_of", "executed_ledger", "split_ledger"]


@dataclass(frozen=True)
class Executed:
    """A decision, the calls that were made for it, and the number of the one whose answer was given."""

    decision: Decision
    attempts: Sequence[Attempt] = ()
    answered: int | None = None
    mode: str = field(default="exploit")


def attempt_of(number: int, model_id: str, **changes: Any) -> Attempt:
    """A call that cost nothing and was answered at once."""
    made = attempt(0, number, model_id=model_id).attempt
    plain = {"load_us": None, "total_us": 1_000, "status": "ok", "cost_nano": 0, "currency": "USD"}
    return made._replace(**(plain | changes))


def executed_ledger(
    path: Path, executed: Iterable[Executed], policies: Iterable[CompiledPolicy] = ()
) -> Ledger:
    """A ledger with these decisions, and the texts of ``policies`` and of their catalogs."""
    ledger, rows = new_ledger(path), list[PolicyRow]()
    for policy in policies:
        rows.append(PolicyRow(policy.digest, "policy", policy.name, policy.text, 0))
        catalog = policy.catalog
        rows.append(PolicyRow(catalog.digest, "catalog", catalog.name or "", catalog.text, 0))
    writer = ledger.writer()
    entries = []
    for one in executed:
        row = DecisionRow(parts_of(one.decision), one.mode, answered_attempt=one.answered, simulated=False)
        attempts = [AttemptRow(one.decision.id, each) for each in one.attempts]
        entries.append(LedgerEntry(row, attempts, rows))
        rows = []
    assert set(writer.add_all([entries])) == {None}
    writer.close()
    return ledger


SPLIT = """\
routewright: 1
name: split
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models: { small: { backend: ollama }, large: { backend: ollama }, huge: { backend: ollama } }
rules:
  - { name: all, use: [small, large], choose: split, split: { weights: { small: 3, large: 1 } } }
"""
"""A policy that leaves to chance which of two models a task goes to."""


def split_ledger(path: Path, policy: CompiledPolicy, rows: int) -> Ledger:
    """Tasks that ``policy``, of ``SPLIT``, has drawn a model for: the large one costs 3 USD, the small one 1."""
    random = Random(3)
    decisions = [
        decide(policy, Task({}, draw=random.random()), State(START_US), decision_id=uuid7(START_US, random))
        for _ in range(rows)
    ]
    costs = {"small": 10**9, "large": 3 * 10**9}
    made = [
        Executed(one, [attempt_of(1, one.target or "", cost_nano=costs[one.target or ""])], 1)
        for one in decisions
    ]
    return executed_ledger(path, made, [policy])
