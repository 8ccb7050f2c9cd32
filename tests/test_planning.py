"""From a decision to its work: nothing is in the work that the plan does not hold."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.executing_parts import every_target
from support.shipped import hybrid

from routewright import ModelGateway, RequestFacts, Task
from routewright.backends import ChatRequest, Message
from routewright.backends.control.keys import stored_key
from routewright.backends.executing.cache import cache_key
from routewright.engine.decision import ModelState, State
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.gateway.planning import Planner
from routewright.loading import load_samples, shipped
from routewright.tasks import task_from

HYBRID = hybrid()
SAMPLES = [task_from(sample) for sample in load_samples(shipped("samples.yaml")).tasks]
BOOLEANS = [feature.name for feature in HYBRID.features if str(feature.declaration.type) == "boolean"]


def planned(task: Task) -> tuple[set[str], set[str]] | None:
    """The ids of the models in the plan, and of those in the work."""
    decision = ModelGateway(HYBRID).decide(task).decision
    plan, work = decision.plan, Planner(decision.policy).work_of(decision)
    if plan is None:
        assert work is None
        return None
    assert work is not None
    indices = {plan.target, *plan.fallbacks, *(step.model for step in plan.steps)}
    if plan.ensemble is not None:
        indices |= {*plan.ensemble.members, *([] if plan.ensemble.judge is None else [plan.ensemble.judge])}
    models = HYBRID.catalog.models
    return {models[index].id for index in indices}, {target.model_id for target in every_target(work)}


@pytest.mark.parametrize("task", SAMPLES)
def test_the_work_of_each_sample_holds_the_models_of_its_plan(task: Task) -> None:
    found = planned(task)
    assert found is not None
    assert found[1] == found[0]


def test_a_target_says_where_its_model_runs_as_the_engine_judges_it() -> None:
    planner = Planner(HYBRID)
    found: dict[str, tuple[str | None, str | None]] = {}
    for task in SAMPLES:
        work = planner.work_of(ModelGateway(HYBRID).decide(task).decision)
        found |= (
            {} if work is None else {one.model_id: (one.location, one.host) for one in every_target(work)}
        )
    assert found["kimi-k2-cloud"] == ("cloud", "localhost:11434")
    for model in HYBRID.catalog.models:
        assert found.get(model.id, (model.location,))[0] == model.location
    assert {location for location, _ in found.values()} == {"local", "cloud"}


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
        work = Planner(HYBRID).work_of(decision.decision)
        assert work is not None
        (daily,) = [quota for quota in work.targets[0].quotas if quota.unit == "requests"]
        limits.append(daily.limit)
    assert limits == [800, 1000]


TWO = """\
routewright: 1
name: two
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models: { a: { backend: ollama }, b: { backend: ollama } }
features: { team: { type: string } }
rules: [{ name: all, use: [a], fallback: [b] }]
controls: [CONTROLS]
"""
CONTROLS = [
    "",
    "{ name: kept, cache_ttl: 60s }",
    "{ name: daily, on: a, max_requests: 9, per: day }",
]


@pytest.mark.parametrize("controls", CONTROLS)
def test_a_planner_that_has_made_other_work_makes_what_a_new_one_makes(controls: str) -> None:
    policy = compile_policy(read_policy(TWO.replace("CONTROLS", controls), "policy.yaml"))
    gateway, planner = ModelGateway(policy), Planner(policy)
    known = [{}, *({id: ModelState(latency_ms=ms)} for id, ms in (("a", 7.0), ("b", 8.0)))]
    requests = [RequestFacts(prompt_tokens=10), RequestFacts(prompt_tokens=20), RequestFacts()]
    found = []
    for models in known:
        for request in requests:
            for team in ("research", "sales"):
                task = Task({"team": team}, request=request)
                decision = gateway.decide(task, state=State(1, models=models)).decision
                found.append((planner.work_of(decision), Planner(policy).work_of(decision)))
    assert [work for work, _ in found] == [work for _, work in found]
    assert len({repr(work) for work, _ in found}) == (18 if "cache_ttl" in controls else 9)


# --- labels ------------------------------------------------------------------------------------------------

VOTE, OVERRIDE = "combine: vote", "combine: consensus_or_override, override: a"
ENSEMBLE = """\
routewright: 1
name: labels
catalog:
  routewright: 1
  backends: {{ ollama: {{ kind: ollama }} }}
  models:
    a: {{ backend: ollama, tag: "a:1b" }}
    b: {{ backend: ollama, tag: "b:1b" }}
rules:
  - {{ name: all, ensemble: {{ members: [a, b], {combine}, label: '{label}' }} }}
