"""Every case under ``tests/cases`` holds: one folder for each gate and rule of meaning."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.case_runner import differences, load_cases

from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.shapes.testfile import Case

_CASES = [
    pytest.param(policy, case, id=f"{file.parent.name}: {case.name}")
    for file in sorted((Path(__file__).parents[2] / "cases").glob("*/tests.yaml"))
    for policy, cases in [load_cases(file)]
    for case in cases
]


@pytest.mark.parametrize(("policy", "case"), _CASES)
def test_case_holds(policy: CompiledPolicy, case: Case) -> None:
    assert differences(policy, case) == []
