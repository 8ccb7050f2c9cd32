"""Runs files of policy cases (``NAME.test.yaml``): the shipped ones, those under ``tests/cases``, as a program any."""

from __future__ import annotations

import sys
from pathlib import Path

from routewright.engine.condition import check_expr, evaluate_reference, parse_condition
from routewright.engine.decision.deciding import decide
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.shapes.testfile import Case
from routewright.engine.record.fields import DecisionRecord
from routewright.engine.record.record import record_of
from routewright.engine.report.errors import PolicyError
from routewright.loading.loading import load_tests
from routewright.tasks import state_from, task_from

AT_US = 1_767_225_600_000_000
"""1 January 2026, midnight UTC: the time of cases that give none."""


def load_cases(path: Path) -> tuple[CompiledPolicy, list[Case]]:
    """The policy that a test file is for, and its cases."""
    # Folders of cases share a catalog beside them.
    tests, policy = load_tests(path, root=path.parent.parent)
    return policy, list(tests.cases)


def decide_case(policy: CompiledPolicy, case: Case) -> DecisionRecord:
    """The record of a case's decision."""
    state = state_from(case.state, policy, at_us=AT_US)
    return record_of(decide(policy, task_from(case.task), state, decision_id="case", strict=True))


def differences(policy: CompiledPolicy, case: Case) -> list[str]:
    """What of ``case.expect`` does not hold, in words; empty when all does."""
    record, expect = decide_case(policy, case), case.expect
    found: list[str] = []

    def compare(what: str, expected: object, actual: object) -> None:
        if expected != actual:
            found.append(f"{what}: expected {expected!r}, got {actual!r}")

    def model_id(name: str) -> str:
        model = policy.catalog.find(name)
        assert model is not None, f"the case names an unknown model {name!r}"
        return model.id

    plan = record.plan
    if expect.outcome is not None:
        compare("outcome", expect.outcome, record.outcome)
    if expect.rule is not None:
        compare("rule", expect.rule, record.rule)
    if expect.target is not None:
        compare("target", model_id(expect.target), record.target)
    if expect.fallbacks is not None:
        compare("fallbacks", [model_id(name) for name in expect.fallbacks], plan.fallbacks if plan else None)
    if expect.steps is not None:
        said = [step.replace(" ", "").split(":", 1) for step in expect.steps]
        steps = [f"{role}: {model_id(name)}" for role, name in said]
        compare("steps", steps, [f"{s.role}: {s.model}" for s in plan.steps] if plan else None)
    if expect.ensemble is not None:
        members = plan.ensemble.members if plan and plan.ensemble else None
        compare("ensemble", [model_id(name) for name in expect.ensemble], members)
    for name, gate in (expect.excluded or {}).items():
        gates: dict[str, str | None] = {c.model: c.gate for c in record.candidates}
        gates.update({d.model: d.gate for d in (plan.dropped if plan else ())})
        compare(f"gate of {name}", gate, gates.get(model_id(name), "not a candidate"))
    if expect.every is not None:
        condition = check_expr(parse_condition(expect.every), policy.catalog.scope)
        for name in planned_models(record):
            model = policy.catalog.find(name)
            assert model is not None
            compare(f"every, of {name}", True, evaluate_reference(condition, model.facts))
    return found


def planned_models(record: DecisionRecord) -> list[str]:
    """Every model that the plan may call, in any role."""
    plan = record.plan
    if plan is None:
        return []
    models = [plan.target, *plan.fallbacks, *(step.model for step in plan.steps)]
    if plan.ensemble is not None:
        models += [*plan.ensemble.members, *filter(None, (plan.ensemble.judge, plan.ensemble.override))]
    return models


def main(paths: list[str]) -> int:
    """Run the cases of files, and say what does not hold; 1 where something does not."""
    failed = 0
    for path in paths:
        try:
            policy, cases = load_cases(Path(path))
        except PolicyError as error:
            print(error)
            failed += 1
            continue
        found = [(case.name, said) for case in cases if (said := differences(policy, case))]
        for name, said in found:
            print(f"{path}: {name}")
            print("".join(f"  {line}\n" for line in said), end="")
        print(f"{path}: {len(cases) - len(found)} of {len(cases)} cases hold")
        failed += len(found)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
