"""``health``, ``quota`` and ``decide --live``: what is known now, and until when."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import POLICY, CommandLine

from routewright import load_policy
from routewright.backends.control import Breakers, BreakerSettings, Lease, Quotas, StateStore
from routewright.gateway.endpoints import endpoints_of
from routewright.gateway.planning import Planner

QUOTAS = """\
controls:
  - { name: daily, on: large, max_requests: 10, per: day }
  - { name: money, for_each: team, max_cost: 5 USD, per: month, unknown_cost: refuse }
"""


@contextmanager
def state_of(command: CommandLine) -> Iterator[StateStore]:
    store = StateStore(command.ledger.with_name("state.sqlite"))
    yield store
    store.close()


def simulated(command: CommandLine) -> None:
    command.write("policy.yaml", POLICY.replace("kind: ollama", "kind: simulated"))


def open_breaker(command: CommandLine, model: str, policy: str = "policy.yaml") -> None:
    loaded = load_policy(command.folder / policy)
    called = loaded.catalog.find(model)
    assert called is not None
    with state_of(command) as store:
        breakers = Breakers(store, BreakerSettings(failures=1, open_ms=3_600_000))
        breakers.failed(
            endpoints_of(loaded, {})[called.index], at_us=time.time_ns() // 1000, error_class="overloaded"
        )


def test_all_is_well_ends_with_0(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    simulated(command)
    ended = command("health", "policy.yaml", "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    told = json.loads(ended.out)
    assert told["backends"]["ollama"]["healthy"] is True
    assert {id: model["breaker"] for id, model in told["models"].items()} == {
        "small": "closed",
        "large": "closed",
    }


def test_an_open_breaker_is_shown_with_its_time_and_ends_with_1(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    simulated(command)
    open_breaker(command, "large")
    ended = command("health", "policy.yaml")
    assert (ended.code, ended.err) == (1, "")
    (row,) = [line.split() for line in ended.out.splitlines() if line.startswith("large")]
    assert (row[1], row[3:5]) == ("open", ["1", "overloaded"])
    told = json.loads(command("health", "policy.yaml", "--format", "json").out)
    assert told["models"]["large"]["until"] == row[2]


def test_a_breaker_is_closed_by_whoever_mended_its_cause(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    simulated(command)
    open_breaker(command, "small")
    open_breaker(command, "large")
    ended = command("health", "policy.yaml", "--close-breaker", "large", "--format", "json")
    states = {id: model["breaker"] for id, model in json.loads(ended.out)["models"].items()}
    assert states["small"] == "open" and states["large"] == "closed"
    # One that is closed stays so, and a model that is none is told.
    assert command("health", "policy.yaml", "--close-breaker", "large", "--close-breaker", "small").code == 0
    ended = command("health", "policy.yaml", "--close-breaker", "lagre")
    assert ended.code == 2 and ended.err.startswith(
        "error: unknown model `lagre`\n  = help: did you mean `large`?"
    )


def test_a_breaker_is_closed_by_any_name_of_its_model(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    simulated(command)
    for name in ("large", "kimi-k2:1t-cloud", "ollama:large", "ollama:kimi-k2:1t-cloud"):
        open_breaker(command, "large")
        assert command("health", "policy.yaml").code == 1
        assert command("health", "policy.yaml", "--close-breaker", name).code == 0, name


def test_health_closes_the_state_store_also_when_it_refuses_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Path] = []
    close = StateStore.close

    def noting(self: StateStore) -> None:
        closed.append(self.path)
        close(self)

    monkeypatch.setattr(StateStore, "close", noting)
    command = CommandLine(tmp_path)
    simulated(command)
    assert command("health", "policy.yaml", "--close-breaker", "lagre").code == 2
    assert len(closed) == 1


def test_a_server_that_is_not_there_is_not_healthy(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", POLICY.replace("kind: ollama", "kind: ollama, host: 'http://127.0.0.1:9'"))
    ended = command("health", "policy.yaml")
    assert ended.code == 1
    assert "not healthy" in ended.out and "connection refused" in ended.out


def test_a_backend_without_its_key_is_not_usable_and_the_others_are_asked_all_the_same(
    tmp_path: Path,
) -> None:
    command = CommandLine(tmp_path)
    command.configure('[keys]\nNO_SUCH_KEY = "127.0.0.1:9"\n')
    keyed = "backends: { there: { kind: openai, host: 'http://127.0.0.1:9', api_key: '${NO_SUCH_KEY}' }, "
    policy = POLICY.replace("kind: ollama", "kind: simulated").replace("backends: { ", keyed)
    command.write("policy.yaml", policy.replace("    small:", "    far: { backend: there }\n    small:"))
    ended = command("health", "policy.yaml")
    assert (ended.code, ended.err) == (1, "")
    lines = {line.split("  ")[0]: line for line in ended.out.splitlines()}
    assert "not usable" in lines["there"] and "`NO_SUCH_KEY`, which is not set; set " in lines["there"]
    assert " healthy " in lines["ollama"]
    told = json.loads(command("health", "policy.yaml", "--format", "json").out)["backends"]
    assert [(id, one["usable"], one["healthy"]) for id, one in told.items()] == [
        ("there", False, False),
        ("ollama", True, True),
    ]


def test_a_quota_of_which_nothing_is_left_is_named_and_ends_with_1(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    quotas = "controls:\n  - { name: daily, on: large, max_requests: 2, per: day }\n"
    command.write("policy.yaml", POLICY.replace("kind: ollama", "kind: simulated") + quotas)
    state = ("--state", str(command.ledger.with_name("state.sqlite")))
    used = []
    for _ in range(2):
        assert command("run", "policy.yaml", "hi", "--simulate", *state, "--pin", "large").code == 0
        used.append(command("quota", "policy.yaml"))
    assert [(ended.code, ended.err) for ended in used] == [(0, ""), (1, "nothing is left of daily\n")]
    (told,) = json.loads(command("quota", "policy.yaml", "--format", "json").out)
    assert (told["used"], told["left"]) == (2, 0)
    command.write(
        "policy.yaml", (tmp_path / "policy.yaml").read_text().replace("name: daily", "name: each_day")
    )
    renamed = command("quota", "policy.yaml")
    assert (renamed.code, renamed.err) == (
        0,
        "the state store also holds counts of `first/daily`: under another name a quota begins at zero\n",
    )


def test_what_a_killed_process_had_reserved_is_shown_as_used_once_its_lease_has_lapsed(
    tmp_path: Path,
) -> None:
    command = CommandLine(tmp_path)
    quotas = "controls:\n  - { name: daily, on: large, max_requests: 5, per: day }\n"
    command.write("policy.yaml", POLICY.replace("kind: ollama", "kind: simulated") + quotas)
    (limit,) = Planner(load_policy(tmp_path / "policy.yaml")).quotas
    limit, at_us = replace(limit, amount=1), time.time_ns() // 1_000
    with state_of(command) as store:
        for id, lasts_us in (("gone", 1), ("running", 600_000_000)):
            lease = Quotas(store).reserve(id, [limit], at_us=at_us, expires_us=at_us + lasts_us)
            assert isinstance(lease, Lease)
    (told,) = json.loads(command("quota", "policy.yaml", "--format", "json").out)
    assert (told["used"], told["reserved"], told["left"]) == (1, 1, 3)


def test_each_quota_is_shown_for_everyone_who_used_it(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    policy = POLICY.replace("kind: ollama", "kind: simulated").replace(
        "context_length: 200000 }", "context_length: 200000, price: { input: 1, output: 1 } }"
    )
    policy = policy.replace("features:\n", "features:\n  team: { type: string }\n")
    command.write("policy.yaml", policy + QUOTAS.replace("for_each: team", "on: large, for_each: team"))
    state = str(command.ledger.with_name("state.sqlite"))
    arguments = ("--simulate", "--quiet", "--state", state, "--pin", "large")
    assert command("run", "policy.yaml", "hello", *arguments, "-f", "team=search").code == 0
    assert command("run", "policy.yaml", "hello", *arguments, "-f", "team=ads").code == 0
    ended = command("quota", "policy.yaml", "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    told = [
        (one["quota"], one["key"], one["used"] > 0, one["reserved"], one["limit"])
        for one in json.loads(ended.out)
    ]
    assert told == [
        ("daily", None, True, 0, 10),
        ("money", "team=ads", True, 0, 5_000_000_000),
        ("money", "team=search", True, 0, 5_000_000_000),
    ]
    shown = command("quota", "policy.yaml").out
    assert "daily" in shown and "5.000000" in shown and "USD" in shown


def test_a_simulated_run_uses_nothing_up(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", POLICY + QUOTAS.splitlines(keepends=True)[0] + QUOTAS.splitlines()[1] + "\n")
    assert command("run", "policy.yaml", "hello", "--simulate", "--pin", "large").code == 0
    (told,) = json.loads(command("quota", "policy.yaml", "--format", "json").out)
    assert (told["used"], told["reserved"]) == (0, 0)


def test_decide_live_leaves_out_what_cannot_be_opened_as_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CommandLine(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    command.write(
        "policy.yaml",
        """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends:
    far: { kind: openai, host: "https://api.openai.com/v1", api_key: "${OPENAI_API_KEY}" }
    near: { kind: simulated }
  models: { big: { backend: far }, small: { backend: near } }
