"""Arms of a rollout: who goes where, how exactly, and how a record says it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.decision_strategies import AT_US, FEATURES, compiled
from support.records import record_bytes

from routewright.engine.decision.arms import arm_named, candidate_of, check_declared, pick_arm, shadow_arm
from routewright.engine.decision.choose import bucket_of
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Arm
from routewright.engine.decision.task import State, Task
from routewright.engine.explain.arm_text import arm_line
from routewright.engine.explain.explanation import explain
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of
from routewright.engine.report.errors import FeatureError, RecordError, TaskError

STATE = State(AT_US)


def policy_with(*, features: Any = FEATURES, **rollout: Any) -> CompiledPolicy:
    """A policy that uses `small`, with a candidate that uses `large` and knows ``features``."""
    rest = {"routewright": 1, "catalog": "catalog.yaml"}
    rules = [{"name": "next", "use": ["large"]}]
    candidate = compiled({**rest, "name": "next", "features": features, "rules": rules})
    values = {**rest, "name": "now", "features": FEATURES, "rules": [{"name": "now", "use": ["small"]}]}
    return compiled({**values, "rollout": {"candidate": "next.yaml", **rollout}}, candidate)


def canary(percent: str, **more: Any) -> CompiledPolicy:
    return policy_with(mode="canary", percent=percent, **more)


def picked(policy: CompiledPolicy, task: Task, draw: float | None = None) -> Arm:
    arm = pick_arm(policy, task, STATE, draw=draw)
    assert arm is not None
    return arm


def candidates_among(policy: CompiledPolicy, count: int = 8000) -> set[int]:
    return {n for n in range(count) if picked(policy, Task({"team": f"team {n}"})).name == "candidate"}


def line(policy: CompiledPolicy, arm: Arm | None, task: Task) -> str | None:
    of = candidate_of(policy) if arm is not None and arm.name == "candidate" else policy
    return arm_line(record_of(decide(of, task, STATE, decision_id="d", arm=arm)))


@pytest.mark.parametrize("percent", ["0.5%", "10%", "33.3%", "50%", "99%"])
def test_the_share_of_many_keys_is_what_the_percentage_says(percent: str) -> None:
    count, share = 8000, float(percent.removesuffix("%")) / 100
    found = len(candidates_among(canary(percent, key="team", salt="s"), count))
    # Four standard deviations: the keys are fixed, so this fails always or never.
    assert abs(found - count * share) <= 4 * (count * share * (1 - share)) ** 0.5


def test_a_larger_share_only_moves_keys_from_the_control_to_the_candidate() -> None:
    before: set[int] = set()
    for percent in ("0%", "0.1%", "1%", "10%", "10.5%", "50%", "100%"):
        now = candidates_among(canary(percent, key="team", salt="s"), 2000)
        assert before <= now
        before = now
    assert candidates_among(canary("0%", key="team"), 2000) == set()
    assert candidates_among(canary("100%", key="team"), 2000) == set(range(2000))


def test_another_salt_shuffles_anew() -> None:
    one, other = (candidates_among(canary("20%", key="team", salt=salt)) for salt in ("s", "t"))
    assert one == candidates_among(canary("20%", key="team", salt="s"))
    # Independent halves of a fifth meet in a twenty-fifth.
    assert abs(len(one & other) - 8000 / 25) <= 4 * (8000 / 25) ** 0.5


def test_the_bucket_is_that_of_a_split() -> None:
    arm = picked(canary("30%", key="team", salt="2026"), Task({"team": "infra"}))
    assert arm.point == bucket_of("2026", "infra")
    assert (arm.key, arm.salt, arm.share) == ("team", "2026", 0.3)


@pytest.mark.parametrize(
    ("draw", "name"), [(0.0, "candidate"), (0.25 - 2**-54, "candidate"), (0.25, "control"), (0.9, "control")]
)
def test_without_a_key_a_draw_below_the_share_is_the_candidate(draw: float, name: str) -> None:
    for policy in (canary("25%"), canary("25%", key="team")):
        arm = picked(policy, Task(), draw)
        assert (arm.name, arm.key, arm.point) == (name, None, draw)
        assert arm.probability == (0.25 if name == "candidate" else 0.75)


def test_a_canary_at_random_needs_a_draw_and_one_by_key_none() -> None:
    with pytest.raises(TaskError, match="drawn at random"):
        pick_arm(canary("25%"), Task(draw=0.1), STATE, draw=None)
    assert picked(canary("100%", key="team"), Task({"team": "a"})).name == "candidate"


def test_a_key_is_read_under_the_control_also_where_it_is_derived() -> None:
    from routewright.engine.decision.task import RequestFacts

    policy = canary("50%", key="team", salt="s", features={})
    by_metadata = picked(policy, Task(request=RequestFacts(metadata={"team": "infra"})))
    assert by_metadata.point == bucket_of("s", "infra")


def test_full_and_shadow_draw_nothing() -> None:
    full, shadow = policy_with(mode="full"), policy_with(mode="shadow")
    assert [
        (arm.name, arm.probability, arm.point) for arm in (picked(full, Task()), picked(shadow, Task()))
    ] == [
        ("candidate", 1.0, None),
        ("control", 1.0, None),
    ]
    beside = shadow_arm(shadow)
    assert beside is not None and (beside.name, beside.probability) == ("candidate", 0.0)
    assert shadow_arm(full) is None and shadow_arm(canary("1%")) is None


def test_without_a_rollout_there_are_no_arms() -> None:
    policy = candidate_of(policy_with(mode="full"))
    assert pick_arm(policy, Task(), STATE, draw=None) is None
    assert arm_named(policy, "control") is None and shadow_arm(policy) is None
    assert record_of(decide(policy, Task(), STATE, decision_id="d")).arm is None


def test_a_policy_compiled_alone_explains_and_picks_nothing() -> None:
    policy = policy_with(mode="full")
    assert policy.rollout is not None
    alone = replace(policy, rollout=replace(policy.rollout, candidate=None))
    assert alone.digest == policy.digest
    with pytest.raises(TaskError, match="the candidate of policy `now` is not there"):
        pick_arm(alone, Task(), STATE, draw=None)


def test_the_record_holds_both_policies_and_is_explained_under_that_of_its_arm() -> None:
    policy = policy_with(mode="full")
    candidate = candidate_of(policy)
    decision = decide(candidate, Task(), STATE, decision_id="d", arm=picked(policy, Task()))
    record = read_record(record_bytes(decision))
    assert record.arm is not None
    assert record.arm.control.digest == policy.digest != candidate.digest
    assert record.policy == record.arm.candidate
    assert explain(candidate, record).record == record
    with pytest.raises(RecordError, match="the record was made under the policy"):
        explain(policy, record)


def test_one_line_says_how_a_task_came_to_its_arm() -> None:
    keyed, drawn = canary("10%", key="team", salt="s"), canary("0.5%")
    task = Task({"team": "infra"})
    at = f"{bucket_of('s', 'infra'):.6g}"
    says = "canary: 10% of tasks go to the candidate next.yaml; "
    assert line(keyed, picked(keyed, task), task) == f"{says}team=infra falls at {at}: control"
    assert line(keyed, picked(keyed, Task(), 0.0625), Task()) == f"{says}drawn 0.0625: candidate"
    assert line(keyed, arm_named(keyed, "candidate"), task) == f"{says}candidate, as asked for"
    assert line(drawn, picked(drawn, task, 0.5), task) == (
        "canary: 0.5% of tasks go to the candidate next.yaml; drawn 0.5: control"
    )
    shadow, full = policy_with(mode="shadow"), policy_with(mode="full")
    assert line(shadow, picked(shadow, task), task) == (
        "shadow: the candidate next.yaml is decided beside, not executed"
    )
    assert (
        line(shadow, shadow_arm(shadow), task) == "shadow: decided by the candidate next.yaml, not executed"
    )
    assert line(full, picked(full, task), task) == "full: all tasks go to the candidate next.yaml"
    assert line(full, arm_named(full, "control"), task) == (
        "full: all tasks go to the candidate next.yaml; control, as asked for"
    )


def test_the_value_of_a_key_is_only_told_where_it_is_the_one_that_decided() -> None:
    """The candidate may derive the same feature from elsewhere."""
    other = {"team": {"type": "string", "default": "sales"}}
    policy = canary("100%", key="team", salt="s", features=other)
    decision = decide(
        candidate_of(policy), Task(), STATE, decision_id="d", arm=picked(policy, Task({"team": "infra"}))
    )
    assert f"; team falls at {bucket_of('s', 'infra'):.6g}" in (arm_line(record_of(decision)) or "")


def test_a_feature_may_be_declared_by_either_arm() -> None:
    policy = canary("50%", features={"fresh": {"type": "boolean"}})
    check_declared(policy, Task({"fresh": True, "team": "infra", "count": 99}), STATE)
    with pytest.raises(FeatureError, match="unknown feature `mood`"):
        check_declared(policy, Task({"fresh": True, "mood": "good"}), STATE)


def test_a_canary_that_has_ended_has_another_share_in_its_record() -> None:
    policy = canary("10%", key="team", salt="s")
    for share, name in ((0.0, "control"), (1.0, "candidate")):
        for team in ("a", "b", "c"):
            task = Task({"team": team})
            arm = pick_arm(policy, task, STATE, draw=None, share=share)
            assert arm is not None and (arm.name, arm.share, arm.probability) == (name, share, 1.0)
            assert (line(policy, arm, task) or "").startswith(
                f"canary: {share:.0%} of tasks go to the candidate"
            )
