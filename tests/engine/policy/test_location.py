"""Where a model truly runs: whatever is in doubt is not local."""

from __future__ import annotations

import pytest

from routewright.engine.policy.catalog import Backend, Kind
from routewright.engine.policy.location import location_of


@pytest.mark.parametrize(
    ("kind", "host", "tag", "location"),
    [
        ("ollama", None, "qwen3:30b", "local"),
        ("ollama", "http://localhost:11434", "qwen3:30b", "local"),
        ("ollama", "localhost", "qwen3:30b", "local"),
        ("ollama", "LOCALHOST:11434", "qwen3:30b", "local"),
        ("ollama", "127.0.0.1:11434", "qwen3:30b", "local"),
        ("ollama", "http://127.9.9.9", "qwen3:30b", "local"),
        ("ollama", "http://[::1]:11434", "qwen3:30b", "local"),
        ("ollama", "[::1]", "qwen3:30b", "local"),
        ("ollama", "::1", "qwen3:30b", "local"),
        ("ollama", "::ffff:127.0.0.1", "qwen3:30b", "local"),
        # the neighbour's machine, names that only look like this one, addresses that bind but do not name
        ("ollama", "http://192.168.1.20:11434", "qwen3:30b", "cloud"),
        ("ollama", "gpu-box:11434", "qwen3:30b", "cloud"),
        ("ollama", "fe80::1", "qwen3:30b", "cloud"),
        ("ollama", "0.0.0.0:11434", "qwen3:30b", "cloud"),
        ("ollama", "http://127.0.0.1.example.com", "qwen3:30b", "cloud"),
        ("ollama", "http://localhost.example.com", "qwen3:30b", "cloud"),
        ("ollama", "http://example.com/localhost", "qwen3:30b", "cloud"),
        ("ollama", "http://example.com#//localhost", "qwen3:30b", "cloud"),
        ("ollama", "https://ollama.com", "gpt-oss:120b", "cloud"),
        # tags that the server on this machine forwards
        ("ollama", None, "kimi-k2:1t-cloud", "cloud"),
        ("ollama", "http://localhost:11434", "glm-4.6:cloud", "cloud"),
        ("ollama", None, "GLM-4.6:CLOUD", "cloud"),
        ("ollama", None, "kimi-cloud", "cloud"),
        ("ollama", None, "my-cloud-model:7b", "local"),
        ("ollama", None, "cloud:7b", "local"),
        ("ollama", None, "hf.co/cloud/model:7b", "local"),
        # in this process, unless the catalog says that another machine is asked
        ("mlx", None, "qwen3-coder-30b", "local"),
        ("mlx", None, "thinks-it-is:cloud", "local"),
        ("llamacpp", None, "smollm2", "local"),
        ("simulated", None, "anything", "local"),
        ("mlx", "http://10.0.0.5:8080", "qwen3-coder-30b", "cloud"),
        ("openai", "http://localhost:8080", "any", "local"),
        ("openai", "https://api.example.com", "any", "cloud"),
        ("openai", None, "any", "cloud"),
    ],
)
def test_location_follows_from_host_and_tag(kind: Kind, host: str | None, tag: str, location: str) -> None:
    assert location_of(Backend(kind=kind, host=host), tag) == location


def test_a_catalog_may_say_cloud_and_never_local() -> None:
    assert location_of(Backend(kind="ollama", location="cloud"), "qwen3:30b") == "cloud"
