"""From a decision to its work: nothing is in the work that the plan does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routewright import ModelGateway, RequestFacts, Task, load_policy
from routewright.loading import load_samples, shipped
from routewright.planning import work_of
from routewright.tasks import task_from

HYBRID = load_policy(shipped("hybrid.yaml"))
SAMPLES = [task_from(sample) for sample in load_samples(shipped("samples.yaml")).tasks]
BOOLEANS = [feature.name for feature in HYBRID.features if str(feature.declaration.type) == "boolean"]


def planned(task: Task) -> tuple[set[str], set[str]] | None:
    """The ids of the models in the plan, and of those in the work."""
    decision = ModelGateway(HYBRID).decide(task).decision
    plan, work = decision.plan, work_of(decision)
    if plan is None:
        assert work is None
        return None
    assert work is not None
    indices = {plan.target, *plan.fallbacks, *(step.model for step in plan.steps)}
    if plan.ensemble is not None:
        indices |= {*plan.ensemble.members, *([] if plan.ensemble.judge is None else [plan.ensemble.judge])}
    models = HYBRID.catalog.models
    return {models[index].id for index in indices}, {target.model_id for target in work.every_target()}


@pytest.mark.parametrize("task", SAMPLES)
def test_the_work_of_each_sample_holds_the_models_of_its_plan(task: Task) -> None:
    found = planned(task)
    assert found is not None
    assert found[1] == found[0]


@given(
    st.dictionaries(st.sampled_from(BOOLEANS), st.booleans()),
    st.one_of(st.none(), st.integers(0, 300_000)),
    st.sampled_from(["chat", "embed", "rerank"]),
)
def test_nothing_is_in_the_work_that_the_plan_does_not_hold(
    features: dict[str, object], prompt_tokens: int | None, operation: str
) -> None:
    task = Task(features, operation, RequestFacts(prompt_tokens=prompt_tokens))  # type: ignore[arg-type]  # drawn from a list
    found = planned(task)
    if found is not None:
        assert found[1] == found[0]
        if features.get("privacy_required"):
            assert {HYBRID.catalog.find(id).backend for id in found[1]} == {"mlx"}  # type: ignore[union-attr]  # ids of this catalog


def test_a_reserve_is_held_back_from_work_that_is_not_for_it(tmp_path: Path) -> None:
    limits = []
    for complexity in (0.5, 0.9):
        decision = ModelGateway(HYBRID).decide(Task({"complex_reasoning": True, "complexity": complexity}))
        work = work_of(decision.decision)
        assert work is not None
        (daily,) = [quota for quota in work.targets[0].quotas if quota.unit == "requests"]
        limits.append(daily.limit)
    assert limits == [800, 1000]
