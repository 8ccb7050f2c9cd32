"""Estimates on small logs: exact values, verdicts, and what must not change them."""

from __future__ import annotations

from dataclasses import replace
from math import inf, sqrt

import numpy as np
import pytest
from support.estimate_worlds import COST, OK, Columns, World, known_world, tables

from routewright.ledger.replay.estimates import (
    Estimate,
    Interval,
    Metric,
    MetricEstimates,
    Relations,
    baselines,
    estimate,
)
from routewright.ledger.replay.estimates.fitting import fit
from routewright.ledger.replay.estimates.intervals import degrees_of
from routewright.ledger.replay.estimates.weighing import weighed


def _one(logged: Columns, target: Columns, metric: Metric = OK, **beside: Columns) -> MetricEstimates:
    with tables(logged=logged, target=target, **beside) as connection:
        [found] = estimate(connection, Relations(**{name: name for name in beside}), [metric])
        left = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary").fetchone()
    assert left == (0,)
    return found


def _log(
    actions: str, propensity: float | None, outcomes: list[float | None], unit: str | None = None
) -> Columns:
    """A row for each letter, which is its action."""
    rows = len(actions)
    return {
        "row": range(rows),
        "unit": [unit] * rows,
        "context": [0] * rows,
        "action": list(actions),
        "propensity": [propensity] * rows,
        "ok": outcomes,
    }


def _to(actions: str) -> Columns:
    return {"row": range(len(actions)), "action": list(actions), "probability": [1.0] * len(actions)}


@pytest.fixture(scope="module")
def world() -> World:
    return known_world(np.random.default_rng(11), units=300)


def test_what_a_deterministic_log_did_is_measured_and_what_it_did_not_is_not_identified() -> None:
    log = _log("aaab" * 50, 1.0, [1.0, 1.0, 0.0, 0.0] * 50)
    found = _one(log, _to("aaaa" * 50))
    assert found.measured is not None and found.estimated is not None
    assert found.measured.verdict == "identified" and found.measured.value == pytest.approx(2 / 3)
    assert (found.estimated.verdict, found.estimated.value) == ("not identified", None)
    assert (found.estimated.bounds, found.estimated.bounds_from) == (Interval(0, 1), "declared range")
    assert found.all.verdict == "partially identified"
    assert found.all.without_support == pytest.approx(0.25)
    assert found.all.value == pytest.approx(2 / 3)
    interval, bounds = found.all.interval, found.all.bounds
    assert interval is not None and bounds is not None
    assert _ends(bounds) == pytest.approx((0.75 * interval.low, 0.75 * interval.high + 0.25))


def test_without_a_declared_range_nothing_bounds_what_has_no_support() -> None:
    found = _one(_log("aaab" * 50, 1.0, [1.0, 3.0, 2.0, 9.0] * 50), _to("aaaa" * 50), Metric("ok", "ok"))
    assert (found.all.verdict, found.all.bounds, found.all.bounds_from) == (
        "partially identified",
        None,
        "none",
    )
    assert found.all.words.endswith("nothing bounds the rest, as the metric has no declared range.")


def test_an_unchanged_policy_changes_nothing_for_certain() -> None:
    found = _one(_log("ab" * 100, 1.0, [1.0, 0.0] * 100), _to("ab" * 100))
    assert (found.all.verdict, found.all.method) == ("identified", "measured")
    assert (found.all.value, found.all.change, found.all.change_interval) == (0.5, 0.0, Interval(0.0, 0.0))
    assert found.all.log_interval == Interval(0.5, 0.5)
    assert found.all.interval is not None and found.all.interval.low < 0.45


def test_a_few_units_that_make_up_most_of_the_errors_count_as_few() -> None:
    assert degrees_of(400.0, 400.0 + 1e-13, 400) == inf  # all of one size
    assert degrees_of(400.0, 3 * 400.0, 400) == 400  # normal
    assert degrees_of(100.0**2 + 399, 100.0**4 + 399, 400) == pytest.approx(2.2, abs=0.1)


