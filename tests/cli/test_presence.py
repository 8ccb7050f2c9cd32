"""Which models are here, and which policy is shown where none is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import POLICY, CommandLine
from support.ollama_process import start_ollama

from routewright.loading import shipped

MANY = """\
routewright: 1
name: many
catalog:
  routewright: 1
  backends:
    ollama: {{ kind: ollama, host: "{host}" }}
    gone: {{ kind: openai, host: "http://127.0.0.1:9/v1" }}
    near: {{ kind: llamacpp }}
    apple: {{ kind: mlx, path: /nowhere }}
    play: {{ kind: simulated }}
  models:
    here: {{ backend: ollama, tag: "smollm2:135m" }}
    absent: {{ backend: ollama, tag: "qwen3:8b" }}
    cloudy: {{ backend: ollama, tag: "kimi-k2:1t-cloud" }}
    far: {{ backend: gone }}
    file: {{ backend: near, path: /nowhere/model.gguf }}
    embedded: {{ backend: near, tag: smollm2 }}
    apple: {{ backend: apple, source: mlx-community/Qwen3-4B-4bit }}
    play: {{ backend: play }}
    off: {{ backend: ollama, tag: other, disabled: true }}
rules: [{{ name: only, use: [here] }}]
"""

STATES = {
    "here": "present",
    "absent": "missing",
    "cloudy": "missing",
    "far": "not known",
    "file": "missing",
    "embedded": "present",
    "apple": "missing",
    "play": "present",
    "off": None,
}

LINES = """\
ollama: missing
  ollama pull qwen3:8b  # absent
  ollama pull kimi-k2:1t-cloud  # cloudy
near: missing
  file
apple: missing
  hf download mlx-community/Qwen3-4B-4bit  # apple
gone: not known (no connection to `127.0.0.1:9`: connection refused): far
"""


def test_every_model_is_present_missing_or_not_known_and_what_is_missing_can_be_fetched(
    tmp_path: Path,
) -> None:
    command = CommandLine(tmp_path)
    with start_ollama() as server:
        command.write("policy.yaml", MANY.format(host=server.url))
        listed = command("models", "policy.yaml")
        checked = command("health", "policy.yaml")
        values = json.loads(command("models", "policy.yaml", "--format", "json").out)
        told = json.loads(command("health", "policy.yaml", "--format", "json").out)["models"]
    assert {model["id"]: model["presence"] for model in values} == STATES
    assert {id: model["presence"] for id, model in told.items()} == STATES
    assert listed.out.endswith(f"\n\n{LINES}")
    assert checked.out.endswith(
        f"\n\n8 models: 3 present, 4 missing, 1 not known, no failure is known\n{LINES}"
    )
    assert (listed.code, checked.code) == (0, 1)


def test_a_missing_model_alone_is_a_failed_check(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    with start_ollama() as server:
        policy = POLICY.replace("kind: ollama", f"kind: ollama, host: '{server.url}'")
        command.write("policy.yaml", policy.replace("qwen3-coder:30b", "smollm2:135m"))
        missing = command("health", "policy.yaml")
    assert (missing.code, "ollama pull kimi-k2:1t-cloud  # large" in missing.out) == (1, True)


def test_without_being_asked_no_backend_is_called(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    with start_ollama() as server:
        command.write("policy.yaml", MANY.format(host=server.url))
        ended = command("models", "policy.yaml", "--offline", "--format", "json")
        assert server.seen() == []
    assert {model["presence"] for model in json.loads(ended.out)} == {None}


@pytest.mark.parametrize("name", ["models", "health", "quota"])
def test_the_policy_is_named_first_and_nobody_is_shown_the_shipped_one_unawares(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", POLICY.replace("kind: ollama", "kind: simulated"))
    assert command(name, "policy.yaml").out.startswith("policy.yaml\n\n")
    monkeypatch.setenv("ROUTEWRIGHT_POLICY", "policy.yaml")
    given = command(name)
    assert (given.code, given.out.splitlines()[0]) == (0, "policy.yaml (from ROUTEWRIGHT_POLICY)")
    as_json = command(name, "--format", "json")
    assert as_json.err.splitlines()[0] == "policy.yaml (from ROUTEWRIGHT_POLICY)"
    assert command(name, "policy.yaml", "--format", "json").err == ""
    monkeypatch.setenv("ROUTEWRIGHT_POLICY", "nope.yaml")
    missing = command(name)
    assert (missing.code, missing.err.splitlines()[0]) == (2, "error: there is no policy at `nope.yaml`")
    assert "ROUTEWRIGHT_POLICY names it" in missing.err
    monkeypatch.setenv("ROUTEWRIGHT_POLICY", "")
    first = f"{shipped('hybrid.yaml')} (the shipped policy: name yours, or set ROUTEWRIGHT_POLICY)"
    assert command(name).out.splitlines()[0] == first
