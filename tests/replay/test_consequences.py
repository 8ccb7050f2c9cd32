"""What would have come of it: measured values where nothing changes, estimates where chance was logged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.decision_strategies import compiled, policies, states, tasks
from support.executed_ledgers import Executed, attempt_of, executed_ledger
from support.sizes import EXAMPLES

from routewright.engine.decision.arms import pick_arm
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import ModelState, State, Task
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.attempt import Attempt
from routewright.gateway.deciding import uuid7
from routewright.ledger import Ledger, ReplayReport
from routewright.ledger.replay import replaying
from routewright.ledger.replay.class_query import NotDecidableInSql
from routewright.ledger.replay.consequences import Consequence
from routewright.ledger.replay.redeciding import Facts, draw_of, redecide

AT_US = 1_767_225_600_000_000

HEAD = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models: { small: { backend: ollama }, large: { backend: ollama } }
features:
  hard: { type: boolean, default: false }
  team: { type: string }
rules:
"""


def compiled_text(text: str, candidate: CompiledPolicy | None = None) -> CompiledPolicy:
    return compile_policy(read_policy(text, "p.yaml"), candidate=candidate)


def of(report: ReplayReport, name: str) -> Consequence:
    [found] = [one for one in report.consequences.metrics if one.name == name]
    return found


# -- what stays ------------------------------------------------------------------------------------------------


@st.composite
def _attempts(draw: st.DrawFn) -> tuple[list[Attempt], int | None]:
    made = [
        attempt_of(
            number,
            "small",
            cost_nano=cost,
            currency=draw(st.sampled_from(["USD", "EUR"])) if cost is not None else None,
            status=draw(st.sampled_from(["ok", "ok", "failed", "lost"])),
            started_at_us=AT_US + number,
            total_us=draw(st.integers(0, 10**7)),
        )
        for number in range(1, draw(st.integers(0, 3)) + 1)
        for cost in [draw(st.none() | st.integers(0, 10**12))]
    ]
    return made, draw(st.sampled_from([None, *(one.number for one in made if one.status == "ok")]))


def _chances(decision: Decision) -> object:
    """What is called in any case, and what may be the target how likely."""
    plan, models = decision.plan, decision.policy.catalog.models
    if plan is None:
        return decision.outcome
    ensemble = plan.ensemble
    beside = None if ensemble is None else (ensemble.members, ensemble.judge)
    drawn = {models[one.model].id: one.probability for one in decision.candidates if one.probability}
    return drawn, [(step.role, models[step.model].id) for step in plan.steps], beside


