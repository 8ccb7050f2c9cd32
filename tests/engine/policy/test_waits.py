"""Limits on time that hold where a policy writes none: which, for which model, and that no digest knows them."""

from __future__ import annotations

import pytest
from support.policy_texts import HEAD, compiled

from routewright.engine.decision import State, Task, decide
from routewright.engine.explain import record_tree
from routewright.engine.policy import (
    DEFAULT_DEADLINE_MS,
    DEFAULT_TIMEOUTS,
    CompiledPolicy,
    default_waits,
    waits_by_default,
)
from routewright.engine.record import record_of
from routewright.engine.report import render_tree

ALL = {phase: wait.ms for phase, wait in DEFAULT_TIMEOUTS.items()} | {"deadline": DEFAULT_DEADLINE_MS}


def policy(timeouts: str = "{}", controls: str = "[]") -> CompiledPolicy:
    head = HEAD.replace("{ kind: mlx }", f"{{ kind: mlx, timeouts: {timeouts} }}")
    return compiled(
        f"{head}rules: [{{ name: all, use: [small], fallback: [large] }}]\ncontrols: {controls}\n"
    )


@pytest.mark.parametrize(
    ("written", "missing"),
    [
        (policy(), ()),
        (policy("{ connect: 1s, idle: 1s, total: 1s }"), ("connect", "idle", "total")),
        (policy("{ load: 1s, queue: 1s }"), ("load",)),
        # Where the first token is limited, no default for loading makes that longer.
        (policy("{ first_token: 1s }"), ("first_token", "load")),
        (policy(controls="[{ name: c, first_token_within: 1s }]"), ("first_token", "load")),
        (policy(controls="[{ name: c, deadline: 1s }]"), ("deadline",)),
    ],
    ids=["nothing", "three", "load", "first token", "first token within", "deadline"],
)
def test_what_is_written_has_no_default(written: CompiledPolicy, missing: tuple[str, ...]) -> None:
    assert default_waits(written, 0) == {name: ms for name, ms in ALL.items() if name not in missing}


def test_a_model_of_a_cloud_is_not_loaded() -> None:
    assert "load" not in default_waits(policy(), 1) and "load" in waits_by_default(policy())


def test_a_default_that_is_written_out_is_another_policy() -> None:
    assert policy("{ total: 15m }").digest != policy().digest
    assert policy(controls="[{ name: c, deadline: 20m }]").digest != policy().digest


def test_a_record_marks_what_is_a_default() -> None:
    decision = decide(
        policy("{ connect: 1s }"), Task(), State(at_us=0), decision_id="01890a5d-ac96-774b-bcce-b302099a8057"
    )
    record = record_of(decision)
    assert record.plan is not None and record.plan.timeouts == {"connect_ms": 1_000}
    assert record.plan.defaults == {f"{name}_ms": ms for name, ms in ALL.items() if name != "connect"}
    line = "limits: connect 1s; by default load 10m, first_token 2m, idle 2m, total 15m, deadline 20m"
    assert line in render_tree(record_tree(record))
