"""Canaries that end by the rule of their policy, through the gateway, its ledger and its state store."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from support.new_ledgers import new_ledger

from routewright import ChatRequest, Ledger, ModelGateway, StateStore, Task, load_policy
from routewright.backends import BackendError, Message, SimulatedBackend
from routewright.backends.control import Canaries, CanaryEnd
from routewright.engine.policy import CompiledPolicy
from routewright.gateway import canary_digests, simulated_backends
from routewright.gateway.canaries import LOOK_EVERY_US

CATALOG = """\
routewright: 1
backends: { here: { kind: mlx } }
models:
  small: { backend: here, price: { input: 1, output: 1 } }
  large: { backend: here, price: { input: 1, output: 1 } }
"""
POLICY = """\
routewright: 1
name: NAME
catalog: catalog.yaml
features: { team: { type: string } }
rules: [{ name: all, use: [MODEL] }]
"""
AT_US = 1_767_225_600_000_000
HELLO = ChatRequest((Message("user", "hello"),))
FAILS_MORE = "abort_when: [{ metric: success, is: below, plus: -0.02 }]"
AS_GOOD = "promote_when: [{ metric: success, is: above, plus: -0.5 }]"


class Real(SimulatedBackend):
    """Counts as a real one, and refuses a share of what its models are asked, drawn from a seed."""

    simulated = False

    def __init__(self, policy: CompiledPolicy, refuses: dict[str, float]) -> None:
        [known] = simulated_backends(policy).values()
        assert isinstance(known, SimulatedBackend)
        super().__init__(known._models, seed=1)
        self._refuses, self._random = refuses, Random(7)

    async def stream(self, model, request, *, limits=...):  # type: ignore[no-untyped-def]  # as it is called
        if self._random.random() < self._refuses.get(model, 0.0):
            raise BackendError("no", error_class="refused_content")
        async for event in super().stream(model, request, limits=limits):
            answer = getattr(event, "answer", None)
            yield event if answer is None else replace(event, answer=replace(answer, simulated=False))


@dataclass
class World:
    """A policy in files, and what stays when a gateway ends."""

    folder: Path
    rule: str
    refuses: dict[str, float]
    now_us: int = AT_US

    def __post_init__(self) -> None:
        self.write("percent: 50%")
        self.ledger = new_ledger(self.folder / "ledger.duckdb")

    def write(self, share: str) -> None:
        rollout = f"rollout: {{ candidate: next.yaml, mode: canary, {share}, {self.rule} }}\n"
        texts = {
            "catalog.yaml": CATALOG,
            "policy.yaml": POLICY.replace("NAME", "now").replace("MODEL", "small") + rollout,
            "next.yaml": POLICY.replace("NAME", "next").replace("MODEL", "large"),
        }
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        self.policy = load_policy(self.folder / "policy.yaml")

    def gateway(self, seed: int = 1) -> ModelGateway:
        return ModelGateway(
            self.policy,
            backends={"here": Real(self.policy, self.refuses)},
            ledger=Ledger.open(self.folder / "ledger.duckdb"),
            store=self.store,
            random=Random(seed),
            clock=lambda: self.now_us,
        )

    def ask(self, requests: int, *teams: str) -> Counter[str | None]:
        """Where so many requests to a new gateway go; what they have shown is judged after them."""
        named = canary_digests(self.policy)
        assert named is not None
        tasks = [Task({"team": teams[n % len(teams)]} if teams else {}) for n in range(requests)]

        async def run() -> list[str | None]:
            async with self.gateway(self.now_us) as gateway:
                # As if another process had judged it just now.
                Canaries(self.store).claim_look(*named, at_us=self.now_us, every_us=1)
                ran = await asyncio.gather(*(gateway.run(task, HELLO) for task in tasks))
                await gateway._canaries.end()
                self.now_us += LOOK_EVERY_US
                await gateway.run(tasks[0], HELLO)
                return [one.decision.target for one in ran]

        return Counter(asyncio.run(run()))

    @property
    def store(self) -> StateStore:
        return StateStore(self.folder / "state.db")

    @property
    def end(self) -> CanaryEnd | None:
        named = canary_digests(self.policy)
        assert named is not None
        return Canaries(self.store).get(*named).end


def test_a_candidate_that_fails_more_is_aborted_for_all_processes_and_restarts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, f"{FAILS_MORE}, {AS_GOOD}", {"large": 0.9})
    with caplog.at_level(logging.WARNING):
        assert set(world.ask(60)) == {"small", "large"}
    assert world.end == ("abort", "success below the control's less 0.02", AT_US + LOOK_EVERY_US)
    said = "the canary of policy `now` was aborted: the control executes all tasks, as this is sure: success below"
    assert [said in one for one in caplog.messages] == [True]
    assert world.ask(30) == {"small": 30}
    script = """
