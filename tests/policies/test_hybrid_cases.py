"""Every case of the shipped policy's test file holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from case_runner import differences, load_cases

from routewright.engine.policy.testfile import Case

_FILE = Path(__file__).parents[2] / "policies" / "hybrid.test.yaml"
_POLICY, _CASES = load_cases(_FILE)


@pytest.mark.parametrize("case", _CASES, ids=[case.name for case in _CASES])
def test_case_of_the_shipped_policy_holds(case: Case) -> None:
    assert differences(_POLICY, case) == []


def test_every_rule_of_the_shipped_policy_is_the_expected_one_of_some_case() -> None:
    expected = {case.expect.rule for case in _CASES}
    assert {rule.name for rule in _POLICY.rules} - expected == set()
