"""Intervals cover the truth as often as they claim: in logs that are made up, and in data that nobody here wrote.

`make thorough` runs them in full; a sample is tried here.
"""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Container
from itertools import islice
from math import sqrt
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from support.estimate_worlds import COST, OK, Columns, known_world, tables
from support.sizes import ESTIMATED_LOGS, THOROUGH

from routewright.ledger.replay.estimates import (
    Estimate,
    Interval,
    Metric,
    MetricEstimates,
    Relations,
    estimate,
)
from routewright.ledger.replay.estimates.alarm import LEVEL

_DATA: Final = Path(__file__).resolve().parents[3] / "shared" / "data"

needs_data = pytest.mark.skipif(not _DATA.is_dir(), reason="the data of others is not beside this checkout")


class _Tally:
    """Counts how often intervals cover the truth, and estimates are refused although all is right with the log."""

    def __init__(self) -> None:
        self.covered, self.tried, self.refused = Counter[str](), Counter[str](), 0

    def add(self, of: str, made: Estimate, interval: Interval | None, truth: float) -> None:
        if made.verdict == "refused":
            self.refused += 1
            return
        assert made.verdict == "identified" and interval is not None, made
        self.tried[of] += 1
        self.covered[of] += interval.low <= truth <= interval.high

    def check(self, *, at_least: Container[str] = ()) -> None:
        """Within two points of 95 %, and in a sample within what chance allows (three standard errors)."""
        shares = {of: covered / self.tried[of] for of, covered in self.covered.items()}
        room = 0.02 if THOROUGH else 3 * sqrt(0.95 * 0.05 / ESTIMATED_LOGS)
        for of, share in shares.items():
            assert 0.95 - room <= share, shares
            assert share <= 0.95 + room or of in at_least, shares
        tried = self.refused + self.tried.total()
        assert self.refused / tried <= 1 - LEVEL + 3 * sqrt(LEVEL * (1 - LEVEL) / tried)


def test_intervals_cover_the_truth_of_clustered_units_and_heavy_tails() -> None:
    rng, tally = np.random.default_rng(20), _Tally()
    for _ in range(ESTIMATED_LOGS):
        world = known_world(rng, units=1500)
        with tables(logged=world.logged, target=world.target) as connection:
            found = estimate(connection, Relations(), [COST, OK])
        for each in found:
            name = each.metric.name
            truth = world.truth[name]
            for made in (each.all, each.all_snips):
                tally.add(f"{name} {made.method}", made, made.interval, truth)
                change = truth - world.truth_logged[name]
                tally.add(f"change of {name} {made.method}", made, made.change_interval, change)
                tally.add(f"{name} here", made, made.log_interval, world.truth_here[name])
    # Where rows share a draw, intervals of these rows alone are wider than they would have to be.
    tally.check(at_least=("cost here", "ok here"))


def _bandit(name: str, first: int | None = None) -> Columns:
    with open(_DATA / "openbandit" / f"{name}.csv", encoding="utf-8", newline="") as file:
        rows = list(islice(csv.DictReader(file), first))
    return {
        "row": np.arange(len(rows)),
        "unit": np.full(len(rows), None, dtype=object),
        "context": np.array([int(row["position"]) for row in rows]),
        "action": np.array([row["item_id"] for row in rows], dtype=object),
        "propensity": np.array([float(row["propensity"]) for row in rows]),
        "y": np.array([float(row["click"]) for row in rows]),
    }


def _in_each(logged: Columns, policy: dict[int, dict[str, float]]) -> Columns:
    """A target with the probabilities that ``policy`` gives a row's context."""
    drawn = [
        (row, action, probability)
        for row, context in zip(logged["row"], logged["context"], strict=True)
        for action, probability in policy[int(context)].items()
    ]
    row, action, probability = zip(*drawn, strict=True)
    return {
        "row": np.array(row),
        "action": np.array(action, dtype=object),
        "probability": np.array(probability),
    }


def _click(logged: Columns, target: Columns) -> MetricEstimates:
    with tables(logged=logged, target=target) as connection:
        [found] = estimate(connection, Relations(), [Metric("click", low=0, high=1)])
    return found


@needs_data
def test_the_random_log_of_open_bandit_estimates_the_other_policy() -> None:
    logged, other = _bandit("men_random"), _bandit("men_bts")
    shown = {position: Counter(other["action"][other["context"] == position]) for position in (1, 2, 3)}
    policy = {
        position: {item: n / found.total() for item, n in found.items()} for position, found in shown.items()
    }
    found = _click(logged, _in_each(logged, policy))
    for made in (found.all, found.all_snips):
        assert made.verdict == "identified" and made.interval is not None
        assert made.interval.low <= other["y"].mean() <= made.interval.high < 0.012
        assert made.mean_weight == pytest.approx(0.985, abs=0.001)


@needs_data
def test_mean_probabilities_of_an_item_are_refused() -> None:
    logged, other = _bandit("men_random", 2000), _bandit("men_bts", 4000)
    items = sorted(set(other["action"]))
    means = {item: float(other["propensity"][other["action"] == item].mean()) for item in items}
    as_target = _click(logged, _in_each(logged, dict.fromkeys((1, 2, 3), means))).all
    assert (as_target.verdict, as_target.value) == ("refused", None)
    assert as_target.mean_weight is not None and as_target.mean_weight > 1.5
    assert "where they must to 1, and the mean importance weight is" in as_target.reason
    averaged = {**other, "propensity": np.array([means[item] for item in other["action"]])}
    evenly = _in_each(averaged, dict.fromkeys((1, 2, 3), {item: 1 / len(items) for item in items}))
    as_log = _click(averaged, evenly).all
    assert (as_log.verdict, as_log.value) == ("refused", None)
    assert as_log.mean_weight is not None and as_log.mean_weight < 0.6
    assert _click(other, evenly).all.verdict == "identified"


