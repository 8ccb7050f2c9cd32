"""Measures deciding beside other engines, and writes the tables of docs/performance.md.

    python benchmarks/decide.py           measure, print, and write docs/performance.md (about a minute)
    python benchmarks/decide.py --quick   measure briefly and print only

Every engine must give the same verdict for every task before anything is timed; else the exit code is 1. A bar
that is missed is printed and written, and is no failure of the run.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import engines
import startup
from tables import NOT_BUILT, Bar, duration, table, times_as, verdict, with_block
from timing import Timed, measure, ratio_of
from workload import SHIPPED_POLICY, Workload, generated, shipped

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.memory import memory_of
from routewright.engine.decision.task import State
from routewright.engine.explain.explanation import explain
from routewright.engine.record.parts import parts_of
from routewright.loading.loading import load_policy

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

LIBRARIES = ("simpleeval", "zen-engine", "common-expression-language", "cel-python", "cedarpy")

VERDICTS_BAR = Bar(1 / 20, "at most 1/20")
DECIDE_BAR = Bar(3, "at most 3")
AHEAD = Bar(1, "below 1", strict=True)
GROWTH_BAR = Bar(60, "at most 60")
IMPORT_BAR = Bar(0.15, "at most 150 ms")
HELP_BAR = Bar(0.3, "at most 300 ms")

Times = Mapping[str, list[float]]


@dataclass(frozen=True, slots=True)
class Effort:
    """How long to measure: rounds, the milliseconds of a block, tasks for each size of policy."""

    rounds: int
    block_ms: float
    tasks: Mapping[int, int]
    processes: int


# Fewer tasks where the slowest engine takes tens of milliseconds for each.
FULL = Effort(rounds=11, block_ms=40, tasks={10: 24, 100: 24, 1000: 9}, processes=15)
QUICK = Effort(rounds=3, block_ms=5, tasks={10: 12, 100: 6, 1000: 3}, processes=3)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure deciding beside other engines.")
    parser.add_argument(
        "--quick", action="store_true", help="a short run; docs/performance.md is not written"
    )
    quick = parser.parse_args(arguments).quick
    try:
        report = run(QUICK if quick else FULL)
    except engines.Disagreement as error:
        print(error, file=sys.stderr)
        return 1
    print(report)
    if not quick:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_block(page, "benchmarks", report), encoding="utf-8")
    return 0


def run(effort: Effort) -> str:
    """Measure everything and return the report in Markdown."""
    workloads = [shipped(), *(generated(rules, tasks) for rules, tasks in effort.tasks.items())]
    bound = {w.name: _beside(w, engines.BOUND, effort) for w in workloads}
    whole = {w.name: _beside(w, engines.VERDICTS, effort) for w in workloads}
    growth = _growth(workloads, effort)
    alone = _shipped_parts(workloads[0], effort)
    _say("starting processes")
    processes = startup.startup_times(effort.processes)
    parts = [
        _machine(),
        "### Bars\n\n" + _bars(bound, whole, growth, processes),
        "### Bare verdicts, from values that need no conversion\n\n" + _times(bound),
        "### From a task's features: whole decisions of ours, bare verdicts of others\n\n" + _times(whole),
        "### Under the shipped policy\n\n" + alone,
        "### Starting\n\n" + _starting(processes),
    ]
    return "\n\n".join(parts)


# --- measuring ---------------------------------------------------------------------------------------------


def _beside(
    workload: Workload, make: Sequence[Callable[[Workload], engines.Contender]], effort: Effort
) -> Times:
    contenders = [one(workload) for one in make]
    engines.check_agreement(workload, contenders)
    _say(f"{workload.name}: {len(contenders)} engines agree on {len(workload.tasks)} tasks")
    return _measure([Timed(one.name, one.inputs, one.call) for one in contenders], effort)


def _growth(workloads: Sequence[Workload], effort: Effort) -> Times:
    """The generated sizes beside each other, in the same rounds."""
    contenders = {w.name: engines.decide_partial(w) for w in workloads[1:]}
    return _measure([Timed(name, one.inputs, one.call) for name, one in contenders.items()], effort)


def _shipped_parts(workload: Workload, effort: Effort) -> str:
    policy, state = workload.policy, State(engines.AT_US)
    decisions = [decide(policy, task, state, decision_id=engines.DECISION_ID) for task in workload.tasks]
    whole = engines.decide_partial(workload)
    health = engines.decide_with_health(workload)
    memory = memory_of(policy)

    def forgetful(given: Any) -> object:
        memory.forget()
        return whole.call(given)

    steps = {
        "evaluate every condition": Timed("", workload.parameters, policy.evaluate),
        "decide": Timed("", whole.inputs, whole.call),
        "decide, every model's health known": Timed("", health.inputs, health.call),
        "decide, no plan remembered": Timed("", whole.inputs, forgetful),
        "encode its record": Timed("", decisions, parts_of),
        "explain the decision": Timed("", decisions, lambda decision: explain(policy, decision)),
        "load and compile the policy and its catalog": Timed("", [SHIPPED_POLICY], load_policy),
    }
    _say("the shipped policy, step by step")
    times = _measure([Timed(name, step.inputs, step.call) for name, step in steps.items()], effort)
    unit = times["decide"]
    rows = [[name, duration(median(taken)), times_as(ratio_of(taken, unit))] for name, taken in times.items()]
    return table(["step", "time", "× decide"], rows)


def _measure(timed: Sequence[Timed], effort: Effort) -> Times:
    # What has been made so far stays out of the way of collections, which go on as they do in use.
    gc.collect()
    gc.freeze()
    try:
        return measure(timed, effort.rounds, effort.block_ms)
    finally:
        gc.unfreeze()


# --- reporting ---------------------------------------------------------------------------------------------


def _bars(bound: Mapping[str, Times], whole: Mapping[str, Times], growth: Times, processes: Times) -> str:
    def row(what: str, tables: Mapping[str, Times], first: str, second: str, bar: Bar) -> list[str]:
        cells = [verdict(ratio_of(times[first], times[second]), bar) for times in tables.values()]
        return [what, bar.text, *cells]

    ours = engines.DECIDE
    rows = [
        row("verdicts ÷ simpleeval's", bound, engines.EVALUATE, engines.SIMPLEEVAL, VERDICTS_BAR),
        row("decide ÷ simpleeval's bare verdicts", whole, ours, engines.SIMPLEEVAL, DECIDE_BAR),
    ]
    for other in (engines.ZEN_TABLE, engines.CEL_RUST, engines.CEL_PYTHON, engines.CEDAR):
        rows.append(row(f"decide ÷ {other}", whole, ours, other, AHEAD))
    by_size = table(["ratio", "bar", *bound], rows)

    smallest, *larger = growth
    single = [
        [
            f"decide, {size} ÷ {smallest}",
            GROWTH_BAR.text,
            verdict(ratio_of(growth[size], growth[smallest]), GROWTH_BAR),
        ]
        for size in larger
    ]
    single += [
        [f"{what} − {startup.NOTHING}", bar.text, _over(processes, what, bar)]
        for what, bar in ((startup.IMPORT, IMPORT_BAR), (startup.HELP, HELP_BAR))
    ]
    return f"{by_size}\n\n{table(['what', 'bar', 'measured'], single)}"


def _times(tables: Mapping[str, Times]) -> str:
    names = list(next(iter(tables.values())))
    rows = [[name, *(duration(median(times[name])) for times in tables.values())] for name in names]
    return table(["for one task", *tables], rows)


def _starting(processes: Times) -> str:
    base = median(processes[startup.NOTHING])
    rows = []
    for name in startup.COMMANDS:
        cells = [NOT_BUILT, NOT_BUILT]
        if name in processes:
            whole = median(processes[name])
            cells = [duration(whole * 1e6), duration(max(0.0, whole - base) * 1e6)]
        rows.append([name, *cells])
    return table(["process", "whole", "more than nothing"], rows)


def _over(processes: Times, name: str, bar: Bar) -> str:
    if name not in processes:
        return NOT_BUILT
    more = median(a - b for a, b in zip(processes[name], processes[startup.NOTHING], strict=True))
    text = duration(max(0.0, more) * 1e6)
    return text if bar.holds(more) else f"**{text} missed**"


def _machine() -> str:
    versions = ", ".join(f"{name} {version(name)}" for name in ("routewright", *LIBRARIES))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python} on {platform.system()}, {platform.machine()}, {os.cpu_count()} cores. {versions}."


def _say(text: str) -> None:
    print(f"[{perf_counter() - _STARTED:5.1f} s] {text}", file=sys.stderr, flush=True)


_STARTED = perf_counter()

if __name__ == "__main__":
    sys.exit(main())
