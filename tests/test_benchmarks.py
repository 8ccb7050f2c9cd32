"""The benchmarks compare like with like: what they generate, translate and report. Nothing is timed."""

from __future__ import annotations

import doctest
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from routewright.engine.condition.syntax.parser import parse_expr

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
MODULES = ("decide", "dialects", "engines", "startup", "tables", "timing", "workload")
LIBRARY_OF = {"zen_table": "zen", "cel_rust": "cel", "cel_python": "celpy", "cedar": "cedarpy"}


@pytest.fixture(autouse=True)
def on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The benchmarks' own modules, as the script itself finds them, for the time of a test."""
    monkeypatch.syspath_prepend(str(FOLDER))
    limit = sys.getrecursionlimit()
    yield
    # cel-python raises the limit for the whole process.
    sys.setrecursionlimit(limit)
    for name in MODULES:
        sys.modules.pop(name, None)


def module(name: str) -> ModuleType:
    return import_module(name)


def test_a_seed_gives_the_same_policy_again() -> None:
    workload = module("workload")
    assert workload.policy_text(100, 20) == workload.policy_text(100, 20)
    assert workload.policy_text(100, 20) != workload.policy_text(100, 21)


def test_tasks_match_early_late_and_not_at_all_in_turn() -> None:
    made = module("workload").generated(30, 12)
    assert len(made.policy.rules) == 30
    assert all(rule in range(10) for rule in made.expected[0::3])
    assert all(rule in range(20, 30) for rule in made.expected[1::3])
    assert made.expected[2::3] == (None,) * 4


def test_tasks_of_the_shipped_policy_reach_its_first_and_last_rules() -> None:
    made = module("workload").shipped()
    assert len(set(made.expected)) > len(made.tasks) * 3 // 4
    assert len(made.policy.rules) - 1 in made.expected
    assert None not in made.expected


def test_every_task_has_a_value_for_every_feature() -> None:
    workload = module("workload")
    for made in (workload.shipped(), workload.generated(10, 6)):
        assert all(None not in features.values() for features in made.complete)


@pytest.mark.parametrize(
    "make",
    [
        "evaluate_bound",
        "decide_partial",
        "decide_complete",
        "decide_with_health",
        "simpleeval_all",
        "simpleeval_first",
        "zen_table",
        "cel_rust",
        "cel_python",
        "cedar",
    ],
)
def test_every_engine_finds_the_same_rules(make: str) -> None:
    if make in LIBRARY_OF and find_spec(LIBRARY_OF[make]) is None:
        pytest.skip(f"{LIBRARY_OF[make]} is not installed: make bench installs it")
    engines, workload = module("engines"), module("workload")
    for made in (workload.shipped(), workload.generated(10, 6)):
        engines.check_agreement(made, [getattr(engines, make)(made)])


def test_an_engine_that_disagrees_stops_the_run() -> None:
    engines, made = module("engines"), module("workload").generated(10, 3)
    wrong = engines.Contender("wrong", made.tasks, lambda task: task, lambda task: 9)
    with pytest.raises(engines.Disagreement, match=r"wrong finds rule 9, not [0-2], under 10 rules for"):
        engines.check_agreement(made, [wrong])


def test_what_a_dialect_cannot_say_is_refused() -> None:
    dialects = module("dialects")
    with pytest.raises(ValueError, match="no translation for Call"):
        dialects.text_in(dialects.CEL, parse_expr("has(a)"))
    with pytest.raises(ValueError, match="no translation for Conditional"):
        dialects.cedar_text(parse_expr("a ? b : c"), ())


def test_strings_stay_atoms_in_translations() -> None:
    dialects = module("dialects")
    expr = parse_expr("a == 'x && !y' || b")
    assert dialects.text_in(dialects.PYTHON, expr) == '((a == "x && !y") or b)'
    assert dialects.cedar_text(expr, ()) == '((context.a == "x && !y") || context.b)'


def test_rounds_run_everything_equally_often() -> None:
    timing = module("timing")
    seen: list[Any] = []
    timed = [timing.Timed("a", [1, 2], seen.append), timing.Timed("b", [3], seen.append)]
    times = timing.measure(timed, rounds=4, block_ms=0)
    assert {name: len(taken) for name, taken in times.items()} == {"a": 4, "b": 4}
    assert [seen.count(value) for value in (1, 2, 3)] == [6, 6, 6]


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    timing = module("timing")
    assert timing.ratio_of([1.0, 30.0, 2.0], [2.0, 20.0, 2.0]) == timing.Ratio(1.0, 0.75, 1.25)


def test_a_missed_bar_is_shown() -> None:
    tables, timing = module("tables"), module("timing")
    ahead = tables.Bar(1, "below 1", strict=True)
    assert tables.verdict(timing.Ratio(0.5, 0.4, 0.6), ahead) == "0.5 (0.4–0.6)"
    assert tables.verdict(timing.Ratio(1.0, 0.9, 1.1), ahead) == "**1.00 (0.9–1.10) missed**"


def test_the_page_has_its_marks_and_holds_tables() -> None:
    tables = module("tables")
    page = (FOLDER.parent / "docs" / "performance.md").read_text(encoding="utf-8")
    assert "| ratio " in page
    replaced = tables.with_block(page, "benchmarks", "figures")
    assert "<!-- generated: benchmarks -->\nfigures\n<!-- end of benchmarks -->" in replaced
    with pytest.raises(ValueError, match="expected `<!-- generated: other -->`"):
        tables.with_block(page, "other", "figures")


@pytest.mark.parametrize("name", ["dialects", "tables"])
def test_examples_in_docstrings_hold(name: str) -> None:
    assert doctest.testmod(module(name)).failed == 0