import json, sys
from routewright import ModelGateway, StateStore, Task, load_policy
with ModelGateway(load_policy(sys.argv[1] + "/policy.yaml"), store=StateStore(sys.argv[1] + "/state.db")) as gateway:
    found = [gateway.decide(Task()).decision.arm for _ in range(30)]
print(json.dumps(sorted({(one.name, one.mode, one.share, one.probability) for one in found})))
"""
    other = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert json.loads(other.stdout) == [["control", "canary", 0.0, 1.0]]
    newest = world.ledger.query(
        "SELECT arm, arm_probability, mode FROM decision_records ORDER BY at_us DESC LIMIT 1"
    )
    assert newest.rows == (("control", 1.0, "canary"),)


def test_a_canary_begins_anew_where_its_policy_changes_or_somebody_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, FAILS_MORE, {"large": 0.9})
    world.ask(60)
    named = canary_digests(world.policy)
    assert named is not None and world.end is not None
    world.write("percent: 60%")
    assert world.end is None
    world.write("percent: 50%")
    assert world.end is not None
    canaries = Canaries(world.store)
    canaries.begin_anew(*named, at_us=world.now_us + 1)
    world.now_us += 2
    assert set(world.ask(30)) == {"small", "large"}
    assert world.end is None
    judged = world.ledger.judge_canary(world.policy, since_us=world.now_us - LOOK_EVERY_US)
    assert sum(judged.decisions.values()) == 31
    late = CanaryEnd("abort", "of before", world.now_us)
    assert not canaries.end(*named, late, since_us=0), "a look that began before must not end it"


def test_arms_that_are_alike_go_on(tmp_path: Path) -> None:
    world = World(tmp_path, FAILS_MORE, {"small": 0.2, "large": 0.2})
    assert set(world.ask(120)) == {"small", "large"}
    assert world.end is None


def test_a_candidate_that_is_good_enough_is_promoted(tmp_path: Path) -> None:
    world = World(tmp_path, f"{FAILS_MORE}, {AS_GOOD}", {})
    world.ask(120)
    assert world.end is not None and world.end.verdict == "promote"
    assert world.ask(20) == {"large": 20}


def test_teams_that_come_back_are_not_more_teams(tmp_path: Path) -> None:
    """Four teams, however often they ask, are too few to say anything of the candidate."""
    world = World(tmp_path, f"{FAILS_MORE}, key: team", {"large": 0.9, "small": 0.1})
    world.ask(120, "a", "b", "c", "d")
    judged = world.ledger.judge_canary(world.policy)
    assert min(judged.decisions.values()) >= 30
    assert [one.holds for one in judged.verdict.abort_when] == [None] and world.end is None


def test_nothing_is_said_of_costs_that_nobody_knows(tmp_path: Path) -> None:
    world = World(tmp_path, "promote_when: [{ metric: cost, is: below, times: 2 }]", {})
    world.ask(230)
    judged = world.ledger.judge_canary(world.policy)
    assert judged.verdict.decision == "promote" and judged.unknown_costs == {"control": 0, "candidate": 0}
    text = CATALOG.replace(
        "large: { backend: here, price: { input: 1, output: 1 } }", "large: { backend: here }"
    )
    (tmp_path / "catalog.yaml").write_text(text)
    world.policy = load_policy(tmp_path / "policy.yaml")
    world.ask(230)
    judged = world.ledger.judge_canary(world.policy)
    assert judged.verdict.decision == "keep going" and judged.unknown_costs["candidate"] > 100


def test_a_gateway_that_cannot_end_its_canary_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path, FAILS_MORE, {})
    with ModelGateway(world.policy, backends={"here": Real(world.policy, {})}) as gateway:
        for _ in range(2):
            gateway.run_sync(Task(), HELLO)
    assert caplog.messages == [
        "nothing ends the canary: that needs a ledger and a state store, and there is no ledger"
    ]


def test_simulated_work_judges_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, FAILS_MORE, {})
    with ModelGateway(world.policy, ledger=world.ledger, store=world.store) as gateway:
        gateway.run_sync(Task(), HELLO)
        assert gateway._canaries._looking is None
    assert world.ledger.judge_canary(world.policy).decisions == {"control": 0, "candidate": 0}


def test_one_process_judges_at_a_time(tmp_path: Path) -> None:
    canaries = Canaries(StateStore(tmp_path / "state.db"))
    claim = [
        canaries.claim_look("a", "b", at_us=at, every_us=10) is not None for at in (100, 109, 110, 50, 59)
    ]
    assert claim == [True, False, True, True, False]
    assert canaries.end("a", "b", CanaryEnd("promote", "why", 60), since_us=0)
    assert canaries.claim_look("a", "b", at_us=1000, every_us=10) is None
    assert canaries.get("a", "b").end == ("promote", "why", 60) and canaries.get("a", "c").end is None
