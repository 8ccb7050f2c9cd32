"""What a model does not take of a request is left out: by the catalog, or once its server has refused it."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any, get_args

import pytest
from support.executing_parts import target, targets
from support.scripted_http import ScriptedHttp, reply

from routewright.backends import BackendError, ChatRequest, Message
from routewright.backends.control import QuotaLimit, StateStore
from routewright.backends.executing import Execution, Executor, Step, TaskLimits, Work
from routewright.backends.openai.backend import OpenAIBackend
from routewright.backends.openai.parameters import PARAMETERS, Parameters, refused_parameter
from routewright.backends.openai.request import is_genuine
from routewright.engine.policy.shapes.catalog import UnsupportedParameter

ONE_REQUEST = QuotaLimit("q", "requests", 1, 0, "day")
ASK = ChatRequest((Message("user", "Hello?"),), temperature=0.0, max_output_tokens=9)
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "set the temperature"}],
    "temperature": 0,
    "top_p": 1,
    "seed": 1,
    "max_tokens": 5,
    "stream_options": {},
    "reasoning_effort": "low",
    "chat_template_kwargs": {},
}

REFUSALS = {
    # OpenAI and Azure, reasoning models
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.": (
        "max_tokens"
    ),
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.": (
        "temperature"
    ),
    # Anthropic
    "`temperature` is deprecated for this model.": "temperature",
    # xAI
    "Model grok-4 does not support parameter reasoningEffort.": "reasoning_effort",
    # Google
    'Invalid JSON payload received. Unknown name "seed": Cannot find field.': "seed",
    # Groq
    "property 'chat_template_kwargs' is unsupported": "chat_template_kwargs",
    "`reasoning_effort` is not supported with this model": "reasoning_effort",
    # Mistral, and others that check bodies with pydantic
    '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}': (
        "seed"
    ),
    # LiteLLM
    "litellm.UnsupportedParamsError: m does not support parameters: ['top_p'], for model=m": "top_p",
    # What is about something else.
    "Unsupported parameter: 'stop' is not supported with this model.": None,
    "max_tokens is too large: 100000. This model supports at most 4096 completion tokens": None,
    "temperature must be between 0 and 2": None,
    "temperature: values above 2 are not allowed": None,
    "max_tokens (100000) is not allowed to exceed 8192": None,
    "Unsupported parameter: 'echo'. Supported parameters: temperature, top_p, max_tokens.": None,
    "`stop` is not supported. Use `seed` instead.": None,
    "Image input is not supported. Request: model=m, temperature=0": None,
    "This model's maximum context length is 8192 tokens": None,
}


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_refused_parameter_is_found_in_the_words_of_servers(refusal: str) -> None:
    assert refused_parameter(BODY, refusal) == REFUSALS[refusal]
    escaped = json.dumps({"error": {"message": refusal}})
    assert refused_parameter(BODY, escaped) == REFUSALS[refusal]
    if (name := REFUSALS[refusal]) is not None:
        assert refused_parameter({key: BODY[key] for key in BODY if key != name}, refusal) is None


@pytest.mark.parametrize("said", ["temperature is not supported", 'no "max_tokens", which is unsupported'])
def test_a_prompt_that_the_server_repeats_refuses_nothing(said: str) -> None:
    body = {**BODY, "messages": [{"role": "user", "content": f"Say: {said}, please"}]}
    for refusal in (
        f"cannot read `{said}`",
        json.dumps({"detail": [{"msg": "bad", "input": body["messages"]}]}),
    ):
        assert refused_parameter(body, refusal) is None
        assert refused_parameter(body, json.dumps({"error": {"message": refusal}})) is None
        assert refused_parameter(BODY, refusal) is not None


def test_every_parameter_can_be_declared_and_only_a_name_of_the_limit_is_changed() -> None:
    assert get_args(UnsupportedParameter) == PARAMETERS
    for name in PARAMETERS:
        body = {**BODY, name: BODY.get(name, 7)}
        Parameters({"m": [name]}).fit("m", body)
        assert name not in body
    body = dict(BODY)
    Parameters({"m": ["max_tokens"]}).fit("m", body)
    assert body["max_completion_tokens"] == 5
    Parameters({"other": PARAMETERS}).fit("m", body := dict(BODY))
    assert body == BODY


def test_a_limit_in_tokens_is_never_lost_by_learning() -> None:
    parameters = Parameters({})
    assert parameters.learn("m", {"max_tokens": 5}, 400, "unsupported: max_tokens") == "max_tokens"
    assert (
        parameters.learn("m", {"max_completion_tokens": 5}, 400, "unsupported: max_completion_tokens") is None
    )
    assert parameters.learn("m", {"seed": 5}, 500, "unsupported: seed") is None


@pytest.mark.parametrize(
    ("host", "genuine"),
    [
        ("api.openai.com", True),
        ("eu.api.openai.com", True),
        ("me.openai.azure.com", True),
        ("me.services.ai.azure.com", True),
        ("api.openai.com.example.org", False),
        ("notapi.openai.com", False),
        ("openrouter.ai", False),
    ],
)
def test_regional_hosts_and_azure_speak_as_openai_does(host: str, genuine: bool) -> None:
    assert is_genuine(host) is genuine


def refusal(name: str) -> tuple[int, dict[str, Any]]:
    said = f"Unsupported parameter: '{name}' is not supported with this model."
    return 400, {"error": {"message": said, "type": "invalid_request_error", "param": name}}


def answer(text: str) -> tuple[int, dict[str, Any]]:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return 200, {"model": "m", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}


def carry_out(
    work: Work, *said: tuple[int, dict[str, Any]], **declared: Any
) -> tuple[list[Execution], list[Any]]:
    """Two requests after one another, and the bodies that the server got."""

    async def main() -> tuple[list[Execution], list[Any]]:
        async with ScriptedHttp(*(reply(status, body) for status, body in said)) as server:
            backend = OpenAIBackend(f"{server.url}/v1", **declared)
            try:
                executor = Executor({"b": backend}, clock=lambda: 0)
                ran = [await executor.run(work, ASK) for _ in range(2)]
            finally:
                await backend.close()
            return ran, [received.body for received in server.requests]

    return asyncio.run(main())


def test_what_a_model_does_not_take_is_learned_from_one_refusal(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "routewright"):
        (first, second), bodies = carry_out(
            Work(targets("a")), refusal("temperature"), refusal("max_tokens"), answer("hello")
        )
    assert [(a.role, a.status, a.error_class, a.cost_nano) for a in first.attempts] == [
        ("answer", "failed", "invalid_request", 0),
        ("retry", "failed", "invalid_request", 0),
        ("retry", "ok", None, first.attempts[2].cost_nano),
    ]
    assert [a.reason for a in first.attempts] == [
        None,
        "without `temperature`, which the model does not take",
        "without `max_tokens`, which the model does not take",
    ]
    assert [a.status for a in second.attempts] == ["ok"], "learned once"
    assert [sorted(set(body) - {"model", "messages"}) for body in bodies] == [
        ["max_tokens", "temperature"],
        ["max_tokens"],
        ["max_completion_tokens"],
        ["max_completion_tokens"],
    ]
    assert "`unsupported: [temperature]`" in caplog.text


def test_what_the_catalog_says_saves_the_refused_call() -> None:
    (first, _), bodies = carry_out(
        Work(targets("a")), answer("hello"), unsupported={"a": ["temperature", "max_tokens"]}
    )
    assert len(first.attempts) == 1
    assert set(bodies[0]) == {"model", "messages", "max_completion_tokens"}


def test_a_judging_step_is_not_lost_to_a_parameter() -> None:
    work = Work(targets("a"), (Step("verify", targets("v")[0]),))
    (first, _), _ = carry_out(work, answer("hello"), refusal("temperature"), answer("ACCEPT"))
    assert [report.outcome for report in first.steps] == ["accepted"]


def test_a_quota_without_room_for_the_same_call_leaves_the_refusal(tmp_path: Path) -> None:
    async def main(store: StateStore) -> Execution:
        async with ScriptedHttp(reply(*refusal("temperature"))) as server:
            backend = OpenAIBackend(server.url)
            executor = Executor({"b": backend}, clock=lambda: 0, store=store)
            ran = await executor.run(Work((target("a", quotas=(ONE_REQUEST,)),)), ASK)
            await backend.close()
            return ran

    store = StateStore(tmp_path / "state.sqlite")
    ran = asyncio.run(main(store))
    store.close()
    assert [(one.status, one.error_class) for one in ran.attempts] == [
        ("failed", "invalid_request"),
        ("skipped", None),
    ]
    assert ran.error is not None and ran.error.error_class == "invalid_request"


def test_the_same_call_is_made_again_only_within_the_cap_on_calls() -> None:
    work = Work(targets("a"), limits=TaskLimits(max_attempts=1))
    (first, _), _ = carry_out(work, refusal("temperature"), answer("hello"))
    assert isinstance(first.error, BackendError) and first.error.adjusted == "temperature"
    assert len(first.attempts) == 1
