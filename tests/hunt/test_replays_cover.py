"""A replay of a real ledger covers what a published file says, as often as its intervals claim."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import pytest
from support.executed_ledgers import Executed, attempt_of, executed_ledger
from support.sizes import REPLAYED_LOGS

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import State, Task
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.gateway.deciding import uuid7
from routewright.ledger import Estimate, Outcome

FILE = Path(__file__).parents[3] / "shared" / "data" / "routellm" / "gsm8k_responses.csv"
AT_US = 1_767_225_600_000_000

pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="the published data is not beside the project")

HEAD = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models: { mixtral: { backend: ollama }, gpt: { backend: ollama } }
features: { size: { type: integer } }
rules:
"""
SPLIT = """\
  - name: long
    when: size > 300
    use: [mixtral, gpt]
    choose: split
    split: { weights: { mixtral: 2, gpt: 3 } }
  - name: rest
    use: [mixtral, gpt]
    choose: split
    split: { weights: { mixtral: 7, gpt: 3 } }
"""
ONE = "  - { name: all, use: [mixtral] }\n"
CANDIDATE = """\
  - { name: long, when: size > 200, use: [gpt] }
  - { name: rest, use: [mixtral] }
"""
COLUMNS = {"mixtral": "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt": "gpt-4-1106-preview"}


def compiled(rules: str) -> CompiledPolicy:
    return compile_policy(read_policy(HEAD + rules, "p.yaml"))


def answers() -> list[dict[str, str]]:
    with FILE.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def replayed(folder: Path, rules: str, seed: int) -> tuple[Estimate, Estimate | None]:
    """The estimates of `correct` under the candidate, all and what is measured, if these rules decided each prompt once
    and the answer of the other model was never seen."""
    random, policy = Random(seed), compiled(rules)
    log, outcomes = [], []
    for row in answers():
        task = Task({"size": len(row["prompt"])}, draw=random.random())
        decision = decide(policy, task, State(AT_US), decision_id=uuid7(AT_US, random))
        target = decision.target or ""
        log.append(Executed(decision, [attempt_of(1, target, started_at_us=AT_US)], 1))
        outcomes.append(Outcome(decision.id, "correct", row[COLUMNS[target]] == "True"))
    ledger = executed_ledger(folder / f"{seed}.duckdb", log, [policy])
    ledger.record_outcomes(outcomes)
    [found] = [
        one for one in ledger.replay(compiled(CANDIDATE)).consequences.metrics if one.name == "correct"
    ]
    return found.after, found.after_measured


def test_with_the_other_answer_hidden_intervals_cover_the_files_truth(tmp_path: Path) -> None:
    rows = answers()
    truth = sum(
        row[COLUMNS["gpt" if len(row["prompt"]) > 200 else "mixtral"]] == "True" for row in rows
    ) / len(rows)
    covered = 0
    for seed in range(REPLAYED_LOGS):
        after, _ = replayed(tmp_path, SPLIT, seed)
        assert after.verdict == "identified"
        assert after.log_interval is not None
        covered += after.log_interval.low <= truth <= after.log_interval.high
    # 95 % are claimed: three standard errors below that, and one miss of a few.
    assert covered >= min(REPLAYED_LOGS - 1, 0.95 * REPLAYED_LOGS - 3 * (0.95 * 0.05 * REPLAYED_LOGS) ** 0.5)


def test_of_what_nobody_asked_a_log_without_chance_knows_nothing(tmp_path: Path) -> None:
    rows = [row for row in answers() if len(row["prompt"]) <= 200]
    right = sum(row[COLUMNS["mixtral"]] == "True" for row in rows)
    after, measured = replayed(tmp_path, ONE, 0)
    assert after.verdict == "partially identified"
    assert after.without_support == pytest.approx(1 - len(rows) / 1319)
    assert measured is not None
    assert measured.value == pytest.approx(right / len(rows))
    assert measured.decisions == len(rows)
