"""Servers that may be this machine and count as others: `check` says so, where it matters, at their place."""

from __future__ import annotations

import pytest

from routewright.engine.policy.compile.catalog import compile_catalog_file
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.notes import place_notes
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.loading.loading import load_policy, shipped

CATALOG = """\
routewright: 1
backends:
  lab: { LAB }
models:
  small: { backend: lab, tag: qwen }
"""

POLICY = """\
routewright: 1
name: p
catalog: catalog.yaml
features: { private: { type: boolean } }
constraints: [{ name: stays_here, when: private, require: "REQUIRE" }]
rules: [{ name: all, use: [small] }]
"""

LOCAL = "model.location == 'local'"


def notes(lab: str, require: str = LOCAL) -> list[tuple[str, int | None, str, str | None]]:
    catalog = read_catalog(CATALOG.replace("LAB", lab), "catalog.yaml")
    policy = compile_policy(read_policy(POLICY.replace("REQUIRE", require), "policy.yaml"), catalog)
    found = place_notes(policy)
    assert all(note.source == "catalog.yaml" and note.source_line for note in found)
    return [(note.code, note.line, note.message, note.help) for note in found]


def test_a_server_here_of_which_nothing_is_said_is_told_with_the_constraint_that_asks() -> None:
    assert notes("kind: openai, host: 'http://localhost:8000/v1'") == [
        (
            "location-unknown",
            3,
            "it is unknown whether models of `lab` run on this machine, so `stays_here` may exclude them",
            "say `stays: true` if the server does the work itself, `location: cloud` if it does not",
        )
    ]


@pytest.mark.parametrize(
    "lab",
    [
        "kind: openai, host: 'http://localhost:8000/v1', stays: true",
        "kind: openai, host: 'http://localhost:8000/v1', location: cloud",
        "kind: openai, host: 'http://localhost:8000/v1', disabled: true",
        "kind: openai, host: 'https://lab.example.org'",
        "kind: ollama, host: 'http://localhost:11434'",
        "kind: ollama",
        "kind: mlx",
    ],
)
def test_nothing_is_told_of_what_is_said_or_follows(lab: str) -> None:
    assert notes(lab) == []


def test_nothing_is_told_where_no_constraint_asks_for_the_location() -> None:
    assert notes("kind: openai, host: 'http://localhost:8000/v1'", "model.id == 'small'") == []


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_an_address_to_listen_at_is_told_with_what_to_write(kind: str) -> None:
    lab = f"kind: {kind}, host: 'http://0.0.0.0:8000/v1'"
    expected = (
        "address-to-listen-at",
        3,
        "`http://0.0.0.0:8000/v1` is a listen address, not this machine: its models count as cloud",
        "to call a server here, write `http://127.0.0.1:8000/v1`",
    )
    assert notes(lab) == [expected] == notes(lab, "model.id == 'small'")
    catalog = compile_catalog_file(read_catalog(CATALOG.replace("LAB", lab), "catalog.yaml"))
    assert [note.code for note in place_notes(catalog)] == ["address-to-listen-at"]


def test_of_a_catalog_in_the_policy_the_place_is_in_the_policy() -> None:
    inner = CATALOG.replace("LAB", "kind: openai, host: 'http://localhost:8000/v1'").replace("\n", "\n  ")
    text = POLICY.replace("catalog.yaml", f"\n  {inner}").replace("REQUIRE", LOCAL)
    (note,) = place_notes(compile_policy(read_policy(text, "policy.yaml")))
    assert (note.source, note.line, note.path) == ("policy.yaml", 6, ("catalog", "backends", "lab", "host"))


def test_the_shipped_policy_has_none() -> None:
    assert place_notes(load_policy(shipped("hybrid.yaml"))) == []


@pytest.mark.parametrize(
    ("backend", "model", "noted"),
    [
        ("kind: mlx, memory_gb: 6", "memory_gb: 8", True),
        ("kind: ollama, memory_gb: 6", "memory_gb: 6.5", True),
        ("kind: mlx, memory_gb: 6", "memory_gb: 6", False),
        ("kind: mlx, memory_gb: 6", "memory_gb: 8, disabled: true", False),
        ("kind: mlx", "memory_gb: 8", False),
        ("kind: llamacpp", "memory_gb: 8, path: /m.gguf", False),
    ],
)
def test_a_model_that_can_never_be_loaded_is_noted(backend: str, model: str, noted: bool) -> None:
    text = CATALOG.replace("LAB", backend).replace("tag: qwen", f"tag: qwen, {model}")
    found = place_notes(compile_catalog_file(read_catalog(text, "catalog.yaml")))
    assert [note.code for note in found] == ["never-loaded"] * noted
    for note in found:
        assert note.line == 5 and note.message.startswith("`small` is never loaded: it needs ")
