"""Rollouts through the gateway: who is called, what is stored, what both arms share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.new_ledgers import new_ledger

from routewright import (
    ChatRequest,
    FeatureError,
    Ledger,
    ModelGateway,
    RequestFacts,
    State,
    StateStore,
    Task,
    TaskError,
    load_policy,
)
from routewright.backends import Backend, EmbedRequest, Fault, Message, SimulatedBackend
from routewright.engine.explain.explanation import explain
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.gateway.arms import open_candidate
from routewright.gateway.opening import simulated_backends

CATALOG = """\
routewright: 1
backends:
  here: { kind: mlx }
  away: { kind: openai, host: "https://models.example" }
models:
  small: { backend: here }
  large: { backend: away, price: { input: 2, output: 6 } }
"""

OTHER = CATALOG.replace("output: 6", "output: 9")
"""The backend `away` is another one here, as a price of its models is another."""

POLICY = """\
routewright: 1
name: now
catalog: catalog.yaml
features:
  hard: { type: boolean, default: false }
  team: { type: string, from: request.metadata.team }
  kind: { type: string }
rules: [{ name: all, use: [small], fallback: [large] }]
controls: [{ name: calls, max_requests: 3, per: day }]
rollout: { candidate: next.yaml, MODE }
"""

NEXT = """\
routewright: 1
name: next
catalog: CATALOG
features:
  hard: { type: boolean, default: false }
  fresh: { type: boolean, default: false }
  kind: { type: string, enum: [a, b] }
rules:
  - { name: hard, when: hard, use: [large] }
  - { name: rest, use: [small, large], choose: split, split: { weights: { small: 1, large: 1 } } }
