"""The page on bringing a policy in: its files load, its three phases run, its SQL decides."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from random import Random

import pytest
from support.pages import ROOT, blocks

from routewright import ChatRequest, Ledger, ModelGateway, Task, load_policy, record_of
from routewright.backends import Message
from routewright.engine.explain.arm_text import arm_line

PAGE = ROOT / "docs" / "rollout.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = blocks(PAGE)
FILES = {block.file: block.text for block in BLOCKS if block.file is not None}
PHASES = [block.text for block in BLOCKS if block.text.startswith("# in hybrid.yaml\n")]
# No model is called here, and plain views hold what was real.
SQL = [
    re.sub(r"(FROM|JOIN) rollout_", r"\1 all_rollout_", block.text)
    for block in BLOCKS
    if block.language == "sql"
]
HELLO = ChatRequest((Message("user", "Design a payment platform"),))
TASKS = [
    Task({"team": f"team {n % 61}", "requires_moe": n % 3 == 0, "privacy_required": n % 5 == 0})
    for n in range(600)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rollout")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def gateway_in(folder: Path, phase: str) -> ModelGateway:
    (folder / "hybrid.yaml").write_text(FILES["hybrid.yaml"] + phase)
    policy = load_policy(folder / "hybrid.yaml")
    return ModelGateway(policy, ledger=Ledger.open(folder / "ledger.duckdb"), random=Random(4))


def test_the_page_has_three_files_three_phases_and_four_questions() -> None:
    assert sorted(FILES) == ["catalog.yaml", "hybrid-kimi.yaml", "hybrid.yaml"]
    assert [re.search(r"mode: (\w+)", phase)[1] for phase in PHASES] == ["shadow", "canary", "full"]  # type: ignore[index]  # each has one
    assert len(SQL) == 4


def test_the_three_phases_run_and_the_ledger_decides(folder: Path) -> None:
    with gateway_in(folder, PHASES[0]) as gateway:
        for task in TASKS:
            assert gateway.run_sync(task, HELLO).decision.target == "glm-4.5"
    ledger = gateway.ledger
    assert ledger is not None
    moves = ledger.query(SQL[0]).rows
    assert [row[:4] for row in moves] == [("glm-4.5", "mixture_of_experts", "kimi-k2-cloud", 160)]
    assert moves[0][4] > 0
    assert ledger.query(SQL[1]).rows == ((600, 0, 0),)

    with gateway_in(folder, PHASES[1]) as gateway:
        arms: dict[object, str] = {}
        moved_to = Counter[str]()
        for task in TASKS * 5:
            decision = gateway.run_sync(task, HELLO).decision
            assert decision.arm is not None
            moved_to[decision.arm.name] += 1
            assert arms.setdefault(task.features["team"], decision.arm.name) == decision.arm.name
            private = task.features["privacy_required"]
            moved = decision.arm.name == "candidate" and task.features["requires_moe"] and not private
            assert decision.target == ("kimi-k2-cloud" if moved else "glm-4.5")
    control_or_not = ledger.query(SQL[2]).rows
    assert [row[0] for row in control_or_not] == ["candidate", "control"]
    assert {row[0]: row[1] for row in control_or_not} == moved_to
    assert control_or_not[0][5] > control_or_not[1][5] == 0, "the candidate costs, what is local does not"
    assert ledger.query(SQL[3]).rows == ((control_or_not[0][1] >= 300,),)

    with gateway_in(folder, PHASES[2]) as gateway:
        assert gateway.run_sync(Task({"requires_moe": True}), HELLO).decision.target == "kimi-k2-cloud"
        private = gateway.run_sync(Task({"requires_moe": True, "privacy_required": True}), HELLO)
        assert private.decision.target == "glm-4.5"

    (folder / "hybrid.yaml").write_text(FILES["hybrid-kimi.yaml"])
    promoted = load_policy(folder / "hybrid.yaml")
    assert promoted.rollout is None
    assert promoted.digest == load_policy(folder / "hybrid-kimi.yaml").digest


def test_the_line_on_the_page_is_what_a_record_says(folder: Path) -> None:
    with gateway_in(folder, PHASES[1]) as gateway:
        decision = gateway.decide(Task({"team": "research"})).decision
    assert f"```text\n{arm_line(record_of(decision))}\n```" in TEXT