def test_of_these_decisions_only_the_draw_is_uncertain() -> None:
    """Of 400 outcomes with the variance 1/4, each seen with the probability 1/2: (1 - p) / p * 1/4 / 400."""
    found = _one(
        _log("ab" * 200, 0.5, [1.0, 1.0, 0.0, 0.0] * 100), _to("a" * 400), Metric("ok", "ok")
    ).all_snips
    low, high = _ends(found.log_interval)
    assert (high - low) / 2 == pytest.approx(1.972 * 0.025 * sqrt(400 / 399), rel=1e-3)
    low, high = _ends(found.interval)
    assert (high - low) / 2 == pytest.approx(1.972 * 0.025 * sqrt(2 * 400 / 399), rel=1e-3)


def test_a_log_without_probabilities_is_measured_where_the_candidate_does_the_same_and_nowhere_else() -> None:
    found = _one(_log("aabb" * 25, None, [1.0, 0.0, 1.0, 1.0] * 25), _to("aaaa" * 25))
    assert found.all.without_support == 0.5
    assert found.estimated is not None and found.estimated.verdict == "not identified"


def test_a_metric_that_was_not_measured_is_never_guessed() -> None:
    found = _one(_log("aaaa" * 25, 1.0, [1.0, None, 0.0, float("inf")] * 25), _to("aaaa" * 25))
    assert (found.all.verdict, found.all.not_measured, found.all.value) == ("partially identified", 0.5, 0.5)
    assert found.all.reason == "the metric was not measured in 50 %"


def test_outcomes_that_are_missing_where_the_candidate_never_goes_do_no_harm() -> None:
    log = _log("ab" * 200, 0.5, [1.0, None, 0.0, None] * 100)
    found = _one(log, _to("aa" * 200))
    assert (found.all_snips.verdict, found.all_snips.value) == ("identified", 0.5)
    assert found.all.not_measured == 0


def test_outcomes_outside_the_declared_range_are_refused() -> None:
    found = _one(_log("ab" * 100, 1.0, [1.0, 2.0] * 100), _to("ab" * 100)).all
    assert (found.verdict, found.reason) == (
        "refused",
        "100 outcomes are outside the metric's declared range",
    )


def test_few_units_get_a_value_and_no_interval() -> None:
    few = _one(_log("ab" * 20, 1.0, [1.0, 0.0] * 20, unit=None), _to("ab" * 20), COST_OF_OK).all
    assert (few.verdict, few.value, few.interval, few.change_interval) == ("too few", 0.5, None, None)
    one_team = _one(_log("ab" * 500, 1.0, [1.0, 0.0] * 500, unit="research"), _to("ab" * 500)).all
    assert (one_team.verdict, one_team.units, one_team.effective_units) == ("too few", 1, 1)


COST_OF_OK = Metric("cost", "ok")


def test_few_draws_are_too_few_however_much_was_measured() -> None:
    log = _log("a" * 900 + "ab" * 20, 1.0, [1.0] * 940)
    log["propensity"][900:] = [0.5] * 40
    found = _one(log, _to("a" * 940)).all
    assert (found.verdict, found.value, found.interval, found.log_interval) == ("too few", 1, None, None)
    assert (
        found.reason
        == "what is estimated of them carries as much information as 20 independent decisions; an interval needs 30"
    )


def test_intervals_are_not_empty_where_every_outcome_is_the_same() -> None:
    found = _one(_log("a" * 100, 1.0, [1.0] * 100), _to("a" * 100)).all
    assert found.interval is not None
    assert 0.9 < found.interval.low < 0.99 and found.interval.high == 1


def test_outcomes_known_beside_are_taken_as_they_are() -> None:
    log = _log("aabb" * 30, 1.0, [1.0, 0.0, 0.0, 1.0] * 30)
    known = {"row": range(120), "action": ["b"] * 120, "ok": [1.0, 1.0, 0.0, 1.0] * 30}
    found = _one(log, _to("bbbb" * 30), known=known)
    assert (found.all.verdict, found.all.method, found.all.value) == ("identified", "measured", 0.75)
    assert found.all.change == 0.25


def test_support_is_what_was_logged_in_the_same_context_unless_it_is_given() -> None:
    log = _log("ab" * 100, 0.5, [1.0, 0.0] * 100)
    log["context"] = [0, 0] * 50 + [1, 1] * 50
    log["action"] = list("ab" * 50 + "ac" * 50)
    found = _one(log, _to("bb" * 100))
    assert found.all.without_support == 0.5
    support = {"context": [0, 0, 1, 1], "action": list("abab")}
    assert _one(log, _to("bb" * 100), support=support).all.without_support == 0