@given(
    recorded=policies(),
    candidate=policies(),
    many=st.lists(st.tuples(tasks(), states(), _attempts()), min_size=1, max_size=10),
    seed=st.integers(0, 2**32),
)
@settings(
    max_examples=max(3, EXAMPLES // 12),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_what_stays_has_the_sums_of_the_view(
    tmp_path_factory: pytest.TempPathFactory,
    recorded: dict[str, Any],
    candidate: dict[str, Any],
    many: list[tuple[Task, State, tuple[list[Attempt], int | None]]],
    seed: int,
) -> None:
    random, policy, other = Random(seed), compiled(recorded), compiled(candidate)
    facts = Facts(frozenset(policy.slots), frozenset(model.id for model in policy.catalog.models))
    executed, kept = [], list[str]()
    for task, state, (attempts, answered) in many:
        decision = decide(policy, task, state, decision_id=uuid7(state.at_us, random), strict=False)
        ran = decision.plan is not None
        executed.append(Executed(decision, attempts if ran else (), answered if ran else None))
        after = redecide(other, task, state, facts, decision_id=decision.id).decision
        if after is not None and _chances(decision) == _chances(after):
            kept.append(decision.id)
    ledger = executed_ledger(tmp_path_factory.mktemp("stay") / "l.duckdb", executed, [policy])
    for one in ledger.replay(other).consequences.metrics:
        column = f"known_cost_{one.unit.lower()}" if one.kind == "cost" and one.unit else None
        value = {"success": "answered::INTEGER", "latency": "latency_ms"}.get(one.name, column)
        known = "unknown_cost_calls = 0" if one.kind == "cost" else "true"
        [(decisions, ran, total)] = ledger.query(
            f"""
            SELECT count(*), count(*) FILTER ((executed OR outcome <> 'routed') AND {known}),
                sum({value}) FILTER ((executed OR outcome <> 'routed') AND {known})
            FROM decisions_flat WHERE list_contains($kept, decision_id)
            """,
            {"kept": kept},
        ).rows
        assert one.kept.decisions == decisions == len(kept)
        if one.kind == "latency":
            assert one.kept.total == pytest.approx(total)
        else:
            assert (one.kept.decisions - one.kept.unknown, one.kept.total or 0) == (ran, total or 0)


def test_an_unknown_cost_is_not_nothing_and_no_other_currency(tmp_path: Path) -> None:
    policy, random = compiled_text(SMALL), Random(9)
    paid = [(10**9, "USD"), (2 * 10**9, "EUR"), (None, None)]
    calls = [[paid[0]], [paid[1]], [paid[0], paid[2]]]
    log = [
        Executed(
            decide(policy, Task({}), State(AT_US), decision_id=uuid7(AT_US, random)),
            [
                attempt_of(at, "small", cost_nano=nano, currency=code)
                for at, (nano, code) in enumerate(one, 1)
            ],
            len(one),
        )
        for one in calls
    ]
    report = executed_ledger(tmp_path / "l.duckdb", log, [policy]).replay(policy)
    costs = {one.unit: one.kept for one in report.consequences.metrics if one.kind == "cost"}
    assert {code: (one.decisions, one.unknown, one.total) for code, one in costs.items()} == {
        "USD": (3, 1, Decimal(1)),
        "EUR": (3, 1, Decimal(2)),
    }


@pytest.mark.parametrize("by_classes", [True, False])
def test_another_model_behind_a_name_is_not_the_recorded_one(
    by_classes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, random = f"{HEAD}  - {{ name: all, use: [large, small] }}\n", Random(9)
    policy, log = compiled_text(text), list[Executed]()
    for health in ("healthy", "unhealthy", "healthy"):
        state = State(AT_US, models={"large": ModelState(health)})
        decision = decide(policy, Task({}), state, decision_id=uuid7(AT_US, random))
        log.append(Executed(decision, [attempt_of(1, decision.target or "", cost_nano=10**9)], 1))
    ledger = executed_ledger(tmp_path / "l.duckdb", log, [policy])
    if not by_classes:
        monkeypatch.setattr(replaying, "class_rows", _none)
    large = "large: { backend: ollama"
    for other in (f"{large}, tag: 'newer:8b'", f"{large}2"):
        candidate = compiled_text(
            text.replace(
                "backends: {", "backends: { ollama2: { kind: ollama, host: 'http://10.0.0.9' },"
            ).replace(large, other)
        )
        [missing] = ledger.replay(candidate).not_decided
        assert (missing.reason, missing.rows) == ("state_missing", 3)
        up = ledger.replay(candidate, assume=["large=up"])
        # They go to the same name, and nothing that was measured of the other model stands.
        assert (up.decided, up.elsewhere, of(up, "cost").kept.decisions) == (3, 1, 0)
    assert not any("prices" in note for note in ledger.replay(policy).notes)
    priced = compiled_text(text.replace(large, f"{large}, price: {{ input: 1, output: 2 }}"))
    assert any(note.endswith("other prices of large") for note in ledger.replay(priced).notes)
    renamed = text.replace("{ ollama:", "{ o2:").replace("backend: ollama", "backend: o2, context_length: 99")
    same = ledger.replay(compiled_text(renamed))
    assert (same.decided, same.elsewhere, of(same, "cost").kept.decisions) == (3, 0, 3)


def test_a_cost_that_is_the_least_that_it_can_be_is_told(tmp_path: Path) -> None:
    policy, random = compiled_text(SMALL), Random(9)
    log = [
        Executed(
            decide(policy, Task({}), State(AT_US), decision_id=uuid7(AT_US, random)),
            [
                attempt_of(1, "small", cost_nano=10**9, cost_source=source),
                attempt_of(2, "small", cost_nano=nano, role="retry"),
            ],
            2,
        )
        for source, nano in [("reported", 0), ("lower_bound", 0), ("lower_bound", None)]
    ]
    report = executed_ledger(tmp_path / "l.duckdb", log, [policy]).replay(policy)
    assert (of(report, "cost").kept.total, of(report, "cost").kept.unknown) == (Decimal(2), 1)
    [note] = [one for one in report.notes if "cost more" in one]
    assert note.startswith("1 decision may have cost more")


# -- what was left to chance -----------------------------------------------------------------------------------

SMALL = f"{HEAD}  - {{ name: all, use: [small] }}\n"
LARGE = f"{HEAD}  - {{ name: all, use: [large] }}\n"
HARD_LARGE = f"{HEAD}  - {{ name: hard, when: hard, use: [large] }}\n  - {{ name: rest, use: [small] }}\n"
SPLIT = f"""{HEAD}\
  - {{ name: hard, when: hard, use: [small, large], choose: split, split: {{ weights: {{ small: 3, large: 1 }} }} }}
  - {{ name: rest, use: [small] }}
"""
HARD_NOWHERE = HARD_LARGE.replace(
    "rules:", "constraints: [{ name: c, when: hard, require: false }]\nrules:"
).replace("use: [small]", "use: [large]")
COSTS = {"small": 10**9, "large": 3 * 10**9}


def _executed(
    policy: CompiledPolicy,
    rows: int,
    random: Random,
    *,
    candidate: CompiledPolicy | None = None,
    strict: bool = True,
    known: Mapping[str, ModelState] = {},  # noqa: B006  # never changed
) -> Iterator[Executed]:
    """Every second task is hard, and each costs what its model does. With a candidate it is a canary."""
    for number in range(rows):
        task = Task({"hard": number % 2 == 0, "team": f"team {number % 120}"}, draw=random.random())
        state = State(AT_US + number, models=known)
        arm = pick_arm(policy, task, state, draw=random.random())
        decided_by = (
            candidate if candidate is not None and arm is not None and arm.name == "candidate" else policy
        )
        decision = decide(decided_by, task, state, decision_id=uuid7(AT_US, random), arm=arm, strict=strict)
        target = decision.target or ""
        made = attempt_of(1, target, cost_nano=COSTS[target], started_at_us=AT_US)
        fails = target == "small" and number % 20 == 0
        made = made._replace(status="failed" if fails else "ok")
        yield Executed(decision, [made], None if fails else 1, "exploit" if arm is None else "canary")


@pytest.fixture(scope="module")
def split_ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A log in which the hard half was split."""
    split = compiled_text(SPLIT)
    path = tmp_path_factory.mktemp("split") / "l.duckdb"
    return executed_ledger(path, _executed(split, 1200, Random(3)), [split])


@pytest.fixture(scope="module")
def plain_log() -> list[Executed]:
    """Decisions in which nothing was left to chance, and for which nothing was drawn."""
    log = list(_executed(compiled_text(SMALL), 400, Random(8)))
    return [
        replace(one, decision=replace(one.decision, task=replace(one.decision.task, draw=None)))
        for one in log
    ]


@pytest.fixture(scope="module")
def plain_ledger(plain_log: list[Executed], tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return executed_ledger(tmp_path_factory.mktemp("plain") / "l.duckdb", plain_log, [compiled_text(SMALL)])


def test_a_split_is_estimated_by_its_chances_and_the_rest_is_measured(split_ledger: Ledger) -> None:
    report = split_ledger.replay(compiled_text(HARD_LARGE))
    found = of(report, "cost")
    assert (found.before.decisions, found.kept.decisions, found.kept.total) == (1200, 600, Decimal(600))
    assert found.after.verdict == "identified"
    assert found.after.value == pytest.approx(2)
    assert found.after_estimated is not None
    assert found.after_estimated.value == pytest.approx(3)
    assert found.after_estimated.decisions == 600
    assert found.after_estimated.mean_weight == pytest.approx(1, abs=0.2)
    assert found.relative_change is not None and found.relative_change > 0
    # All to the large model can be known of the hard half alone, and so no mix at the candidate's cost.
    cheapest, best = report.consequences.baselines
    assert report.consequences.compared == ("cost in USD", "success")
    assert [one.name for one in (cheapest, best)] == ["cheapest", "best"]
    assert cheapest.shares == (("small", 1.0),)
    assert cheapest.estimates[0].all.value == pytest.approx(1)
    assert cheapest.estimates[0].all.verdict == "identified"
    assert best.estimates[0].all.without_support == pytest.approx(0.5)


def test_where_no_target_is_left_nothing_is_too_few(tmp_path: Path) -> None:
    policy = compiled_text(SMALL)
    ledger = executed_ledger(tmp_path / "l.duckdb", _executed(policy, 20, Random(5)), [policy])
    report = ledger.replay(None, assume=["small=down"])
    assert (report.decided, report.dead_ends_after) == (20, 20)
    cost, latency, success = (of(report, name).after for name in ("cost", "latency", "success"))
    assert (cost.verdict, cost.value, success.verdict, success.value) == ("identified", 0, "identified", 0)
    assert (latency.verdict, latency.value) == ("not identified", None)
    assert {one.reason for one in (cost, latency, success)} == {"no decision would have a target"}
    assert [one.failed for one in report.judge("cost>+10%", "success<-1%")] == [False, True]


def test_what_is_known_of_dead_ends_alone_is_no_estimate_of_the_rest(plain_ledger: Ledger) -> None:
    report = plain_ledger.replay(compiled_text(HARD_NOWHERE))
    assert (report.decided, report.dead_ends_after) == (400, 200)
    for name in ("cost", "success"):
        found = of(report, name).after
        assert (found.verdict, found.value, found.change) == ("not identified", None, None)
        assert found.reason == "nothing is known but of the 200 that would have no target"
    assert of(report, "success").after.bounds is not None


def test_the_same_split_again_has_what_was_measured(split_ledger: Ledger) -> None:
    found = of(split_ledger.replay(compiled_text(SPLIT)), "cost")
    assert found.kept == found.before
    assert (found.after.value, found.after.verdict) == (found.before.mean, "identified")


def test_a_split_draws_anew_for_tasks_that_were_decided_without_a_draw(
    plain_ledger: Ledger, plain_log: list[Executed]
) -> None:
    report = plain_ledger.replay(compiled_text(SPLIT), consequences=False)
    assert report.decided == 400
    # One in four of the half that is hard.
    assert report.elsewhere == pytest.approx(50, abs=20)
    assert report.elsewhere == sum(
        draw_of(one.decision.id) >= 0.75 for one in plain_log if one.decision.task.features["hard"]
    )


@pytest.mark.parametrize("key", [None, "team"])
def test_under_a_canary_a_model_has_its_chance_in_both_arms(key: str | None, tmp_path: Path) -> None:
    candidate = compiled_text(HARD_LARGE)
    rollout = (
        f"rollout: {{ candidate: c.yaml, mode: canary, percent: 25%{f', key: {key}' if key else ''} }}\n"
    )
    control = compiled_text(SMALL + rollout, candidate)
    log = list(_executed(control, 1200, Random(5), candidate=candidate))
    ledger = executed_ledger(tmp_path / "l.duckdb", log, [control, candidate])
    found = of(ledger.replay(candidate), "cost")
    # What is not hard goes to one model in both arms: nothing was left to chance there.
    assert (found.kept.decisions, found.kept.total) == (600, Decimal(600))
    assert found.after_estimated is not None
    assert found.after_estimated.value == pytest.approx(3)
    assert found.after_estimated.units == (600 if key is None else 60)
    assert found.after_estimated.mean_weight == pytest.approx(1, abs=0.2 if key is None else 0.5)
    assert found.after.verdict == ("identified" if key is None else "too few")


@pytest.mark.parametrize("health", [None, "unhealthy"])
def test_a_canary_tries_a_model_that_the_control_does_not_have(health: Any, tmp_path: Path) -> None:
    """What its candidate knew of it goes for the control's tasks too; before the canary nobody knew anything."""
    of_control = SMALL.replace(", large: { backend: ollama }", "")
    assert of_control != SMALL
    candidate = compiled_text(HARD_LARGE.replace("[large]", "[large, small]"))
    rollout = "rollout: { candidate: c.yaml, mode: canary, percent: 25% }\n"
    control, before = compiled_text(of_control + rollout, candidate), compiled_text(of_control)
    known = {"large": ModelState(health)} if health else {}
    log = list(_executed(control, 1200, Random(5), candidate=candidate, known=known))
    earlier = list(_executed(before, 100, Random(6)))
    ledger = executed_ledger(tmp_path / "l.duckdb", [*earlier, *log], [before, control, candidate])
    report = ledger.replay(candidate)
    # Half of what was decided before the canary is hard, and would go to the new model.
    assert [(one.reason, one.rows) for one in report.not_decided] == [("state_missing", 50)]
    found = of(report, "cost")
    if health == "unhealthy":
        assert report.elsewhere == 0
    else:
        assert (found.after.verdict, found.kept.decisions) == ("identified", 650)
        assert found.after_estimated is not None
        assert found.after_estimated.value == pytest.approx(3)
        assert found.after_estimated.mean_weight == pytest.approx(1, abs=0.2)


def test_the_arm_of_a_canary_is_given_where_each_decision_is_made_again_by_its_own_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = compiled_text(HARD_LARGE)
    rollout = "rollout: { candidate: c.yaml, mode: canary, percent: 50% }\n"
    control = compiled_text(SMALL + rollout, candidate)
    log = list(_executed(control, 200, Random(5), candidate=candidate))
    ledger = executed_ledger(tmp_path / "l.duckdb", log, [control, candidate])
    to_large = sum(one.decision.target == "large" for one in log)
    for _ in ("by classes", "one by one"):
        same = of(ledger.replay(None, assume=["load=50%"]), "cost")
        assert (same.kept.decisions, same.kept.total) == (200, 200 + 2 * to_large)
        assert (same.after.verdict, same.after.change) == ("identified", 0)
        # What went to the large model goes to one that its arm never tried.
        down = ledger.replay(None, assume=["large=down"])
        assert down.elsewhere == to_large
        assert of(down, "cost").kept.decisions == 200 - to_large
        monkeypatch.setattr(replaying, "class_rows", _none)


def _none(*_: object, **__: object) -> None:
    raise NotDecidableInSql


@pytest.mark.parametrize("key", ["team", "hard"])
@pytest.mark.parametrize("declares", ["team", "other"])
def test_a_canary_comes_to_the_same_by_classes_and_one_by_one(
    key: str, declares: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = compiled_text(HARD_LARGE.replace("team:", f"{declares}:"))
    rollout = f"rollout: {{ candidate: c.yaml, mode: canary, percent: 50%, key: {key}, salt: s }}\n"
    control = compiled_text(SMALL + rollout, candidate)
    log = list(_executed(control, 120, Random(5), candidate=candidate, strict=False))
    ledger = executed_ledger(tmp_path / "l.duckdb", log, [control, candidate])
    by_classes = ledger.replay(candidate).consequences
    monkeypatch.setattr(replaying, "class_rows", _none)
    assert ledger.replay(candidate).consequences == by_classes


@pytest.mark.parametrize(("salt", "is_known"), [("''", False), ("other", True)])
def test_a_split_by_the_canarys_own_bucket_has_no_chances_of_its_own(
    salt: str, is_known: bool, tmp_path: Path
) -> None:
    """With one key and salt, whoever falls to the candidate falls to the split's first model: no product says that."""
    split = f"split: {{ weights: {{ small: 3, large: 1 }}, key: team, salt: {salt} }}"
    candidate = compiled_text(f"{HEAD}  - {{ name: all, use: [small, large], choose: split, {split} }}\n")
    rollout = "rollout: { candidate: c.yaml, mode: canary, percent: 25%, key: team }\n"
    control = compiled_text(SMALL + rollout, candidate)
    log = list(_executed(control, 400, Random(5), candidate=candidate))
    ledger = executed_ledger(tmp_path / "l.duckdb", log, [control, candidate])
    report = ledger.replay(compiled_text(LARGE))
    assert any("key and salt" in note for note in report.notes) is not is_known
    without_support = of(report, "cost").after.without_support
    assert without_support is not None and (without_support == 1) is not is_known


def test_without_the_other_arms_text_nobody_knows_what_was_how_likely(tmp_path: Path) -> None:
    candidate = compiled_text(HARD_LARGE)
    control = compiled_text(
        f"{SMALL}rollout: {{ candidate: c.yaml, mode: canary, percent: 50% }}\n", candidate
    )
    log = list(_executed(control, 400, Random(6), candidate=candidate))
    report = executed_ledger(tmp_path / "l.duckdb", log).replay(candidate)
    assert of(report, "cost").kept.decisions == 0
    assert any("canary" in note for note in report.notes)


def test_a_log_without_chance_identifies_nothing_that_changes(plain_ledger: Ledger) -> None:
    cost = of(plain_ledger.replay(compiled_text(LARGE)), "cost")
    assert (cost.after.verdict, cost.after.value, cost.after.without_support) == ("not identified", None, 1)
    half = of(plain_ledger.replay(compiled_text(HARD_LARGE)), "cost")
    assert (half.after.verdict, half.after.value) == ("partially identified", 1)
    assert (half.kept_share, half.after.without_support) == (0.5, 0.5)
