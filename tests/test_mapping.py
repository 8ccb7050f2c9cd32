"""Stand-ins: names are kept, where they run is told, and records can be made again from what is stored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.new_ledgers import new_ledger
from support.records import record_bytes

from routewright import (
    ChatRequest,
    Message,
    ModelGateway,
    Permissions,
    PolicyError,
    Task,
    TaskError,
    load_policy,
)
from routewright.backends import UnopenedBackend
from routewright.backends.llamacpp.backend import LlamaCppBackend
from routewright.backends.llamacpp.process import GgufModel
from routewright.backends.mlx.backend import MlxBackend
from routewright.engine.decision.deciding import decide
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.gateway.opening import open_backends, simulated_backends
from routewright.loading.loading import shipped
from routewright.loading.mapping import parse_maps

HYBRID = shipped("hybrid.yaml")
EVERYTHING = {"*": "llamacpp:smollm2"}


def test_a_stand_in_answers_to_every_name_of_the_model() -> None:
    plain, mapped = load_policy(HYBRID), load_policy(HYBRID, maps=EVERYTHING)
    assert [model.id for model in mapped.catalog.models] == [model.id for model in plain.catalog.models]
    for name in ("kimi-k2-cloud", "cloud:kimi-k2:1t-cloud", "qwen3-coder-480b"):
        found = mapped.catalog.find(name)
        assert found is not None and found.shape.stands_in_for is not None
        assert (found.backend, found.tag, found.location) == ("llamacpp", "smollm2", "local")
    assert mapped.catalog.digest != plain.catalog.digest
    assert mapped.digest == load_policy(HYBRID, maps=EVERYTHING).digest


def test_one_model_alone_is_mapped() -> None:
    mapped = load_policy(HYBRID, maps={"kimi-k2-cloud": "ollama:smollm2:135m"})
    kimi, glm = mapped.catalog.find("kimi-k2-cloud"), mapped.catalog.find("glm-4.5")
    assert kimi is not None and (kimi.backend, kimi.tag, kimi.location) == ("ollama", "smollm2:135m", "local")
    assert glm is not None and glm.shape.stands_in_for is None


def test_a_model_that_is_mapped_onto_itself_stays_what_it_is() -> None:
    plain = load_policy(HYBRID).catalog.find("qwen3-coder")
    mapped = load_policy(HYBRID, maps=EVERYTHING | {"qwen3-coder": "ollama:qwen3-coder:30b"}).catalog
    same = mapped.find("qwen3-coder")
    assert plain is not None and same is not None
    assert (same.shape, same.facts) == (plain.shape, plain.facts)


def test_another_host_decides_where_a_model_runs() -> None:
    there = load_policy(
        HYBRID, declared={"ollama": {"host": "http://models.example.org:11434"}}
    ).catalog.find("gemma3n")
    assert there is not None and there.location == "cloud"


def test_private_work_does_not_go_to_a_stand_in() -> None:
    decision = ModelGateway(load_policy(HYBRID, maps=EVERYTHING)).decide(Task({"privacy_required": True}))
    assert decision.decision.outcome == "no_target"


def test_a_record_is_made_again_from_what_the_ledger_holds(tmp_path: Path) -> None:
    policy = load_policy(HYBRID, maps=EVERYTHING)
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    gateway = ModelGateway(policy, backends=simulated_backends(policy), ledger=ledger)
    ran = gateway.run_sync(Task({"general_reasoning": True}), ChatRequest((Message("user", "hello"),)))
    texts = {str(kind): str(text) for kind, text in ledger.query("SELECT kind, text FROM policies").rows}
    again = compile_policy(read_policy(texts["policy"], "p"), read_catalog(texts["catalog"], "c"))
    assert (again.digest, again.catalog.digest) == (policy.digest, policy.catalog.digest)
    first = ran.decision
    second = decide(again, first.task, first.state, decision_id=first.id)
    assert record_bytes(second) == record_bytes(first)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["kimi-k2-cloud"], "`kimi-k2-cloud` is not a mapping"),
        (["kimi-k2-cloud=smollm2"], "`kimi-k2-cloud=smollm2` is not a mapping"),
        (["kimi-k2-cloud=llamacpp:"], "`kimi-k2-cloud=llamacpp:` is not a mapping"),
        (["=llamacpp:smollm2"], "`=llamacpp:smollm2` is not a mapping"),
        (["a=llamacpp:x", "a=llamacpp:y"], "`a` is mapped twice"),
        (["kimi-k3=llamacpp:smollm2"], "`kimi-k3` names no model to map"),
        (["kimi-k2-cloud=lamacpp:smollm2"], "`lamacpp:smollm2` names no backend"),
    ],
)
def test_a_mapping_of_what_there_is_not_is_refused(flags: list[str], message: str) -> None:
    with pytest.raises(TaskError) as caught:
        load_policy(HYBRID, maps=parse_maps(flags))
    assert str(caught.value) == message
    assert message.endswith("twice") or caught.value.help


def test_a_model_of_the_catalog_stands_in_as_the_catalog_has_it(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(OF_ITS_OWN)
    large = load_policy(path, maps={"large": "here:own"}).catalog.find("large")
    assert large is not None
    shape = large.shape
    assert (shape.path, large.context_length, shape.max_output_tokens) == ("/own.gguf", 2048, None)
    dear = load_policy(path, maps={"own": "away:large"}).catalog.find("own")
    assert dear is not None and dear.shape.price is not None
    assert (dear.shape.price.output, dear.context_length, dear.location) == (6, 200000, "cloud")


def test_a_stand_in_without_a_price_is_of_unknown_cost_where_the_catalog_declares_it(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(OF_ITS_OWN)
    for maps, price in (("here:own", None), ("llamacpp:smollm2", 0)):
        model = load_policy(path, maps={"large": maps}).catalog.find("large")
        assert model is not None
        assert (None if model.shape.price is None else model.shape.price.output) == price


def test_a_stand_in_keeps_every_fact_that_the_catalog_has_of_it(tmp_path: Path) -> None:
    facts = {
        "source": "hub/own",
        "architecture": "dense",
        "total_parameters": "8B",
        "active_parameters": "8B",
        "quantization": "Q4_K_M",
        "tokenizer": "o200k_base",
        "memory_gb": 6,
        "size_bytes": 5_000_000_000,
        "expected_latency": "2s",
        "think": False,
        "unsupported": ["temperature"],
        "max_output_tokens": 512,
    }
    path = tmp_path / "policy.yaml"
    declared = f"own: {{ backend: away, {json.dumps(facts)[1:-1]}, context"
    path.write_text(OF_ITS_OWN.replace("own: { backend: here, path: /own.gguf, context", declared))
    catalog = load_policy(path, maps={"large": "away:own"}).catalog
    large, own = catalog.find("large"), catalog.find("own")
    assert large is not None and own is not None
    differ = {
        name
        for name in type(own.shape).model_fields
        if getattr(large.shape, name) != getattr(own.shape, name)
    }
    assert differ == {"aliases", "tag", "stands_in_for"}
    assert {name for name in facts if getattr(own.shape, name) is None} == set()


OF_ITS_OWN = """\
routewright: 1
name: of_its_own
catalog:
  routewright: 1
  backends:
    here: { kind: llamacpp }
    away: { kind: openai, host: "https://models.example.org/v1" }
  models:
    own: { backend: here, path: /own.gguf, context_length: 2048 }
    large: { backend: away, context_length: 200000, price: { input: 2, output: 6 } }
