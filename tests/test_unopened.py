"""A backend that cannot be opened makes its own models ineligible, and no others."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from routewright import BackendError, Task
from routewright.backends import ChatRequest, Message, UnopenedBackend
from routewright.engine.decision import ModelState, State, decide
from routewright.engine.record import record_of
from routewright.gateway import ModelGateway, open_backends
from routewright.loading import Permissions, load_policy

POLICY = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends:
    far: { kind: openai, host: "https://lab.example.org/v1", api_key: "${ROUTEWRIGHT_TEST_KEY}" }
    near: { kind: simulated }
  models: { big: { backend: far }, small: { backend: near } }
rules:
  - { name: all, use: [big], fallback: [small] }
"""

ALLOWED = Permissions(keys={"ROUTEWRIGHT_TEST_KEY": "lab.example.org"})
REQUEST = ChatRequest((Message("user", "hello"),))
WHY = (
    "backend `far` needs the environment variable `ROUTEWRIGHT_TEST_KEY`, which is not set; "
    "set ROUTEWRIGHT_TEST_KEY, or take it out of the catalog"
)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("ROUTEWRIGHT_TEST_KEY", raising=False)
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)
    return file


def gateway_of(path: Path) -> ModelGateway:
    return ModelGateway.from_policy(path, permissions=ALLOWED)


def test_its_models_are_not_eligible_and_the_record_says_why(path: Path) -> None:
    with gateway_of(path) as gateway:
        decided = gateway.decide(Task())
        record = record_of(decided.decision)
        assert record.plan is not None and record.plan.target == "small"
        assert {c.model: (c.gate, c.detail) for c in record.candidates} == {
            "big": ("health", f"the model is unhealthy: {WHY}"),
            "small": (None, None),
        }
        assert record.state.models["big"].health_detail == WHY
        ran = gateway.run_sync(Task(), REQUEST)
        assert ran.execution is not None and ran.execution.answer is not None
        assert [attempt.model_id for attempt in ran.execution.attempts] == ["small"]


def test_a_call_of_it_says_nothing_of_the_server_that_others_may_call(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEWRIGHT_TEST_KEY", "k")
    state = tmp_path / "state.sqlite"
    with ModelGateway.from_policy(path, state=state, permissions=Permissions()) as gateway:
        # A caller who brings a state may choose what is not eligible.
        ran = gateway.run_sync(Task(pin="big"), REQUEST, state=State(0))
        assert ran.execution is not None and ran.execution.error is not None
        assert ran.execution.error.error_class == "unauthorized"
        assert [attempt.status for attempt in ran.execution.attempts] == ["failed"]
    with ModelGateway.from_policy(path, state=state, permissions=ALLOWED) as gateway:
        assert gateway.admin.breakers() == {}


def test_a_reload_finds_what_was_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with gateway_of(path) as gateway:
        assert gateway.reload_sync() is False, "it is still missing"
        assert isinstance(gateway.backends["far"], UnopenedBackend)
        monkeypatch.setenv("ROUTEWRIGHT_TEST_KEY", "k")
        assert gateway.reload_sync() is True
        assert not isinstance(gateway.backends["far"], UnopenedBackend)
        assert gateway.decide(Task()).decision.target == "big"
        assert gateway.reload_sync() is False


def test_a_reload_does_not_replace_what_works_by_what_cannot_be_opened(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROUTEWRIGHT_TEST_KEY", "k")
    with gateway_of(path) as gateway:
        before = gateway.backends["far"]
        monkeypatch.delenv("ROUTEWRIGHT_TEST_KEY")
        path.write_text(POLICY.replace("org/v1", "org/v2"))
        with pytest.raises(BackendError, match="ROUTEWRIGHT_TEST_KEY"):
            gateway.reload_sync()
        assert gateway.backends["far"] is before


def test_every_call_of_it_fails_with_its_reason_and_costs_nothing(path: Path) -> None:
    far = open_backends(load_policy(path), environment={}, permissions=ALLOWED)["far"]

    async def calls() -> list[BaseException]:
        async def stream() -> None:
            async for _ in far.stream("big", REQUEST):
                raise AssertionError("nothing comes")

        found = await asyncio.gather(far.chat("big", REQUEST), stream(), far.models(), return_exceptions=True)
        await far.close()
        return [one for one in found if isinstance(one, BaseException)]

    errors = asyncio.run(calls())
    assert len({id(error) for error in errors}) == 3
    for error in errors:
        assert isinstance(error, BackendError) and error.error_class == "unauthorized"
        assert f"{error}; {error.help}" == WHY
    assert asyncio.run(far.health()).healthy is False


def test_a_remembered_plan_tells_the_reason_of_this_call(path: Path) -> None:
    policy = load_policy(path)
    for why in ("one", "another", "one"):
        state = State(0, models={"big": ModelState("unhealthy", health_detail=why)})
        first = decide(policy, Task(), state, decision_id="d").candidates[0].failure
        again = decide(policy, Task(), state, decision_id="d")
        assert again.candidates[0].failure is not None and first is not None
        assert again.candidates[0].failure.recorded(again) == f"the model is unhealthy: {why}"