rules: [{ name: all, use: [big], fallback: [small] }]
""",
    )
    assert command("decide", "policy.yaml").out.startswith("chat: routed to big ")
    live = command("decide", "policy.yaml", "--live").out
    assert live.startswith("chat: routed to small ") and "OPENAI_API_KEY" in live
    pinned = command(
        "run", "policy.yaml", "hello", "--pin", "small", "--fail", "small=overloaded", "--simulate"
    )
    assert "| cost 0 |" in pinned.err, pinned.err


def test_decide_live_leaves_a_model_alone_whose_breaker_is_open(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    open_breaker(command, "small")
    assert command("decide", "policy.yaml").out.startswith("chat: routed to small ")
    assert command("decide", "policy.yaml", "--live").out.startswith("chat: routed to large ")
    refused = command("decide", "policy.yaml", "--live", "--at", "2026-01-01")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("error: --live and --at cannot be combined\n")


def test_a_state_store_that_is_not_there_is_not_shown_as_an_unused_one(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    simulated(command)
    for name in ("health", "quota"):
        ended = command(name, "policy.yaml", "--state", "elsewhere/state.sqlite")
        assert (ended.code, ended.out) == (6, "")
        assert ended.err.startswith("error: there is no state store at `")
    assert not (tmp_path / "elsewhere").exists()
