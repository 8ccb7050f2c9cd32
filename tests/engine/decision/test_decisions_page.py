"""``docs/decisions.md`` names every field, gate, mark and outcome, and its example is what the code gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from support.pages import blocks

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision, Outcome
from routewright.engine.decision.gates.listed import GATES, MARKS
from routewright.engine.decision.task import Source, State, Task
from routewright.engine.explain.counterfactual import MAX_TRIALS
from routewright.engine.explain.explanation import explain
from routewright.engine.explain.report_tree import explanation_tree
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.field import Shape, fields_of
from routewright.engine.record.fields import CandidateRecord, DecisionRecord
from routewright.engine.record.record import record_values
from routewright.engine.report.tree import render_tree

_PAGE = Path(__file__).parents[3] / "docs" / "decisions.md"
_TEXT = _PAGE.read_text(encoding="utf-8")


def _example(name: str) -> str:
    [text] = [block.text for block in blocks(_PAGE) if block.mark == f"example: {name}"]
    return text


def _rows(heading: str) -> list[str]:
    """The first column of the tables in a section, without backticks."""
    section = _TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`(.+?)`", cell)]


def test_outcomes_gates_and_marks_are_all_there_in_their_order() -> None:
    assert _rows("Outcomes") == list(get_args(Outcome))
    gates = dict.fromkeys(gate.name for gate in GATES)
    assert _rows("Gates") == [*gates, *(mark.name for mark in MARKS)]


def _shapes(shape: type[Shape]) -> Iterator[type[Shape]]:
    yield shape
    for field in fields_of(shape):
        if field.shape is not None:
            yield from _shapes(field.shape)


def test_fields_of_a_record_are_all_there_with_their_meaning() -> None:
    shapes = dict.fromkeys(_shapes(DecisionRecord))
    fields = [field for shape in shapes for field in fields_of(shape)]
    assert sorted(_rows("The record")) == sorted(field.name for field in fields)
    assert all(field.meaning and field.meaning in _TEXT for field in fields)


def test_every_field_of_a_decision_has_its_place() -> None:
    assert all(field.place for field in fields_of(DecisionRecord))
    # A part holds nothing that differs from call to call: what is estimated for a call stands in its row.
    estimated = [field.name for field in fields_of(CandidateRecord) if field.place == "row"]
    assert estimated == [
        "estimated_cost_nano",
        "currency",
        "cost_source",
        "estimated_latency_ms",
        "latency_source",
        "load_ms",
        "unloads",
    ]


def test_sources_and_limits_are_those_of_the_code() -> None:
    assert all(f"`{source}`" in _TEXT for source in get_args(Source))
    assert f"{MAX_TRIALS:,} trials" in _TEXT


def _decision() -> Decision:
    policy = compile_policy(read_policy(_example("policy"), "example.yaml"))
    task = Task({"private": True, "complexity": 0.9})
    state = State(1_767_225_600_000_000)
    return decide(policy, task, state, decision_id="019b7600-0000-7000-8000-000000000000")


def test_example_is_decided_as_the_page_says() -> None:
    values = record_values(_decision())
    values["policy"]["digest"] = values["catalog"]["digest"] = "sha256:…"
    assert json.loads(_example("record")) == values


def test_example_is_explained_as_the_page_says() -> None:
    decision = _decision()
    assert _example("explanation").rstrip("\n") == render_tree(
        explanation_tree(explain(decision.policy, decision))
    )
