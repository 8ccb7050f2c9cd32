"""Every case of the shipped policy's test file holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.case_runner import differences, load_cases, main

from routewright.engine.policy.shapes.testfile import Case

_FILE = Path(__file__).parents[2] / "policies" / "hybrid.test.yaml"
_POLICY, _CASES = load_cases(_FILE)


@pytest.mark.parametrize("case", _CASES, ids=[case.name for case in _CASES])
def test_case_of_the_shipped_policy_holds(case: Case) -> None:
    assert differences(_POLICY, case) == []


def test_every_rule_of_the_shipped_policy_is_the_expected_one_of_some_case() -> None:
    expected = {case.expect.rule for case in _CASES}
    assert {rule.name for rule in _POLICY.rules} - expected == set()


def test_as_a_program_the_runner_names_what_does_not_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "policy.yaml").write_text(
        "routewright: 1\nname: p\ncatalog: { routewright: 1, backends: { b: { kind: mlx } }, "
        "models: { small: { backend: b }, large: { backend: b } } }\nrules: [{ name: all, use: [small] }]\n"
    )
    cases = tmp_path / "policy.test.yaml"
    first = "routewright: 1\npolicy: policy.yaml\ncases:\n  - { name: a, expect: { target: small } }\n"
    cases.write_text(first)
    assert main([str(cases)]) == 0
    assert capsys.readouterr().out == f"{cases}: 1 of 1 cases hold\n"
    cases.write_text(first + "  - { name: b, expect: { target: large } }\n")
    assert main([str(cases), str(tmp_path / "none.yaml")]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [
        f"{cases}: b",
        "  target: expected 'large', got 'small'",
        f"{cases}: 1 of 2 cases hold",
    ]
    assert said[3].endswith("error[unreadable-file]: cannot read the file: no such file or directory")
