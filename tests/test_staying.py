"""What stays on this machine, from the catalog to the call: unknown is never local, and is said to be unknown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.scripted_http import ScriptedHttp, reply

from routewright import ChatRequest, ModelGateway, PolicyError, State, Task, load_policy
from routewright.backends import Message
from routewright.backends.wire.http import HttpClient
from routewright.engine.decision.deciding import decide
from routewright.engine.explain.explanation import explain
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.record import record_of, record_values
from routewright.gateway.opening import open_backends
from routewright.gateway.results import NoTargetError

POLICY = """\
routewright: 1
name: staying
catalog:
  routewright: 1
  backends:
    lab: { kind: openai, host: "http://127.0.0.1:1/v1" }
  models:
    own: { backend: lab, tag: own }
features:
  private: { type: boolean, default: false }
constraints:
  - { name: private_stays, when: private, require: "REQUIRE" }
rules:
  - { name: only, use: [own] }
"""
LOCAL = "model.location == 'local'"
PRIVATE = Task({"private": True})


def loaded(
    tmp_path: Path, *, require: str = LOCAL, lab: str = "", host: str = "127.0.0.1:1"
) -> CompiledPolicy:
    path = tmp_path / "policy.yaml"
    text = POLICY.replace("REQUIRE", require).replace('/v1" }', f'/v1"{lab} }}').replace("127.0.0.1:1", host)
    path.write_text(text)
    return load_policy(path)


@pytest.mark.parametrize(
    "require",
    [
        LOCAL,
        "model.location != 'cloud'",
        "!(model.location == 'cloud')",
        "model.location in ['local', 'cloud']",
        "model.location == 'local' || model.location == 'cloud'",
    ],
)
def test_an_unknown_location_meets_no_constraint(tmp_path: Path, require: str) -> None:
    policy = loaded(tmp_path, require=require)
    decision = decide(policy, PRIVATE, State(0), decision_id="d")
    assert decision.outcome == "no_target"
    (candidate,) = record_values(decision)["candidates"]
    assert (candidate["gate"], candidate["detail"]) == (
        "constraint",
        "private_stays (what it requires is unknown); nothing says whether `own` runs on this machine: "
        "its server may forward it; say `stays: true` for its backend if the server does the work itself, "
        "`location: cloud` if it does not",
    )
    assert decide(policy, Task({}), State(0), decision_id="d").outcome == "routed"


def test_an_explanation_says_that_it_is_unknown_and_what_to_say(tmp_path: Path) -> None:
    policy = loaded(tmp_path)
    explained = explain(policy, record_of(decide(policy, PRIVATE, State(0), decision_id="d")))
    details = [failure.detail for candidate in explained.candidates for failure in candidate.failures]
    assert len(details) == 1 and "`stays: true`" in details[0] and "`location: cloud`" in details[0]


@pytest.mark.parametrize(
    ("lab", "location"), [("", None), (", stays: true", "local"), (", location: cloud", "cloud")]
)
def test_what_the_catalog_says_decides_what_an_openai_server_of_this_machine_is(
    tmp_path: Path, lab: str, location: str | None
) -> None:
    policy = loaded(tmp_path, lab=lab)
    model = policy.catalog.models[0]
    assert (model.location, model.facts.get("model.location")) == (location, location)
    expected = "routed" if location == "local" else "no_target"
    assert decide(policy, PRIVATE, State(0), decision_id="d").outcome == expected


def test_the_declaration_is_part_of_the_digest(tmp_path: Path) -> None:
    digests = {loaded(tmp_path, lab=lab).digest for lab in ("", ", stays: true", ", location: cloud")}
    assert len(digests) == 3
    assert loaded(tmp_path, lab=", stays: false").digest == loaded(tmp_path).digest


@pytest.mark.parametrize(
    ("backend", "message"),
    [
        ("kind: openai, host: 'http://10.0.0.5/v1'", "`stays` is for a server on this machine"),
        ("kind: openai, host: 'http://0.0.0.0:80/v1'", "`stays` is for a server on this machine"),
        ("kind: openai, host: 'http://localhost.example/v1'", "`stays` is for a server on this machine"),
        ("kind: openai, host: 'http://localhost:80', location: cloud", "contradict each other"),
        ("kind: ollama, host: localhost", "unknown key `stays`"),
        ("kind: ollama", "unknown key `stays`"),
        ("kind: mlx", "unknown key `stays`"),
        ("kind: llamacpp", "unknown key `stays`"),
        ("kind: simulated", "unknown key `stays`"),
    ],
)
def test_the_declaration_is_an_error_anywhere_else(tmp_path: Path, backend: str, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        POLICY.replace("REQUIRE", LOCAL).replace(
            'kind: openai, host: "http://127.0.0.1:1/v1"', f"stays: true, {backend}"
        )
    )
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    problem = caught.value.problems[0]
    code, column = ("unknown-key", 12) if "unknown" in message else ("wrong-value", 19)
    assert (problem.code, problem.line, problem.column) == (code, 6, column)
    assert message in problem.message
    assert problem.help and (code == "wrong-value" or "`openai`" in problem.help)


def test_nothing_claims_to_be_local(tmp_path: Path) -> None:
    with pytest.raises(PolicyError):
        loaded(tmp_path, lab=", location: local")


def test_models_are_listed_with_the_location_unknown(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    loaded(tmp_path)
    rows = [line.split() for line in command("models", "policy.yaml").out.splitlines()]
    assert ["own", "lab", "unknown"] in [row[:3] for row in rows]
    assert '"location": null' in command("models", "policy.yaml", "--format", "json").out


def test_a_stand_in_whose_place_is_unknown_has_no_price_of_nothing(tmp_path: Path) -> None:
    def price(lab: str) -> object:
        loaded(tmp_path, lab=lab)
        found = load_policy(tmp_path / "policy.yaml", maps={"own": "lab:other"}).catalog.find("own")
        assert found is not None
        return found.shape.price

    assert price("") is None
    assert price(", location: cloud") is None
    free = price(", stays: true")
    assert free is not None and (free.input, free.output) == (0, 0)  # type: ignore[attr-defined]


def test_the_judgement_reaches_the_backend(tmp_path: Path) -> None:
    """A stub behind a server of which `stays: true` is said gets no prompt; without it there is no target at all."""

    async def run(lab: str) -> tuple[str, list[str]]:
        shown = reply(200, {"remote_host": "https://ollama.com:443"})
        async with ScriptedHttp(reply(200, {"version": "0.33.0"}), shown) as server:
            policy = loaded(tmp_path, lab=lab, host=server.url.removeprefix("http://"))
            gateway = ModelGateway(policy, backends=open_backends(policy))
            request = ChatRequest((Message("user", "swordfish"),))
            try:
                ran = await gateway.run(PRIVATE, request)
                error = ran.execution.error if ran.execution is not None else None
                said = str(error)
            except NoTargetError as none:
                said = str(none)
            finally:
                await gateway.close()
            assert "swordfish" not in repr(server.requests)
            return said, [request.path for request in server.requests]

    said, asked = asyncio.run(run(", stays: true"))
    assert "`own` would not run on this machine: its server forwards it to https://ollama.com:443" in said
    assert asked == ["/api/version", "/api/show"], "the name that is never forwarded says it already"
    _, asked = asyncio.run(run(""))
    assert asked == []


def test_every_backend_of_a_catalog_is_opened_as_it_was_judged(tmp_path: Path) -> None:
    hosts = {
        "{ kind: ollama }": True,
        "{ kind: ollama, host: 'http://[::ffff:127.0.0.1]:1' }": True,
        "{ kind: ollama, host: 'http://0.0.0.0:1' }": False,
        "{ kind: ollama, location: cloud }": False,
        "{ kind: openai, host: 'http://localhost:1/v1' }": False,
        "{ kind: openai, host: 'http://localhost:1/v1', stays: true }": True,
    }
    for number, (backend, stays) in enumerate(hosts.items()):
        path = tmp_path / f"{number}.yaml"
        text = POLICY.replace("REQUIRE", LOCAL).replace(
            '{ kind: openai, host: "http://127.0.0.1:1/v1" }', backend
        )
        path.write_text(text)
        policy = load_policy(path)
        (opened,) = open_backends(policy).values()
        clients = [
            client
            for holder in (opened, getattr(opened, "_link", opened))
            for client in vars(holder).values()
            if isinstance(client, HttpClient)
        ]
        assert clients
        assert {client._this_machine for client in clients} == {stays}
        assert (policy.catalog.models[0].location == "local") is stays
