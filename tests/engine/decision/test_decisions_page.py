"""``docs/decisions.md`` names every field, gate, mark and outcome, and its example is what the code gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from support.pages import blocks

from routewright.engine.canonical import canonical_text
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision, Outcome
from routewright.engine.decision.gates.listed import GATES, MARKS
from routewright.engine.decision.task import RequestFacts, Source, State, Task
from routewright.engine.explain.counterfactual import MAX_TRIALS
from routewright.engine.explain.explanation import explain
from routewright.engine.explain.report_tree import explanation_tree
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.reading.read import read_policy
from routewright.engine.record.digest import record_digest
from routewright.engine.record.field import Shape, fields_of
from routewright.engine.record.fields import DecisionRecord
from routewright.engine.record.record import record_values
from routewright.engine.record.sealing import sealed, without_sealed
from routewright.engine.report.tree import render_tree

_PAGE = Path(__file__).parents[3] / "docs" / "decisions.md"
_TEXT = _PAGE.read_text(encoding="utf-8")


def _example(name: str) -> str:
    [text] = [block.text for block in blocks(_PAGE) if block.mark == f"example: {name}"]
    return text


def _section(heading: str) -> str:
    return _TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def _rows(heading: str) -> list[str]:
    """The first column of the tables in a section, without backticks."""
    cells = re.findall(r"^\| (`.*?`)(?: ◆)? \|", _section(heading), re.MULTILINE)
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


def test_every_field_of_a_decision_has_its_place_and_nothing_in_a_part_is_of_a_single_call() -> None:
    assert all(field.place for field in fields_of(DecisionRecord))
    parts = [field for field in fields_of(DecisionRecord) if field.place in ("policy", "plan", "arm")]
    inside = [shape for field in parts if field.shape is not None for shape in _shapes(field.shape)]
    assert inside and all(field.place is None for shape in inside for field in fields_of(shape))


def test_the_page_marks_the_parts_and_names_them() -> None:
    shapes = dict.fromkeys(_shapes(DecisionRecord))
    parts = {field.name: field.part for shape in shapes for field in fields_of(shape) if field.part}
    assert re.findall(r"^\| `(.*?)` ◆ \|", _TEXT, re.MULTILINE) == list(parts)
    section = _section("Parts and digest")
    whole = re.findall(r"`(\w+)`", section.split("\n- ")[1].split(" as the digest")[0])
    assert whole == [name for name, part in parts.items() if part == "whole"]
    by_key = re.findall(r"`state\.(\w+)`", section)
    assert by_key == [name for name, part in parts.items() if part == "by_key"]


def test_the_digest_of_the_example_is_computed_as_the_page_says() -> None:
    values = record_values(_decision())
    standing = json.loads(_example("parts"))
    program: dict[str, Any] = {}
    exec(_example("digest"), program)
    assert program["record_digest"](canonical_text(values)) == _example("record digest").strip()
    assert program["digest"]({**values, **standing}) == _example("record digest").strip()
    assert record_digest(_decision()) == _example("record digest").strip()


def test_the_program_on_the_page_makes_digests_of_sealed_and_of_erased_values() -> None:
    program: dict[str, Any] = {}
    exec(_example("digest"), program)
    text = _example("policy").replace("private: {", "private: { sensitive: true,")
    text = text.replace(
        "features:\n", "features:\n  who: { type: string, sensitive: true, from: request.metadata.who }\n"
    )
    policy = compile_policy(read_policy(text, "example.yaml"))
    task = Task({"private": True, "note": "n"}, request=RequestFacts(metadata={"who": "Ada"}))
    decision = decide(policy, task, _decision().state, decision_id=_decision().id, strict=False)
    salts = iter(range(100))
    decision = sealed(decision, lambda size: bytes([next(salts)] * size))
    values = record_values(decision)
    assert len(values["salts"]) == 4
    assert program["record_digest"](canonical_text(values)) == record_digest(decision)
    assert program["record_digest"](canonical_text(without_sealed(values))) == record_digest(decision)


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
