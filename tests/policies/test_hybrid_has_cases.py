"""Nothing of the hybrid policy is without a case, and the sample tasks can all be routed."""

from __future__ import annotations

from collections.abc import Iterator, Sized

import pytest
from support.shipped import POLICIES, ROOT, hybrid

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.policy.compile.testfile import read_tests
from routewright.engine.policy.shapes.testfile import Case
from routewright.loading import load_samples
from routewright.tasks import task_from

CASES: tuple[Case, ...] = tuple(
    read_tests((POLICIES / "hybrid.test.yaml").read_text(encoding="utf-8"), "hybrid.test.yaml").shape.cases
)

SHOWN_BY_EXECUTING = {"fallback_threshold", "cache_ttl", "retry_attempts"}
"""Controls that change what is executed and not what is decided."""


def _named_values() -> Iterator[tuple[str, object]]:
    """Each feature with each value that a rule, a constraint or a gate may ask for."""
    for name, feature in hybrid().shape.features.items():
        if feature.enum is not None:
            yield from ((name, value) for value in feature.enum if value != "none")
        elif feature.type == "boolean":
            yield name, True


def test_every_rule_has_a_case() -> None:
    assert {rule.name for rule in hybrid().rules} == {case.expect.rule for case in CASES} - {None}


def test_every_name_a_feature_can_take_has_a_case() -> None:
    given = {(name, value) for case in CASES for name, value in case.task.features.items()}
    # What a feature defaults to is shown by the cases that do not give it.
    defaults = {(name, feature.default) for name, feature in hybrid().shape.features.items()}
    assert {pair for pair in _named_values() if pair not in given} <= defaults


def test_every_chain_has_a_case_that_shows_it() -> None:
    chains = {rule.name: rule.fallback for rule in hybrid().shape.rules if isinstance(rule.fallback, str)}
    shown = {chains.get(case.expect.rule or "") for case in CASES if case.expect.fallbacks is not None}
    assert set(hybrid().shape.chains) <= shown


def test_every_constraint_and_quota_has_a_case() -> None:
    quotas = {quota.name for quota in hybrid().quotas}
    assert quotas == {name for case in CASES for name in case.state.quota_used}
    others = {control.name for control in hybrid().shape.controls} - quotas
    named = {name for name in others for case in CASES if name in case.name}
    assert others - named == SHOWN_BY_EXECUTING
    excluded = {gate for case in CASES for gate in (case.expect.excluded or {}).values()}
    assert excluded >= {"constraint", "operation", "capability", "embedding_space", "context_window"}
    assert excluded >= {"disabled", "health", "breaker", "quota"}


@pytest.mark.parametrize("without", [(), ("privacy_mode", "private_embedding")], ids=["whole", "no rule"])
@pytest.mark.parametrize("private", ["privacy_required", "local_only"])
def test_private_work_stays_on_mlx_whatever_else_is_asked(private: str, without: tuple[str, ...]) -> None:
    policy = hybrid(*without)
    for case in CASES:
        plan = decide(policy, _private_task(case, private), State(0), decision_id="").plan
        if plan is None:
            continue
        models = {plan.target, *plan.fallbacks, *(step.model for step in plan.steps)}
        models |= set(plan.ensemble.members) if plan.ensemble is not None else set()
        assert {policy.catalog.models[index].backend for index in models} == {"mlx"}, case.name


def test_private_work_finds_a_model_where_mlx_has_one() -> None:
    window = max(m.context_length or 0 for m in hybrid().catalog.models if m.backend == "mlx")
    for case in CASES:
        fits = (case.task.prompt_tokens or 0) <= window
        if fits and case.task.pin is None and case.expect.outcome != "no_target":
            task = _private_task(case, "privacy_required")
            assert decide(hybrid(), task, State(0), decision_id="").outcome == "routed", case.name


def test_private_complex_work_stays_on_mlx_without_the_privacy_rule() -> None:
    policy = hybrid("privacy_mode", "private_embedding")
    task = Task({"complex_reasoning": True, "privacy_required": True})
    decision = decide(policy, task, State(0), decision_id="")
    assert (decision.matched, decision.target) == ("mixture_of_experts_tasks", "qwen3-coder-30b")
    pinned = Task(task.features, pin="kimi-k2-cloud")
    assert decide(policy, pinned, State(0), decision_id="").outcome == "no_target"


def _private_task(case: Case, private: str) -> Task:
    task = case.task
    request = RequestFacts(prompt_tokens=task.prompt_tokens, images=task.images, tools=task.tools)
    return Task({**task.features, private: True}, task.operation, request, task.pin, task.draw)


def test_the_page_counts_what_is_shipped() -> None:
    shape, catalog = hybrid().shape, hybrid().catalog
    page = (ROOT / "docs" / "hybrid.md").read_text(encoding="utf-8")
    assert f"{len(catalog.backends)} backends and {len(catalog.models)} models" in page
    counted: dict[str, Sized] = {
        "rules": shape.rules,
        "constraints": shape.constraints,
        "chains": shape.chains,
        "controls": shape.controls,
        "assertions": shape.assertions,
        "cases": CASES,
    }
    assert [name for name, items in counted.items() if f"{len(items)} {name}" not in page] == []


def test_sample_tasks_are_routed() -> None:
    samples = load_samples(POLICIES / "samples.yaml").tasks
    rules = []
    for sample in samples:
        decision = decide(hybrid(), task_from(sample), State(0), decision_id="", strict=True)
        assert decision.outcome == "routed", sample.name
        rules.append(decision.matched)
    assert len(set(rules)) == len(rules), "each sample shows another rule"
