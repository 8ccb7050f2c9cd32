"""Policies that use one state store share what is known of what they call, and count quotas each for itself."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import pytest

from routewright import ChatRequest, Message, ModelGateway, StateStore, Task, load_policy
from routewright.backends import Fault
from routewright.gateway.endpoints import endpoints_of
from routewright.gateway.opening import simulated_backends

HELLO = ChatRequest((Message("user", "hello"),))

POLICY = """\
routewright: 1
name: POLICY_NAME
catalog:
  routewright: 1
  backends:
    server: { kind: openai, host: "ADDRESS", api_key: "${VARIABLE}" }
    other: { kind: openai, host: "https://other.example/v1" }
  models:
    MAIN_ID: { backend: server, tag: TAG }
    priced: { backend: other, price: { input: 2, output: 6 } }
rules: [{ name: all, use: [MAIN_ID], fallback: [priced] }]
controls: [{ name: CONTROL, max_requests: 3, per: dayMORE }]
"""

PARTS = {
    "POLICY_NAME": "first",
    "ADDRESS": "https://models.example/v1",
    "VARIABLE": "LAB_KEY",
    "MAIN_ID": "main",
    "TAG": "large",
    "CONTROL": "calls",
    "MORE": "",
}
"""What is put in place of each word of POLICY."""

KEYS = {"LAB_KEY": "a secret", "SAME_KEY": "a secret", "OTHER_KEY": "another secret"}


def written(folder: Path, parts: Mapping[str, str]) -> Path:
    text = POLICY
    for name, value in {**PARTS, **parts}.items():
        text = text.replace(name, value)
    path = folder / "policy.yaml"
    path.write_text(text)
    return path


def gateway(
    folder: Path, parts: Mapping[str, str] = PARTS, faults: Mapping[str, list[Fault]] | None = None
) -> ModelGateway:
    policy = load_policy(written(folder, parts))
    return ModelGateway(
        policy, backends=simulated_backends(policy, faults=faults), store=StateStore(folder / "state.sqlite")
    )


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("error_class", ["unauthorized", "payment_required", "quota_exhausted"])
@pytest.mark.parametrize(
    ("parts", "shared"),
    [
        ({"POLICY_NAME": "second"}, True),
        ({"POLICY_NAME": "second", "MAIN_ID": "renamed"}, True),
        ({"POLICY_NAME": "second", "VARIABLE": "SAME_KEY"}, True),
        ({"ADDRESS": "https://elsewhere.example/v1"}, False),
        ({"TAG": "small"}, False),
        ({"VARIABLE": "OTHER_KEY"}, False),
        ({"VARIABLE": "NO_SUCH_KEY"}, False),
    ],
)
def test_a_breaker_belongs_to_what_is_called_and_its_credential(
    tmp_path: Path, error_class: Fault, parts: dict[str, str], shared: bool
) -> None:
    with gateway(tmp_path, faults={"main": [error_class]}) as first:
        first.run_sync(Task(), HELLO)
        assert set(first.admin.breakers()) == {"main"}
    model = parts.get("MAIN_ID", "main")
    with gateway(tmp_path, parts) as second:
        assert set(second.admin.breakers()) == ({model} if shared else set())
        assert second.decide(Task()).decision.target == ("priced" if shared else model)
        second.admin.close_breaker(model)
    with gateway(tmp_path) as first:
        assert set(first.admin.breakers()) == (set() if shared else {"main"})


def test_no_two_models_of_a_catalog_that_are_called_otherwise_share_an_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("""\
routewright: 1
name: all
catalog:
  routewright: 1
  backends:
    near: { kind: ollama }
    far: { kind: ollama, host: "http://10.0.0.9:11434" }
    keyed: { kind: openai, host: "https://models.example/v1/", api_key: "${LAB_KEY}" }
    open: { kind: openai, host: "https://models.example/v1" }
    mlx: { kind: mlx, path: "${MLX_CACHE_DIR}/a" }
    gguf: { kind: llamacpp }
    one: { kind: simulated }
    two: { kind: simulated }
  models:
    a: { backend: near, tag: "m:1" }
    b: { backend: far, tag: "m:1" }
    c: { backend: far, tag: "m:2", source: org/m }
    c2: { backend: far, tag: "m:3", source: org/m }
    d: { backend: keyed, tag: "m:1" }
    e: { backend: open, tag: "m:1" }
    f: { backend: mlx, path: /weights/m }
    g: { backend: mlx, source: org/m }
    h: { backend: gguf, path: "${HF_HOME}/m.gguf" }
    i: { backend: one, tag: "m:1" }
    j: { backend: two, tag: "m:1" }