"""


def label_of(text: str, *, label: str = r"(?i)\b(approve|reject)\b", combine: str = VOTE) -> str | None:
    policy = compile_policy(read_policy(ENSEMBLE.format(combine=combine, label=label), "policy.yaml"))
    work = Planner(policy).work_of(ModelGateway(policy).decide(Task()).decision)
    assert work is not None and work.ensemble is not None and work.ensemble.label_of is not None
    return work.ensemble.label_of(text)


@pytest.mark.parametrize("combine", [VOTE, OVERRIDE])
@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("approve", "approve"),
        ("**Reject**", "Reject"),
        ("I reject this", "reject"),
        ("é 日本 approve", "approve"),
        ("Approve. It is right: approve!", "Approve"),
        ("REJECT\n\nI would approve it if the sum were right.", "REJECT"),
        ("\n  reject: the sum is wrong\nto approve it, mend the sum", "reject"),
        ("**Reject**\nI would approve it if the sum were right.", "Reject"),
        ("It is no reject.\n# approve", None),
        ("it depends", None),
        ("We could approve or reject.\nDecision: approve", None),
        ('The text tells me to say "approve". My vote: reject', None),
        ('"approve" is what the text tells me to say.\nSo: reject', None),
        ("approve is what the text tells me to say.\nreject", None),
        ("reject, not approve", None),
        ("It says\napprove\nbut I\nreject", None),
        ("disapprove", None),
    ],
)
def test_an_answer_votes_for_one_label_or_for_none(text: str, label: str | None, combine: str) -> None:
    assert label_of(text, combine=combine) == label


@given(
    st.lists(st.sampled_from(["approve", "Approve\n", "reject", "\n", "**", "> ", '"', " ", "x", ". "])).map(
        "".join
    )
)
def test_what_a_vote_quotes_does_not_turn_it(planted: str) -> None:
    for frame in ("REJECT: it says '{}'", "reject\n{}", "reject\n> {}", "The text says '{}'\nreject"):
        assert (label_of(frame.format(planted)) or "reject").lower() == "reject"


def test_an_answer_of_nothing_but_labels_has_none_and_holds_nobody_up() -> None:
    assert label_of("approve " * 900) == "approve"
    begun = time.process_time()
    assert label_of("a" * 20_000, label=r"(\w)") is None
    assert time.process_time() - begun < 0.1


def test_a_pattern_may_name_the_place_of_the_label() -> None:
    text = "We could approve or reject.\nDecision: approve"
    assert label_of(text, label=r"(?m)^Decision: (\w+)$") == "approve"
    assert label_of("the answer is 42, not 41", label=r"answer is (\d+)") == "42"


TEAMS = """\
routewright: 1
name: p
catalog: { routewright: 1, backends: { m: { kind: simulated } }, models: { a: { backend: m } } }
features:
  team: { type: string, from: request.metadata.team }
  n: { type: integer }
rules: [{ name: r, use: [a] }]
controls:
  - { name: each, for_each: team, max_requests: 5, per: day }
  - { name: kept, cache_ttl: 1h }
"""

odd = st.one_of(
    st.none(),
    st.sampled_from(["", "?", "a", "=", "a\nteam=b", "a\nuser=b", "b", "\0"]),
    st.text(max_size=4),
)
people = st.tuples(odd, odd, odd)


@given(people, people)
@example((None, "a\nuser=b", None), (None, "a", "b"))
@example((None, "?", None), (None, None, None))
@example((None, "", None), (None, None, None))
def test_other_people_never_share_a_count_or_an_answer(
    one: tuple[str | None, ...], other: tuple[str | None, ...]
) -> None:
    policy = load_teams()
    quotas, answers = [], []
    for person in (one, other):
        named = zip(("tenant", "team", "user"), person, strict=True)
        metadata = {name: value for name, value in named if value is not None}
        work = Planner(policy).work_of(
            ModelGateway(policy).decide(Task(request=RequestFacts(metadata=metadata))).decision
        )
        assert work is not None
        (quota,) = work.targets[0].quotas
        quotas.append(stored_key(quota.key))
        answers.append(cache_key(work, work.targets[0], ChatRequest((Message("user", "hello"),)), {}, ""))
    assert None not in answers
    assert (answers[0] == answers[1]) is (one == other)
    assert (quotas[0] == quotas[1]) is (one[1] == other[1])


@cache
def load_teams(cache_by: str = "") -> CompiledPolicy:
    text = TEAMS.replace("cache_ttl: 1h", f"cache_ttl: 1h, cache_by: {cache_by}") if cache_by else TEAMS
    return compile_policy(read_policy(text, "p.yaml"))


@pytest.mark.parametrize(
    ("cache_by", "shared"),
    [
        ("", ["plain"]),
        ("[]", ["plain", "features", "metadata", "team", "team and more"]),
        ("[team]", ["team", "team and more"]),
    ],
)
def test_a_policy_says_whose_answers_may_be_shared(cache_by: str, shared: list[str]) -> None:
    policy = load_teams(cache_by)
    tasks = {
        "plain": Task(),
        "features": Task({"n": 3}),
        "metadata": Task(request=RequestFacts(metadata={"x": "y"})),
        "team": Task(request=RequestFacts(metadata={"team": "red"})),
        "team and more": Task({"n": 3}, request=RequestFacts(metadata={"team": "red", "x": "y"})),
    }
    keys: dict[str, str | None] = {}
    for name, task in tasks.items():
        work = Planner(policy).work_of(ModelGateway(policy).decide(task).decision)
        assert work is not None
        keys[name] = cache_key(work, work.targets[0], ChatRequest((Message("user", "hello"),)), {}, "")
    assert [name for name in tasks if keys[name] is not None and keys[name] == keys[shared[0]]] == shared
    if cache_by == "[team]":
        assert keys["plain"] is None, "whose answer it would be is not known"
