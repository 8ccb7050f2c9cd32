"""Arguments of other types are refused in words, wherever Python lets them in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from routewright import ModelGateway, RoutewrightError, State, Task, decide, explain, record_of
from routewright.engine.policy import CompiledPolicy, compile_policy, read_policy

POLICY = """\
routewright: 1
name: p
catalog: { routewright: 1, backends: { b: { kind: simulated } }, models: { m: { backend: b } } }
rules: [{ name: all, use: [m] }]
"""
HELD = "what `ModelGateway.decide` and `run` return holds it as `.decision`"


def compiled() -> CompiledPolicy:
    return compile_policy(read_policy(POLICY, "p.yaml"))


def gateway_result(policy: CompiledPolicy) -> Any:
    with ModelGateway(policy) as gateway:
        return gateway.decide(Task())


@pytest.mark.parametrize(
    ("call", "message", "help"),
    [
        (
            lambda p: decide(p, {"urgent": True}, State(0), decision_id="d"),  # type: ignore[arg-type]
            "a task is a Task, not dict",
            'write `Task({"name": value})`, with the features by name',
        ),
        (
            lambda p: decide(p, Task(), None, decision_id="d"),  # type: ignore[arg-type]
            "a state is a State, not NoneType",
            "write `State(at_us)`",
        ),
        (
            lambda p: decide("p.yaml", Task(), State(0), decision_id="d"),  # type: ignore[arg-type]
            "a policy is what `load_policy` returns, not str",
            None,
        ),
        (lambda p: record_of(gateway_result(p)), "expected a Decision, not DecisionResult", HELD),
        (
            lambda p: explain(p, gateway_result(p)),
            "expected a Decision or a DecisionRecord, not DecisionResult",
            HELD,
        ),
    ],
)
def test_another_type_is_refused_in_words(
    call: Callable[[CompiledPolicy], object], message: str, help: str | None
) -> None:
    with pytest.raises(RoutewrightError) as refused:
        call(compiled())
    assert (str(refused.value), refused.value.help) == (message, help)