def test_a_draw_that_never_fell_on_what_the_candidate_does_tells_nothing() -> None:
    log = _log("a" * 200 + "bc", 1.0, [1.0] * 202)
    log["propensity"][200:] = [0.5, 0.5]
    found = _one(log, _to("a" * 200 + "cb"))
    assert found.estimated is not None
    assert (found.estimated.verdict, found.all.verdict) == ("not identified", "partially identified")
    assert found.all.without_support == pytest.approx(2 / 202)


def test_units_count_once_however_many_rows_they_have(world: World) -> None:
    """Each row twice, in the unit of the first: nothing more is known."""
    rows = len(world.logged["row"])
    logged = {name: np.concatenate([column, column]) for name, column in world.logged.items()}
    logged["row"] = np.arange(2 * rows)
    target = {name: np.concatenate([column, column]) for name, column in world.target.items()}
    target["row"] = np.concatenate([world.target["row"], world.target["row"] + rows])
    once, twice = _one(world.logged, world.target).all_snips, _one(logged, target).all_snips
    assert _ends(twice.interval) == pytest.approx(_ends(once.interval))
    assert _ends(twice.change_interval) == pytest.approx(_ends(once.change_interval))
    assert _ends(twice.mean_weight_interval) == pytest.approx(_ends(once.mean_weight_interval))


def test_shifting_every_outcome_shifts_the_estimate_as_far(world: World) -> None:
    """True of weights that are normalised by their own sum, and not of those that are not."""
    shifted = {**world.logged, "cost": world.logged["cost"] + 1000}
    metric = replace(COST, low=-1e4, high=1e4)
    for plain, moved in _pairs_of(
        _one(world.logged, world.target, metric),
        _one(shifted, world.target, replace(metric, low=-9e3, high=1.1e4)),
    ):
        assert plain.value is not None
        assert moved.value == pytest.approx(plain.value + 1000)
        assert moved.change == pytest.approx(plain.change)
        assert _ends(moved.interval) == pytest.approx([end + 1000 for end in _ends(plain.interval)])


def test_no_outcome_has_a_part_in_the_model_of_its_own_fold(world: World) -> None:
    matched = int(np.flatnonzero(world.logged["action"][world.target["row"]] == world.target["action"])[0])
    row = world.target["row"][matched]
    of_unit = world.logged["unit"] == world.logged["unit"][row]
    changed = {**world.logged, "ok": world.logged["ok"] + 1e6 * of_unit}

    def model(logged: Columns) -> dict[tuple[int, str, bool], float]:
        """By context, action and whether the fold is that of the unit."""
        with tables(logged=logged, target=world.target) as connection:
            with weighed(connection, Relations(), [OK]) as rows:
                fit(rows, 0)
                found = connection.execute(
                    f"SELECT context, action, fold = (SELECT unit % 5 FROM {rows.logged} WHERE row = {row}), value "
                    f"FROM {rows.model}"
                ).fetchall()
        return {(context, action, own): value for context, action, own, value in found}

    before, after = model(world.logged), model(changed)
    context, action = world.logged["context"][row], world.logged["action"][row]
    assert after[context, action, False] > 1000
    assert {key: value for key, value in after.items() if key[2]} == {
        key: value for key, value in before.items() if key[2]
    }


def test_wrong_probabilities_are_refused_with_the_mean_weight(world: World) -> None:
    halved = {**world.logged, "propensity": world.logged["propensity"] / 2}
    found = _one(halved, world.target).all
    assert (found.verdict, found.value, found.interval) == ("refused", None, None)
    assert found.mean_weight == pytest.approx(2, abs=0.3)
    assert found.reason.startswith("the mean importance weight is 2.")
    assert _one(world.logged, world.target).all.verdict == "identified"


