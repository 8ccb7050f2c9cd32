"""How long a prompt is, and how anybody knows: counted, estimated or stated, and the record says which."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.fault_parts import write_policy

from routewright import (
    ChatRequest,
    EmbedRequest,
    Message,
    ModelGateway,
    RequestFacts,
    RerankRequest,
    StateStore,
    Task,
)
from routewright.backends import tokens
from routewright.backends.executing import Request
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.shapes.tokenizers import Encoding
from routewright.tasks.facts import COUNTED_AT_ONCE, described, encoding_of

HELLO = ChatRequest((Message("user", "Hello there, how are you?"),))


def policy_of(
    folder: Path, controls: Sequence[dict[str, Any]] = (), /, **models: dict[str, Any]
) -> CompiledPolicy:
    values = {
        "routewright": 1,
        "name": "lengths",
        "catalog": {
            "routewright": 1,
            "backends": {"one": {"kind": "simulated"}},
            "models": {id: {"backend": "one", **model} for id, model in models.items()},
        },
        "rules": [{"name": "all", "use": list(models)}],
        "controls": list(controls),
    }
    return write_policy(values, folder)


def facts_of(
    policy: CompiledPolicy, task: Task, request: Request
) -> tuple[int | None, str | None, str | None]:
    facts = asyncio.run(described(task, request, policy)).request
    return facts.prompt_tokens, facts.prompt_tokens_source, facts.tokenizer


def test_a_prompt_is_counted_with_the_tokenizer_of_most_models(tmp_path: Path) -> None:
    pytest.importorskip("quicktok")
    policy = policy_of(
        tmp_path,
        glm={"tag": "glm-4.6"},
        llama={"tag": "llama3.2:3b"},
        coder={"tag": "qwen3-coder:30b"},
        named={"tokenizer": "qwen3"},
        off={"tag": "llama3.1:8b", "disabled": True},
        words={"tag": "llama3.1-embed", "operations": ["embed"]},
    )
    assert facts_of(policy, Task(), HELLO) == (15, "counted", "qwen3")
    # That of a pinned model, and what is known of none is estimated.
    assert facts_of(policy, Task(pin="llama"), HELLO) == (17, "counted", "llama3")
    assert facts_of(policy, Task(pin="glm"), HELLO) == (15, "estimated", None)
    assert facts_of(policy, Task(operation="embed"), EmbedRequest(("Hello there", "Hello"))) == (
        *(2, "counted"),
        "llama3",
    )
    assert facts_of(policy, Task(operation="rerank"), RerankRequest("12345678", ("1234", ""))) == (
        *(3, "estimated"),
        None,
    )
    # Whoever states it has counted it.
    assert facts_of(policy, Task(request=RequestFacts(prompt_tokens=9)), HELLO) == (9, "stated", None)


def test_without_the_package_every_length_is_an_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens._tokenizer.cache_clear()
    monkeypatch.setattr(tokens, "find_spec", lambda name: None)
    assert facts_of(policy_of(tmp_path, a={"tag": "gpt-4o"}), Task(), HELLO) == (14, "estimated", None)
    tokens._tokenizer.cache_clear()


def test_what_a_model_stands_in_for_does_not_tell_its_tokenizer(tmp_path: Path) -> None:
    models = {"gpt-4o": {"tag": "smollm2", "stands_in_for": "openai:gpt-4o"}}
    assert encoding_of(policy_of(tmp_path, **models), "chat", None) is None


def test_of_equally_common_tokenizers_the_order_of_the_catalog_chooses_none(tmp_path: Path) -> None:
    models = {"a": {"tokenizer": "qwen3"}, "b": {"tokenizer": "llama3"}}
    for order in (["a", "b"], ["b", "a"]):
        policy = policy_of(tmp_path, **{id: models[id] for id in order})
        assert encoding_of(policy, "chat", None) == "llama3"


def test_the_record_says_how_a_length_is_known_and_the_gate_goes_by_it(tmp_path: Path) -> None:
    pytest.importorskip("quicktok")
    policy = policy_of(
        tmp_path,
        tiny={"tag": "qwen3:0.6b", "context_length": 14},
        near={"tag": "glm-4.6", "context_length": 14},
        last={"tag": "qwen3-coder:30b", "context_length": 15},
    )
    with ModelGateway(policy) as gateway:
        decision = gateway.run_sync(Task(), HELLO).decision
    assert decision.task.request.prompt_tokens_source == "counted"
    found = {
        policy.catalog.models[c.model].id: (
            None if c.failure is None else c.failure.gate,
            "context_unverified" in c.marks,
        )
        for c in decision.candidates
    }
    # By its own tokenizer 15 tokens are too many for 14; what they are to another model nobody knows.
    assert found == {"tiny": ("context_window", False), "near": (None, True), "last": (None, False)}


@pytest.mark.parametrize(
    "control", [{"max_tokens": 100, "per": "day"}, {"max_cost": "0.0001 USD", "per": "request"}]
)
@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("embed", EmbedRequest(("a text of a few tokens",) * 50)),
        ("rerank", RerankRequest("a query", ("a text of a few tokens",) * 50)),
    ],
)
@pytest.mark.parametrize("stated", [None, 6])
def test_many_texts_reserve_what_they_all_may_take_although_the_longest_is_counted(
    tmp_path: Path, control: dict[str, Any], operation: Any, request_: Request, stated: int | None
) -> None:
    pytest.importorskip("quicktok")
    price = {"input": 1, "output": 1}
    model = {"operations": [operation], "tokenizer": "qwen3", "price": price, "embedding_space": "s"}
    policy = policy_of(tmp_path, [{"name": "limit", **control}], words=model)
    task = Task(operation=operation, request=RequestFacts(prompt_tokens=stated))
    with ModelGateway(policy, store=StateStore(tmp_path / "state.db")) as gateway:
        ran = gateway.run_sync(task, request_)
    assert ran.decision.target == "words" and ran.execution is not None
    assert [attempt.status for attempt in ran.execution.attempts] == ["skipped"]


def test_a_long_prompt_does_not_keep_the_event_loop_from_other_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(tmp_path, coder={"tag": "qwen3-coder:30b"})
    asyncio.run(described(Task(), HELLO, policy))
    counted_by: list[threading.Thread] = []
    real = tokens._tokenizer

    def noting(encoding: Encoding) -> object:
        counted_by.append(threading.current_thread())
        return real(encoding)

    monkeypatch.setattr(tokens, "_tokenizer", noting)
    for size in (COUNTED_AT_ONCE, COUNTED_AT_ONCE + 1):
        asyncio.run(described(Task(), ChatRequest((Message("user", "x" * size),)), policy))
    assert [thread is threading.main_thread() for thread in counted_by] == [True, False]
