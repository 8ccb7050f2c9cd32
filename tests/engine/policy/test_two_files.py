"""A policy and its catalog in two files: the problems of both in one run."""

from __future__ import annotations

import pytest
from syrupy.assertion import SnapshotAssertion

from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compile.testfile import read_tests
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.engine.report.errors import PolicyError

CATALOG = """\
routewright: 1
backends:
  mlx: { kind: mlx }
models:
  small: { backend: mlx, capabilities: [vision] }
  large: { backend: mlx }
"""

FIVE = """\
routewright: 1
name: five_mistakes
catalog: catalog.yaml

features:
  requires_moe: { type: boolean, default: false }
  context_length: { type: integer, minimum: 0, from: request.prompt_token }

rules:
  - name: large_work
    when: requires_moe || context_lenght > 100000
    use: [lagre]
  - name: cloud_work
    when: !requires_moe
    use: [small]
    fallback: everything
"""


def report(policy: str, catalog: str | None) -> str:
    source = None if catalog is None else read_catalog(catalog, "policies/catalog.yaml")
    with pytest.raises(PolicyError) as raised:
        compile_policy(read_policy(policy, "policies/p.yaml"), source)
    return str(raised.value)


def test_five_mistakes_are_five_problems(snapshot: SnapshotAssertion) -> None:
    text = report(FIVE, CATALOG)
    assert text.count("error[") == 5
    assert text == snapshot


def test_the_problems_of_both_files_are_reported_by_file_and_place(snapshot: SnapshotAssertion) -> None:
    catalog = CATALOG.replace("kind: mlx }", "kind: mxl, hots: localhost }")
    assert report(FIVE, catalog) == snapshot


def test_a_catalog_that_is_not_yaml_does_not_hide_the_policys_problems(snapshot: SnapshotAssertion) -> None:
    assert report(FIVE, "routewright: 1\nmodels: [\n") == snapshot


def test_a_catalog_that_is_not_there_is_a_problem_of_the_policy() -> None:
    text = report("routewright: 1\nname: p\ncatalog: nowhere.yaml\nrules: [{ name: r, use: [a] }]\n", None)
    assert text == (
        "policies/p.yaml:3:10: error[missing-catalog]: the catalog `nowhere.yaml` could not be read\n"
        "  | catalog: nowhere.yaml\n"
        "  |          ^^^^^^^^^^^^"
    )


def test_what_a_broken_catalog_leaves_in_doubt_is_not_reported() -> None:
    catalog = CATALOG.replace("  large: { backend: mlx }", "  large: { backend: mlx, context_length: many }")
    policy = "routewright: 1\nname: p\ncatalog: c\nrules: [{ name: r, use: [large, unheard_of] }]\n"
    assert report(policy, catalog).count("error[") == 1
    # Where the models are in no doubt, the policy's names of them are checked.
    catalog = CATALOG.replace("kind: mlx }", "kind: mlx, concurrency: 0 }")
    assert "unheard_of" in report(policy, catalog)


def test_a_test_file_is_checked_beyond_its_shape(snapshot: SnapshotAssertion) -> None:
    text = """\
routewright: 1
policy: p.yaml
cases:
  - name: first
    task: { features: { urgent: true, team: } }
    expect: { rule: r, every: !model.location == 'local' }
  - name: first
    task: { prompt_tokens: -1, pinn: small }
    expect: {}
  - name: second
    expect: { target: , outcome: rooted }
"""
    with pytest.raises(PolicyError) as raised:
        read_tests(text, "p.test.yaml")
    assert str(raised.value) == snapshot