rules:
  - { name: only, use: [own, large] }
"""


# --- opening -----------------------------------------------------------------------------------------------


KEYED = """\
routewright: 1
name: keyed
catalog:
  routewright: 1
  backends:
    there: { kind: openai, host: "https://models.example.org/v1", api_key: "${THERE_KEY}" }
    unused: { kind: openai, host: "https://other.example.org/v1", api_key: "${OTHER_KEY}" }
  models:
    one: { backend: there, tag: one }
rules:
  - { name: only, use: [one] }
"""


def test_a_missing_key_is_told_by_its_name_and_what_nobody_uses_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(KEYED)
    policy = load_policy(path)
    allowed = Permissions(keys={"THERE_KEY": "models.example.org"})
    there = open_backends(policy, environment={}, permissions=allowed)["there"]
    assert isinstance(there, UnopenedBackend)
    assert "`there` needs the environment variable `THERE_KEY`" in str(there.error)
    assert there.error.error_class == "unauthorized"
    opened = open_backends(policy, environment={"THERE_KEY": "s3cret"}, permissions=allowed)
    assert list(opened) == ["there"]


MEMORY = """\
routewright: 1
name: memory
catalog:
  routewright: 1
  backends:
    mlx: { kind: mlx, memory_gb: 1.5 }
    gguf: { kind: llamacpp, concurrency: 3, threads: 2 }
  models:
    large: { backend: mlx, memory_gb: 2, path: /nowhere }
    vectors: { backend: gguf, path: /v.gguf, operations: [embed], context_length: 512, pooling: last }
rules:
  - { name: only, use: [large] }
"""


def test_what_the_catalog_says_of_memory_threads_and_turns_binds(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(MEMORY)
    backends = open_backends(load_policy(path), environment={})
    mlx, gguf = backends["mlx"], backends["gguf"]
    assert isinstance(mlx, MlxBackend) and isinstance(gguf, LlamaCppBackend)
    assert mlx._pool._memory_bytes == 1_500_000_000
    assert gguf._models == {
        "vectors": GgufModel(Path("/v.gguf"), context_tokens=512, slots=3, threads=2, pooling="last")
    }


def test_the_embedded_model_opens_without_anything_set() -> None:
    policy = load_policy(HYBRID, maps=EVERYTHING)
    backends = open_backends(policy, environment={})
    assert isinstance(backends["llamacpp"], LlamaCppBackend)


def test_only_the_embedded_model_needs_no_file(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(OF_ITS_OWN.replace("path: /own.gguf", "tag: llama-3.3-70b"))
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    (problem,) = caught.value.problems
    assert problem.message == "the model `llama-3.3-70b` has no file"
    assert problem.help == "give it a `path`; only `smollm2-135m` (or `smollm2`) needs none"
    for tag in ("smollm2", "smollm2-135m"):
        path.write_text(OF_ITS_OWN.replace("path: /own.gguf", f"tag: {tag}"))
        assert isinstance(open_backends(load_policy(path), only=["here"])["here"], LlamaCppBackend)
