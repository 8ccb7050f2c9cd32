"""The generated schemas accept what authors should write and refuse what they should not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML

from routewright.engine.policy.shapes import json_schema

ROOT = Path(__file__).resolve().parents[3]

SCHEMAS = {
    "policy.schema.json": json_schema.json_schema("policy"),
    "catalog.schema.json": json_schema.json_schema("catalog"),
    "test.schema.json": json_schema.json_schema("test"),
}

SCHEMA_LINE = re.compile(r"# yaml-language-server: \$schema=(\S+)")

SHIPPED = sorted(
    path for path in (ROOT / "policies").glob("*.yaml") if SCHEMA_LINE.match(path.read_text(encoding="utf-8"))
)

POLICY = """
routewright: 1
name: hybrid
catalog:
  routewright: 1
  backends:
    mlx: { kind: mlx, timeouts: { load: 90s } }
  models:
    glm-4.5: { backend: mlx, price: { input: 0, output: 0 }, total_parameters: 355B }
features:
  requires_moe: { type: boolean, default: false, needs: tools }
  context_length: { type: integer, minimum: 0, from: request.prompt_tokens }
constraints:
  - name: private_work
    when: { any: [requires_moe, { none: [true, "context_length > 5"] }] }
    require: model.backend == 'mlx'
rules:
  - name: otherwise
    when: true
    use: [glm-4.5]
    steps: [{ draft: { with: glm-4.5 } }]
controls:
  - { name: money, max_cost: 200 USD, per: month }
  - { name: reserve, of: money, reserve: 20%, for: context_length < 9 }
assertions:
  - never: requires_moe && model.location == 'cloud'
"""


def problems(schema: str, value: object) -> list[str]:
    """The places that `schema` refuses, as paths with dots."""
    found = Draft202012Validator(SCHEMAS[schema]).iter_errors(value)
    return sorted(".".join(str(step) for step in error.absolute_path) for error in found)


def nodes(value: object) -> Iterator[dict[str, Any]]:
    """Every mapping inside `value`."""
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_are_valid_draft_2020_12(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_key_that_may_be_left_out_is_not_offered_null(name: str) -> None:
    for node in nodes(SCHEMAS[name]):
        for declared in node.get("properties", {}).values():
            offered = [declared, *declared.get("anyOf", [])]
            assert [part for part in offered if part.get("type") == "null"] == []
            assert declared.get("default", ...) is not None


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_reference_has_its_definition_and_every_definition_is_used(name: str) -> None:
    schema = SCHEMAS[name]
    used = {node["$ref"].removeprefix("#/$defs/") for node in nodes(schema) if "$ref" in node}
    assert used == set(schema["$defs"])


def test_conditions_refer_to_one_recursive_definition() -> None:
    schema = json_schema.json_schema("policy")
    rule = schema["$defs"]["Rule"]["properties"]["when"]
    assert rule == {
        "$ref": "#/$defs/Condition",
        "default": True,
        "description": "the tasks that it matches",
    }
    assert schema["$defs"]["Control"]["properties"]["for"]["$ref"] == "#/$defs/Condition"


def test_schemas_are_made_anew_so_that_a_caller_may_change_them() -> None:
    before = deepcopy(json_schema.json_schema("policy"))
    json_schema.json_schema("policy")["$defs"]["Condition"]["anyOf"].clear()
    assert json_schema.json_schema("policy") == before


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_meet_the_schema_of_their_first_line(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    named = SCHEMA_LINE.match(text)
    assert named is not None
    assert problems(named[1], YAML(typ="safe", pure=True).load(text)) == []


def test_a_policy_as_the_documentation_draws_it_is_accepted() -> None:
    assert problems("policy.schema.json", YAML(typ="safe", pure=True).load(POLICY)) == []


@pytest.mark.parametrize(
    ("old", "new", "refused"),
    [
        ("routewright: 1\nname", "routewright: 2\nname", "routewright"),
        ("name: hybrid", "nmae: hybrid", ""),
        ("name: hybrid", "name:", "name"),
        ("when: true", "when: 1", "rules.0.when"),
        ("when: true", "when:", "rules.0.when"),
        ("when: true", "when: { any: [] }", "rules.0.when"),
        ("when: true", "when: { any: [a], all: [b] }", "rules.0.when"),
        ("when: true", "when: { some: [a] }", "rules.0.when"),
        ("use: [glm-4.5]", "use: []", "rules.0.use"),
        ("{ with: glm-4.5 }", "{ with_: glm-4.5 }", "rules.0.steps.0.draft"),
        ("{ draft: { with: glm-4.5 } }", "{ draft: { with: a }, refine: { with: b } }", "rules.0.steps.0"),
        ("200 USD", "200", "controls.0.max_cost"),
        ("20%", "0.2", "controls.1.reserve"),
        ("90s", "90", "catalog.backends.mlx.timeouts.load"),
        ("355B", "355X", "catalog.models.glm-4.5.total_parameters"),
        ("requires_moe: {", "requires-moe: {", "features"),
        ("- never: requires_moe && model.location == 'cloud'", "- reason: none", "assertions.0"),
    ],
)
def test_a_mistake_is_refused_at_its_place(old: str, new: str, refused: str) -> None:
    assert old in POLICY
    broken = YAML(typ="safe", pure=True).load(POLICY.replace(old, new, 1))
    places = problems("policy.schema.json", broken)
    # An inline catalog is one of two alternatives, so the whole of it is what does not fit.
    expected = "catalog" if refused.startswith("catalog.") else refused
    assert expected in places


def test_a_broken_catalog_and_a_broken_test_file_are_refused() -> None:
    load = YAML(typ="safe", pure=True).load
    assert problems("catalog.schema.json", load("{routewright: 1, backends: {}, models: {a: {}}}")) == [
        "backends",
        "models.a",
    ]
    case = "{name: a, task: {features: {x: {}}}, expect: {outcome: somewhere}}"
    assert problems("test.schema.json", load(f"{{routewright: 1, policy: p.yaml, cases: [{case}]}}")) == [
        "cases.0.expect.outcome",
        "cases.0.task.features.x",
    ]