rules: [{ name: all, use: [a] }]
""")
    found = endpoints_of(load_policy(path), {**KEYS, "MLX_CACHE_DIR": "/cache"})
    assert all(one != other for one, other in combinations(found, 2))
    assert found[1] == "ollama http://10.0.0.9:11434 m:1"
    assert found[4].startswith("openai https://models.example/v1 m:1 key ") and len(found[4].split()[-1]) == 8
    assert found[6:9] == ("mlx /cache/a /weights/m", "mlx /cache/a org/m", "llamacpp ${HF_HOME}/m.gguf")
    assert not any(secret in endpoint for endpoint in found for secret in KEYS.values())


@pytest.mark.parametrize(
    ("kind", "spellings"),
    [
        (
            "openai",
            ["https://models.example/v1", "https://MODELS.example:443/v1/", "HTTPS://models.example/v1"],
        ),
        ("openai", ["http://[::1]/v1", "http://[::1]:80/v1"]),
        ("ollama", ["http://localhost:11434", "http://LOCALHOST:11434/", "localhost"]),
    ],
)
def test_one_server_in_several_spellings_is_one_endpoint(
    tmp_path: Path, kind: str, spellings: list[str]
) -> None:
    tags = ["qwen3", "qwen3:latest", "Qwen3"] if kind == "ollama" else ["qwen3"]
    found = set()
    for host in spellings:
        for tag in tags:
            backends = f"{{ b: {{ kind: {kind}, host: '{host}' }} }}"
            models = f"{{ m: {{ backend: b, tag: '{tag}' }} }}"
            path = tmp_path / "policy.yaml"
            path.write_text(
                f"routewright: 1\nname: p\ncatalog: {{ routewright: 1, backends: {backends}, models: {models} }}\n"
                "rules: [{ name: all, use: [m] }]\n"
            )
            found |= set(endpoints_of(load_policy(path), {}))
    assert len(found) == 1


def test_a_quota_counts_for_its_policy_and_across_policies_only_where_both_say_so(tmp_path: Path) -> None:
    def used(taken: int, **parts: str) -> int:
        with gateway(tmp_path, parts) as one:
            for _ in range(taken):
                one.run_sync(Task(), HELLO)
            return one.admin.quotas()[0].use.taken

    assert used(2) == 2
    assert used(1, POLICY_NAME="second") == 1
    assert used(0, MAIN_ID="renamed", ADDRESS="https://elsewhere.example/v1") == 2, "whatever it calls"
    assert used(0, CONTROL="renamed") == 0
    assert used(1, MORE=", scope: machine") == 1
    assert used(1, MORE=", scope: machine", POLICY_NAME="second") == 2
    assert (used(0), used(0, POLICY_NAME="second")) == (2, 1)


def test_counts_that_a_rename_leaves_behind_are_named(tmp_path: Path) -> None:
    def left(**parts: str) -> list[str]:
        with gateway(tmp_path, parts) as one:
            return list(one.admin.left_counters())

    with gateway(tmp_path) as first:
        first.run_sync(Task(), HELLO)
    assert left() == []
    assert left(POLICY_NAME="renamed") == ["first/calls"]
    assert left(CONTROL="renamed") == ["first/calls"]
    assert left(MORE=", scope: machine") == ["first/calls"]
    assert left(POLICY_NAME="unrelated", CONTROL="others") == []
    with gateway(tmp_path, {"POLICY_NAME": "renamed"}) as second:
        second.run_sync(Task(), HELLO)
    assert left(POLICY_NAME="renamed") == [], "it has counts of its own now"