controls: [{ name: calls, max_requests: 3, per: day }]
"""

AT_US = 1_767_225_600_000_000
HELLO = ChatRequest((Message("user", "hello"),))
HARD = Task({"hard": True})


def policy_with(folder: Path, mode: str, *, catalog: str = "catalog.yaml") -> CompiledPolicy:
    # Of a shadow alone the candidate may take less than its control.
    candidate = NEXT if "shadow" in mode else NEXT.replace(", enum: [a, b]", "")
    for name, text in (
        ("catalog.yaml", CATALOG),
        ("other.yaml", OTHER),
        ("policy.yaml", POLICY.replace("MODE", mode)),
        ("next.yaml", candidate.replace("CATALOG", catalog)),
    ):
        (folder / name).write_text(text)
    return load_policy(folder / "policy.yaml")


def gateway_with(folder: Path, mode: str, *, catalog: str = "catalog.yaml", **more: Any) -> ModelGateway:
    policy = policy_with(folder, mode, catalog=catalog)
    ledger = Ledger.open(folder / "ledger.duckdb")
    store = StateStore(folder / "state.db")
    return ModelGateway(policy, ledger=ledger, store=store, random=Random(1), clock=lambda: AT_US, **more)


def calls(backends: Mapping[str, Backend]) -> list[str]:
    found: list[str] = []
    for backend in backends.values():
        assert isinstance(backend, SimulatedBackend)
        found += backend.calls
    return sorted(found)


def rows(gateway: ModelGateway, columns: str) -> list[tuple[Any, ...]]:
    ledger = gateway.ledger
    assert ledger is not None
    return list(ledger.query(f"SELECT {columns} FROM decision_records ORDER BY mode, decision_id").rows)


# --- shadow ------------------------------------------------------------------------------------------------


def test_a_shadow_is_decided_and_stored_and_nothing_is_called_for_it(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: shadow") as gateway:
        ran = gateway.run_sync(HARD, HELLO, tags={"trial": "1"})
        assert (ran.decision.target, ran.shadow and ran.shadow.target) == ("small", "large")
        assert ran.execution is not None and [a.model_id for a in ran.execution.attempts] == ["small"]
        assert calls(gateway.backends) == ["small"]
    columns = "policy_name, mode, arm, arm_probability, target, decision_id::VARCHAR, shadow_of::VARCHAR"
    control, shadow = rows(gateway, columns)
    assert control[:5] == ("now", "exploit", "control", 1.0, "small") and control[6] is None
    assert shadow[:5] == ("next", "shadow", "candidate", 0.0, "large") and shadow[6] == control[5]
    assert gateway.ledger is not None
    assert gateway.ledger.query("SELECT DISTINCT decision_id::VARCHAR FROM attempt_rows").rows == (
        (control[5],),
    )
    assert gateway.ledger.query("SELECT DISTINCT tags['trial'] FROM decision_records").rows == (("1",),)


def test_a_shadow_sees_the_task_and_the_draw_of_its_control(tmp_path: Path) -> None:
    """Where the candidate splits at random, both records hold the same draw, so that either can be made again."""
    with gateway_with(tmp_path, "mode: shadow") as gateway:
        decided = [gateway.decide(Task({"kind": "a"})) for _ in range(30)]
    assert {one.shadow and one.shadow.decision.target for one in decided} == {"small", "large"}
    for one in decided:
        assert one.shadow is not None
        assert one.shadow.decision.task == one.decision.task
        assert one.shadow.decision.state.at_us == one.decision.state.at_us
        assert one.shadow.decision.id != one.decision.id


def test_a_shadow_that_cannot_decide_takes_nothing_from_the_answer(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: shadow") as gateway:
        decided = gateway.decide(Task({"kind": "z"}))
        assert decided.shadow is None and "`'z'` is not one of" in str(decided.shadow_error)
        ran = gateway.run_sync(Task({"kind": "z"}), HELLO)
        assert ran.execution is not None and ran.execution.answer is not None
        assert ran.shadow is None and "`'z'` is not one of" in str(ran.shadow_error)
        gateway.run_sync(HARD, HELLO)
        assert gateway.ledger is not None
        found = gateway.ledger.query("SELECT differs FROM all_rollout_differences ORDER BY decision_id").rows
    assert found == ((None,), (True,))


def test_a_shadow_is_never_executed(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: shadow") as gateway:
        shadow = gateway.decide(HARD).shadow
        assert shadow is not None
        for decided in (shadow, gateway.decide(HARD, arm="candidate")):
            with pytest.raises(TaskError, match="that was not picked is not executed"):
                asyncio.run(gateway.execute(decided, HELLO))
        assert calls(gateway.backends) == [] and rows(gateway, "1") == []


def test_a_shadow_needs_no_backend_of_the_candidates(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "mode: shadow", catalog="other.yaml")
    assert open_candidate(policy) == {}
    gateway = ModelGateway(policy, backends=simulated_backends(policy))
    assert gateway.run_sync(HARD, HELLO).shadow is not None
    gateway.close_sync()


def test_a_dead_end_has_a_shadow_too(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: shadow") as gateway:
        ran = gateway.run_sync(Task({"hard": True}, operation="embed"), EmbedRequest(("hello",)))
        assert (ran.execution, ran.decision.outcome) == (None, "no_target")
        gateway.run_sync(Task(pin="large"), HELLO)
    assert [row[0] for row in rows(gateway, "mode")] == ["exploit"] * 2 + ["shadow"] * 2


# --- canary and full ---------------------------------------------------------------------------------------


def test_a_canary_executes_each_task_under_the_policy_of_its_arm(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "mode: canary, percent: 50%, key: team, salt: s")
    with ModelGateway(policy, random=Random(1), clock=lambda: AT_US) as gateway:
        arms = {}
        for team in ("a", "b", "c", "d", "e", "f"):
            decided = gateway.decide(Task({"hard": True, "team": team}))
            again = gateway.decide(Task({"hard": True}, request=RequestFacts(metadata={"team": team})))
            assert decided.decision.arm is not None
            assert decided.decision.arm == again.decision.arm
            arms[team] = decided.decision.arm.name
            assert decided.decision.target == ("large" if arms[team] == "candidate" else "small")
            assert decided.shadow is None
        assert set(arms.values()) == {"control", "candidate"}


def test_a_canary_stores_the_arm_its_probability_and_both_policies(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: canary, percent: 25%") as gateway:
        drawn = [gateway.run_sync(HARD, HELLO).decision.arm for _ in range(24)]
        assert {arm and arm.name for arm in drawn} == {"control", "candidate"}
    columns = "mode, arm, arm_probability, policy_name, control_digest, candidate_digest, shadow_of"
    policy = gateway.policy
    assert policy.rollout is not None and policy.rollout.candidate is not None
    digests = (policy.digest, policy.rollout.candidate.digest)
    assert set(rows(gateway, columns)) == {
        ("canary", "control", 0.75, "now", *digests, None),
        ("canary", "candidate", 0.25, "next", *digests, None),
    }


def test_an_ensemble_that_answered_is_a_success_of_its_arm(tmp_path: Path) -> None:
    policy_with(tmp_path, "mode: full")
    rule = "rules: [{ name: all, ensemble: { members: [small, large], combine: first, quorum: 1 } }]\n"
    (tmp_path / "next.yaml").write_text(
        "routewright: 1\nname: next\ncatalog: catalog.yaml\nfeatures: { hard: { type: boolean } }\n" + rule
    )
    policy = load_policy(tmp_path / "policy.yaml")
    with ModelGateway(policy, ledger=new_ledger(tmp_path / "ledger.duckdb")) as gateway:
        ran = gateway.run_sync(Task(), HELLO)
        assert ran.execution is not None and ran.execution.answer is not None and gateway.ledger is not None
        found = gateway.ledger.query("SELECT arm, answered, success_share FROM all_rollout_arms").rows
    assert found == (("candidate", 1, 1.0),)


def test_full_sends_every_task_to_the_candidate(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: full") as gateway:
        assert gateway.run_sync(HARD, HELLO).decision.target == "large"
        assert gateway.run_sync(Task(), HELLO).decision.policy.name == "next"
    assert set(rows(gateway, "mode, arm, arm_probability, policy_name")) == {
        ("exploit", "candidate", 1.0, "next")
    }


def test_an_arm_can_be_looked_at_and_only_a_picked_one_is_executed(tmp_path: Path) -> None:
    """What was asked for would be stored with a probability that it did not have."""
    with gateway_with(tmp_path, "mode: canary, percent: 50%") as gateway:
        for arm, target in (("control", "small"), ("candidate", "large")):
            decided = gateway.decide(HARD, arm=arm)  # type: ignore[arg-type]  # mypy widens the tuple
            assert decided.decision.target == target
            with pytest.raises(TaskError, match=f"of the {arm} under `canary` that was not picked"):
                asyncio.run(gateway.execute(decided, HELLO))


def test_without_a_rollout_there_is_no_arm_to_ask_for(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "mode: full").rollout
    assert policy is not None and policy.candidate is not None
    with ModelGateway(policy.candidate) as gateway, pytest.raises(TaskError, match="has no rollout"):
        gateway.decide(HARD, arm="candidate")


@pytest.mark.parametrize("mode", ["mode: shadow", "mode: canary, percent: 50%", "mode: full"])
def test_a_feature_that_one_arm_declares_is_no_mistake_in_the_other(tmp_path: Path, mode: str) -> None:
    with gateway_with(tmp_path, mode) as gateway:
        for _ in range(8):
            decided = gateway.decide(Task({"fresh": True, "team": "a"}))
            ignored = dict(decided.decision.ignored)
            assert ignored == (
                {"fresh": True} if decided.decision.policy is gateway.policy else {"team": "a"}
            )
        with pytest.raises(FeatureError, match="unknown feature `mood`"):
            gateway.decide(Task({"mood": "good"}))
        assert gateway.decide(Task({"mood": "good"}), strict=False).decision.ignored == {"mood": "good"}


def test_the_same_random_gives_the_same_arms_and_ids(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "mode: canary, percent: 50%")
    first, second = (
        [
            ModelGateway(policy, random=random, clock=lambda: AT_US).decide(HARD).decision
            for random in [Random(n)] * 1
        ]
        for n in (3, 3)
    )
    assert [(one.id, one.arm) for one in first] == [(one.id, one.arm) for one in second]


def test_a_state_that_is_given_counts_in_both_arms(tmp_path: Path) -> None:
    from routewright import ModelState

    state = State(AT_US, models={"large": ModelState(health="unhealthy")})
    with gateway_with(tmp_path, "mode: shadow") as gateway:
        decided = gateway.decide(HARD, state=state)
        assert decided.shadow is not None and decided.shadow.decision.outcome == "no_target"


# --- what both share ---------------------------------------------------------------------------------------


def test_a_quota_is_one_for_both_arms(tmp_path: Path) -> None:
    """Usage counts belong to a control's name: three a day are three, not three for each arm."""
    with gateway_with(tmp_path, "mode: canary, percent: 50%") as gateway:
        ran = [gateway.run_sync(HARD, HELLO) for _ in range(12)]
        arms = [one.decision.arm and one.decision.arm.name for one in ran[:3]]
        assert set(arms) == {"control", "candidate"}, "otherwise this tests nothing"
        answered = [one.execution is not None and one.execution.answer is not None for one in ran]
        assert answered == [True] * 3 + [False] * 9
        assert len(calls(gateway.backends)) == 3
        assert [(one.limit.control, one.use.taken) for one in gateway.admin.quotas()] == [("calls", 3)]