def _gsm8k() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The length of each prompt, and whether each of two models answered it right."""
    with open(_DATA / "routellm" / "gsm8k_responses.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    small, large = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
    return (
        np.array([len(row["prompt"]) for row in rows]),
        np.array([row[small] == "True" for row in rows], dtype=float),
        np.array([row[large] == "True" for row in rows], dtype=float),
    )


@needs_data
def test_with_one_models_answers_hidden_at_random_intervals_cover_the_files_truth() -> None:
    length, small, large = _gsm8k()
    to_large = length > 200
    truth = np.where(to_large, large, small).mean()
    rng, tally = np.random.default_rng(8), _Tally()
    for _ in range(ESTIMATED_LOGS):
        # The prompts of the file themselves, and samples of them.
        for of in ("log", "sample"):
            drawn = np.arange(len(length)) if of == "log" else rng.integers(len(length), size=len(length))
            chance = np.where(length[drawn] > 300, 0.6, 0.3)
            seen = rng.random(len(drawn)) < chance
            logged = {
                "row": np.arange(len(drawn)),
                "unit": np.full(len(drawn), None, dtype=object),
                "context": (length[drawn] > 300).astype(np.int64),
                "action": np.where(seen, "large", "small").astype(object),
                "propensity": np.where(seen, chance, 1 - chance),
                "ok": np.where(seen, large[drawn], small[drawn]),
            }
            known = {
                "row": logged["row"],
                "action": np.full(len(drawn), "small", dtype=object),
                "ok": small[drawn],
            }
            action = np.where(to_large[drawn], "large", "small").astype(object)
            target = {"row": logged["row"], "action": action, "probability": np.ones(len(drawn))}
            with tables(logged=logged, target=target, known=known) as connection:
                [found] = estimate(connection, Relations(known="known"), [OK])
            for made in (found.all, found.all_snips):
                interval = made.log_interval if of == "log" else made.interval
                tally.add(f"{made.method} of {of}", made, interval, truth)
    tally.check()


@needs_data
def test_a_deterministic_log_of_gsm8k_says_not_identified() -> None:
    length, small, large = _gsm8k()
    rows = np.arange(len(length))
    logged = {
        "row": rows,
        "unit": np.full(len(rows), None, dtype=object),
        "context": np.zeros(len(rows), dtype=np.int64),
        "action": np.full(len(rows), "small", dtype=object),
        "propensity": np.ones(len(rows)),
        "ok": small,
    }
    to_large = length > 200
    target = {
        "row": rows,
        "action": np.where(to_large, "large", "small").astype(object),
        "probability": np.ones(len(rows)),
    }
    with tables(logged=logged, target=target) as connection:
        [found] = estimate(connection, Relations(), [OK])
    assert found.estimated is not None and found.measured is not None
    assert (found.estimated.verdict, found.all.verdict) == ("not identified", "partially identified")
    assert found.measured.value == pytest.approx(small[~to_large].mean())
    everything = {**target, "action": np.full(len(rows), "large", dtype=object)}
    with tables(logged=logged, target=everything) as connection:
        [found] = estimate(connection, Relations(), [OK])
    assert found.all.verdict == "not identified"


def _arena(name: str) -> list[dict[str, Any]]:
    with open(_DATA / "routerarena" / f"{name}.jsonl", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@needs_data
@pytest.mark.parametrize("rule", ["longer than 400", "even", "everything to the second"])
def test_any_two_model_policy_over_router_arena_gives_the_files_sums(rule: str) -> None:
    haiku, flash = _arena("claude-3-haiku-20240307"), _arena("gemini-2.0-flash-001")
    flash_by_name = {row["global_index"]: row for row in flash}
    both = [(row, flash_by_name[row["global_index"]]) for row in haiku]
    second = [
        {"longer than 400": len(row["question"]) > 400, "even": at % 2 == 0}.get(rule, True)
        for at, (row, _) in enumerate(both)
    ]
    rows = np.arange(len(both))
    names = np.array(["haiku", "flash"], dtype=object)

    def columns(which: int) -> Columns:
        return {
            "row": rows,
            "action": np.full(len(rows), names[which], dtype=object),
            "cost": np.array([pair[which]["inference_cost_usd"] for pair in both]),
            "score": np.array([pair[which]["score"] for pair in both]),
        }

    first = columns(0)
    logged = {
        **first,
        "unit": np.full(len(rows), None, dtype=object),
        "context": np.zeros(len(rows), dtype=np.int64),
        "propensity": np.ones(len(rows)),
    }
    chosen = np.array(second, dtype=int)
    target = {"row": rows, "action": names[chosen], "probability": np.ones(len(rows))}
    metrics = [Metric("cost", "cost", better="lower"), Metric("score", "score", low=0, high=1)]
    with tables(logged=logged, target=target, known=columns(1)) as connection:
        found = estimate(connection, Relations(known="known"), metrics)
    for each, field in zip(found, ("inference_cost_usd", "score"), strict=True):
        assert (each.all.verdict, each.all.method, each.estimated) == ("identified", "measured", None)
        assert each.all.value is not None
        exact = sum(pair[which][field] for pair, which in zip(both, chosen, strict=True))
        assert each.all.value * len(rows) == pytest.approx(exact, rel=1e-12)