def test_wrong_probabilities_whose_errors_cancel_out_are_refused_too() -> None:
    """All are logged as even, and taken in three of four or one of four."""
    log = _log("aaab" * 100 + "abbb" * 100, 0.5, [1.0, 0.0] * 400)
    found = _one(log, _to("a" * 800)).all
    assert found.mean_weight == 1 and found.verdict == "identified"  # nothing tells the two halves apart
    log["context"] = [0] * 400 + [1] * 400
    found = _one(log, _to("a" * 800)).all
    assert found.mean_weight == 1
    assert found.reason.startswith("the mean importance weight of `a` in one of its contexts is 1.5 (")
    by_action = {**log, "context": [0] * 800, "action": list("aaab" * 200)}
    found = _one(by_action, _to("a" * 400 + "b" * 400)).all
    assert found.mean_weight == 1
    assert found.reason.startswith("the mean importance weight of `a` is 1.5 (")


@pytest.mark.parametrize("impossible", [0.0, 1.5])
def test_an_action_that_was_taken_has_a_possible_probability(impossible: float) -> None:
    log = _log("ab" * 100, 0.5, [1.0, 0.0] * 100)
    log["propensity"][7] = impossible
    found = _one(log, _to("aa" * 100)).all
    assert found.reason == "the log gives an impossible probability to 1 of the actions it took"


def test_an_action_that_the_candidate_never_takes_may_be_named() -> None:
    target = {"row": [0, *range(100)], "action": ["b", *"a" * 100], "probability": [0.0] + [1.0] * 100}
    assert _one(_log("a" * 100, 1.0, [1.0] * 100), target).all.verdict == "identified"
    target = {"row": [0, *range(99)], "action": ["b", *"a" * 99], "probability": [0.5, 0.5] + [1.0] * 98}
    split = _one(_log("a" * 100, 1.0, [1.0] * 100), target).all
    assert (split.verdict, split.decisions) == ("partially identified", 99)
    assert split.without_support == pytest.approx(0.5 / 99)


def test_probabilities_of_a_decision_that_do_not_add_up_to_1_are_refused() -> None:
    target = _to("a" * 100)
    target["probability"][3] = 0.5
    assert _one(_log("a" * 100, 1.0, [1.0] * 100), target).all.reason == (
        "the candidate's probabilities of a decision add up to 0.995 on average (0.5 to 1) where they must to 1"
    )


def test_wrong_relations_are_errors() -> None:
    log, target = _log("ab", 0.5, [1.0, 0.0]), _to("aa")
    with pytest.raises(ValueError, match="`logged` has 1 rows twice"):
        _one({**log, "row": [0, 0]}, target)
    with pytest.raises(ValueError, match="`target` has 1 actions twice in a row"):
        _one(log, {**target, "row": [0, 0]})
    with pytest.raises(ValueError, match="1 probabilities of `target` are not from 0 to 1"):
        _one(log, {**target, "probability": [1.0, None]})


def test_baselines_are_the_cheapest_the_best_and_a_mix_that_costs_as_much(world: World) -> None:
    with tables(logged=world.logged, target=world.target) as connection:
        wanted = estimate(connection, Relations(), [COST])[0].all.value
        found = baselines(connection, Relations(), [OK, COST], cost=COST, best_by=OK, same_cost_as=wanted)
        too_dear = baselines(connection, Relations(), [OK], cost=COST, best_by=OK, same_cost_as=1e6)
        small = {name: column[:20] for name, column in world.logged.items()}
        connection.register("small", small)
        assert baselines(connection, Relations("small"), [OK], cost=COST, best_by=OK) == ()
        assert connection.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary").fetchone() == (0,)
    assert [(each.name, [action for action, _ in each.shares]) for each in found] == [
        ("cheapest", ["small"]),
        ("best", ["large"]),
        ("random mix", ["small", "large"]),
    ]
    ok, cost = ([each.estimates[at].all.value for each in found] for at in (0, 1))
    assert ok[0] is not None and ok[1] is not None and ok[2] is not None
    assert ok[0] < ok[2] < ok[1]
    assert cost[2] == pytest.approx(wanted, rel=0.02)
    assert [each.name for each in too_dear] == ["cheapest", "best"]


def _ends(interval: Interval | None) -> tuple[float, ...]:
    assert interval is not None
    return tuple(interval)


def _pairs_of(some: MetricEstimates, others: MetricEstimates) -> list[tuple[Estimate, Estimate]]:
    return [(some.all, others.all), (some.all_snips, others.all_snips)]