def test_a_breaker_is_one_for_both_arms(tmp_path: Path) -> None:
    faults: dict[str, list[Fault]] = {"large": ["unauthorized"]}
    policy = policy_with(tmp_path, "mode: full")
    with gateway_with(tmp_path, "mode: full", backends=simulated_backends(policy, faults=faults)) as gateway:
        gateway.run_sync(HARD, HELLO)
    with gateway_with(tmp_path, "mode: canary, percent: 0%") as gateway:
        assert set(gateway.admin.breakers()) == {"large"}
        decision = gateway.decide(Task(pin="large")).decision
        assert decision.policy.name == "now"
        assert "breaker_open_last" in decision.candidates[0].marks, "called only as nothing else is left"


def test_a_backend_is_shared_where_both_catalogs_declare_it_alike(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: full") as gateway:
        gateway.run_sync(HARD, HELLO)
        assert calls(gateway.backends) == ["large"]
        assert sorted(gateway.admin.declared()[0]) == ["away", "here"]
        assert sorted(asyncio.run(gateway.admin.check_health())) == ["away", "here"]


def test_a_backend_that_is_declared_otherwise_is_the_candidates_own(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "mode: full", catalog="other.yaml")
    assert policy.rollout is not None and policy.rollout.candidate is not None
    candidate = policy.rollout.candidate
    own = {"away": simulated_backends(candidate)["away"]}
    more: dict[str, Any] = {"backends": simulated_backends(policy), "candidate_backends": own}
    with gateway_with(tmp_path, "mode: full", catalog="other.yaml", **more) as gateway:
        ran = gateway.run_sync(HARD, HELLO)
        gateway.run_sync(Task(draw=0.1), HELLO)
        assert (calls(own), calls(gateway.backends)) == (["large"], ["small"])
        assert ran.execution is not None
        reports = asyncio.run(gateway.admin.check_health())
        assert sorted(reports) == ["away", "away (candidate)", "here"]
        kinds, models = gateway.admin.declared()
        assert sorted(kinds) == sorted(reports)
        assert sorted(models) == ["large", "small"]


def test_a_canary_that_was_taken_back_needs_nothing_of_the_candidates(tmp_path: Path) -> None:
    policy_with(tmp_path, "mode: canary, percent: 0%", catalog="other.yaml")
    keyed = OTHER.replace('models.example"', 'models.example", api_key: "${KEY_THAT_IS_GONE}"')
    (tmp_path / "other.yaml").write_text(keyed)
    policy = load_policy(tmp_path / "policy.yaml")
    assert open_candidate(policy) == {}
    store = StateStore(tmp_path / "state.db")
    with ModelGateway(policy, backends=simulated_backends(policy), store=store) as gateway:
        ran = gateway.run_sync(HARD, HELLO)
        assert ran.decision.arm is not None and ran.decision.arm.name == "control"
        assert ran.execution is not None and ran.execution.answer is not None


def test_a_backend_of_the_candidates_own_that_is_not_given_is_told(tmp_path: Path) -> None:
    policy = policy_with(tmp_path, "mode: full", catalog="other.yaml")
    with ModelGateway(policy, backends=simulated_backends(policy)) as gateway:
        assert gateway.decide(HARD).decision.target == "large"
        with pytest.raises(TaskError, match="backend `away` of the rollout's candidate is not given"):
            gateway.run_sync(HARD, HELLO)
    assert set(open_candidate(policy)) == {"away"}


def test_the_models_that_are_available_are_those_of_the_policy_in_force(tmp_path: Path) -> None:
    wider = CATALOG + "  huge: { backend: away, capabilities: [tools] }\n"
    for mode, found in (("mode: shadow", []), ("mode: canary, percent: 50%", []), ("mode: full", ["huge"])):
        policy_with(tmp_path, mode, catalog="wider.yaml".replace("wider", "catalog"))
        (tmp_path / "wider.yaml").write_text(wider)
        (tmp_path / "next.yaml").write_text(
            NEXT.replace("CATALOG", "wider.yaml").replace(", enum: [a, b]", "")
        )
        with ModelGateway(load_policy(tmp_path / "policy.yaml")) as gateway:
            assert gateway.available_models("tools") == found


# --- the ledger --------------------------------------------------------------------------------------------


def test_a_decision_of_either_arm_is_explained_from_the_ledger_alone(tmp_path: Path) -> None:
    with gateway_with(tmp_path, "mode: canary, percent: 50%") as gateway:
        for _ in range(8):
            gateway.run_sync(HARD, HELLO)
    with gateway_with(tmp_path, "mode: shadow") as gateway:
        gateway.run_sync(HARD, HELLO)
    ledger = gateway.ledger
    assert ledger is not None
    texts = {
        (kind, digest): text
        for kind, digest, text in ledger.query("SELECT kind, digest, text FROM policies").rows
    }
    ids = ledger.query("SELECT decision_id::VARCHAR FROM decision_records").rows
    records = [ledger.find(id).record for (id,) in ids]
    assert {record.arm and (record.arm.mode, record.arm.arm) for record in records} == {
        ("canary", "control"),
        ("canary", "candidate"),
        ("shadow", "control"),
        ("shadow", "candidate"),
    }
    for record in records:
        policy = compile_policy(
            read_policy(texts["policy", record.policy.digest], "policy.yaml"),
            read_catalog(texts["catalog", record.catalog.digest], "catalog.yaml"),
        )
        assert explain(policy, record).record == record
