"""Which variables a policy may read and where a key may go: said outside the policy, compared exactly."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.pages import ROOT, blocks

from routewright import ConfigurationError, ModelGateway, Permissions, Task, load_policy
from routewright.backends import Backend, BackendError
from routewright.engine.policy import CompiledPolicy
from routewright.engine.policy.compile.catalog import compile_catalog_file
from routewright.engine.policy.reading.read import read_catalog
from routewright.gateway.opening import open_backends, unopened
from routewright.loading.configuration import configuration_path, user_permissions
from routewright.loading.loading import shipped
from routewright.loading.permissions import PATH_VARIABLES, SERVICES, permission_notes

NOTHING = Permissions()

PAGE = ROOT / "docs" / "backends.md"


# --- keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("variable", "host"), SERVICES.items(), ids=SERVICES)
def test_the_key_of_a_service_goes_to_its_own_host_over_tls_alone(variable: str, host: str) -> None:
    assert NOTHING.key_refusal(variable, f"https://{host}/v1") is None
    assert NOTHING.key_refusal(variable, f"HTTPS://{host.upper()}:443/v1") is None
    for elsewhere in (
        f"https://{host}:8443/v1",
        f"https://{host}.example.org",
        f"https://{host}.",
        f"https://not-{host}",
        f"https://sub.{host}",
        f"https://example.org/{host}",
        f"https://example.org?{host}",
        f"https://example.org\\@{host}.example.org",
        f"https://{host}%2eexample.org",
        "http://127.0.0.1:8000",
        "http://localhost",
    ):
        refused = NOTHING.key_refusal(variable, elsewhere)
        assert refused is not None and refused.code == "variable-not-permitted", elsewhere
    refused = NOTHING.key_refusal(variable, f"http://{host}/v1")
    assert refused is not None and refused.code == "key-without-tls"


@pytest.mark.parametrize(
    "url", [None, "", "localhost:8000/v1", "ftp://api.openai.com", "https://", "https://[::1"]
)
def test_a_key_without_a_server_to_go_to_is_refused(url: str | None) -> None:
    refused = NOTHING.key_refusal("OPENAI_API_KEY", url)
    assert refused is not None
    assert refused.message == "the key `${OPENAI_API_KEY}` has no server to go to"


def test_more_pairs_are_as_exact() -> None:
    more = Permissions(keys={"LAB_KEY": ["Lab.example.org", "10.0.0.5:8000"], "MY": "[::1]:9"})
    assert more.key_refusal("LAB_KEY", "https://lab.example.org/v1") is None
    assert more.key_refusal("LAB_KEY", "https://10.0.0.5:8000") is None
    assert more.key_refusal("MY", "http://[::1]:9/v1") is None, "this machine, over plain HTTP"
    assert more.key_refusal("OPENAI_API_KEY", "https://api.openai.com/v1") is None, "the built-in ones stay"
    refused = more.key_refusal("LAB_KEY", "https://10.0.0.5")
    assert refused is not None and refused.help == (
        "it may go to 10.0.0.5:8000, lab.example.org; to allow this host, "
        'give `Permissions` `keys={"LAB_KEY": ["10.0.0.5", "10.0.0.5:8000", "lab.example.org"]}`'
    )
    refused = more.key_refusal("OTHER", "https://lab.example.org")
    assert refused is not None
    assert refused.message == "the key `${OTHER}` may not be sent to `lab.example.org`"
    assert str(refused.help).startswith("nothing says where it may go; ")


def test_without_tls_a_key_goes_to_this_machine_and_to_hosts_that_are_named() -> None:
    keys = {"LAB_KEY": ["lab.example.org", "10.0.0.5:8000", "127.0.0.1:8000", "localhost"]}
    more = Permissions(keys=keys, without_tls=["10.0.0.5:8000"])
    for url in ("http://10.0.0.5:8000/v1", "http://127.0.0.1:8000", "http://localhost:80"):
        assert more.key_refusal("LAB_KEY", url) is None
    refused = more.key_refusal("LAB_KEY", "http://lab.example.org")
    assert refused is not None
    assert refused.message == "the key `${LAB_KEY}` would be sent to `lab.example.org` without TLS"
    assert refused.help == (
        'use https; to allow plain http, give `Permissions` `without_tls=["10.0.0.5:8000", "lab.example.org"]`'
    )
    # To do without TLS is not to be given the key.
    assert Permissions(without_tls=["lab.example.org"]).key_refusal("LAB_KEY", "http://lab.example.org")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"LAB_KEY": "https://lab.example.org"}, "`https://lab.example.org` is not a host"),
        ({"LAB_KEY": "*.example.org"}, "`*.example.org` is not a host"),
        ({"LAB_KEY": ["lab.example.org/v1"]}, "`lab.example.org/v1` is not a host"),
        ({"LAB_KEY": ""}, "`` is not a host"),
        ({"LAB_KEY": "lab.example.org:80"}, "`lab.example.org:80`: leave out the port 80"),
        ({"LAB_KEY": "10.0.0.5:80000"}, "`10.0.0.5:80000` is not a host"),
        ({"LAB-KEY": "lab.example.org"}, "`LAB-KEY` cannot be the name of a variable"),
    ],
)
def test_what_is_no_host_or_variable_is_refused(keys: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Permissions(keys=keys)


def test_a_path_reads_the_variables_that_are_named_for_it() -> None:
    for variable in (*PATH_VARIABLES, "ROUTEWRIGHT_MODELS"):
        assert NOTHING.path_refusal(variable) is None
    for variables in (["MODELS"], "MODELS"):
        assert Permissions(path_variables=variables).path_refusal("MODELS") is None
    for variable in (
        "STRIPE_KEY",
        "HOME",
        "OPENAI_API_KEY",
        "ROUTEWRIGHT",
        "MY_ROUTEWRIGHT_X",
        "mlx_cache_dir",
    ):
        refused = NOTHING.path_refusal(variable)
        assert refused is not None and refused.message == f"`path` may not read the variable `{variable}`"


def _opened_and_failed(
    policy: CompiledPolicy, **options: Any
) -> tuple[Mapping[str, Backend], dict[str, BackendError]]:
    backends = open_backends(policy, **options)
    failed = {id: one.error for id, one in unopened(backends).items()}
    return {id: one for id, one in backends.items() if id not in failed}, failed


# --- backends ----------------------------------------------------------------------------------------------

POLICY = """\
routewright: 1
name: keyed
catalog:
  routewright: 1
  backends:
    far: { kind: openai, host: "https://lab.example.org/v1", api_key: "${LAB_KEY}" }
    direct: { kind: ollama, host: "https://ollama.com:8443", api_key: "${OLLAMA_API_KEY}" }
    weights: { kind: llamacpp }
    folder: { kind: mlx, path: "${HOME}/models" }
    near: { kind: simulated }
  models:
    big: { backend: far }
    cloud: { backend: direct }
    file: { backend: weights, path: "${STRIPE_KEY}" }
    mlx: { backend: folder }
    small: { backend: near }
rules:
  - { name: all, use: [big, cloud, file, mlx, small] }
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def test_a_backend_that_asks_for_more_does_not_open_and_the_others_do(policy: Path) -> None:
    loaded = load_policy(policy)
    values = {"LAB_KEY": "hunter2", "OLLAMA_API_KEY": "hunter2", "STRIPE_KEY": "hunter2", "HOME": "hunter2"}
    opened, failed = _opened_and_failed(loaded, environment=values, permissions=NOTHING)
    assert list(opened) == ["near"]
    assert {id: str(error) for id, error in failed.items()} == {
        "far": "backend `far` is not opened: the key `${LAB_KEY}` may not be sent to `lab.example.org`",
        "direct": "backend `direct` is not opened: the key `${OLLAMA_API_KEY}` may not be sent to `ollama.com:8443`",
        "weights": "backend `weights` is not opened: `path` may not read the variable `STRIPE_KEY`",
        "folder": "backend `folder` is not opened: `path` may not read the variable `HOME`",
    }
    assert {error.error_class for error in failed.values()} == {"unauthorized"}
    assert "hunter2" not in repr([(error, error.help) for error in failed.values()])
    allowed = Permissions(keys={"LAB_KEY": "lab.example.org"}, path_variables=["STRIPE_KEY", "HOME"])
    opened, failed = _opened_and_failed(loaded, environment=values, permissions=allowed)
    assert sorted(failed) == ["direct"] and "far" in opened


def test_notes_are_told_at_their_places_whatever_is_set(policy: Path) -> None:
    notes = permission_notes(load_policy(policy), NOTHING)
    told = [
        (note.path, note.line, (note.source_line or "")[(note.column or 0) - 1 :][: note.width])
        for note in notes
    ]
    assert told == [
        (("catalog", "backends", "far", "api_key"), 6, '"${LAB_KEY}"'),
        (("catalog", "backends", "direct", "api_key"), 7, '"${OLLAMA_API_KEY}"'),
        (("catalog", "backends", "folder", "path"), 9, '"${HOME}/models"'),
        (("catalog", "models", "file", "path"), 14, '"${STRIPE_KEY}"'),
    ]
    assert permission_notes(load_policy(shipped("hybrid.yaml")), NOTHING) == []


def test_what_one_model_asks_for_is_told_once_however_many_backends_there_are() -> None:
    text = """\
routewright: 1
backends: { one: { kind: mlx }, two: { kind: mlx }, three: { kind: ollama } }
models:
  m: { backend: two, path: "${HOME}/m" }
  n: { backend: one, path: "${HF_HOME}/n" }
"""
    (note,) = permission_notes(compile_catalog_file(read_catalog(text, "catalog.yaml")), NOTHING)
    assert (note.code, note.line, note.path) == ("variable-not-permitted", 4, ("models", "m", "path"))
    assert note.message == "`path` may not read the variable `HOME`"


def test_a_gateway_goes_by_what_it_is_given_and_else_by_the_user_s_file(
    policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy.write_text(
        POLICY.replace("big, cloud, file, mlx, small", "big").replace("ollama.com:8443", "ollama.com")
    )
    for name in ("LAB_KEY", "OLLAMA_API_KEY"):
        monkeypatch.setenv(name, "hunter2")
    allowed = {"path_variables": ["STRIPE_KEY", "HOME"], "keys": {"LAB_KEY": "lab.example.org"}}
    monkeypatch.setenv("STRIPE_KEY", "/nowhere")

    def refused(**options: Any) -> None:
        with ModelGateway.from_policy(policy, **options) as gateway:
            decision = gateway.decide(Task()).decision
            (big,) = decision.candidates
            assert decision.outcome == "no_target" and big.failure is not None
            assert big.failure.recorded(decision).startswith(
                "the model is unhealthy: backend `far` is not opened"
            )

    refused()
    with ModelGateway.from_policy(policy, permissions=Permissions(**allowed)) as gateway:  # type: ignore[arg-type]
        assert gateway.decide(Task()).decision.target == "big"
    config = tmp_path / "mine.toml"
    config.write_text('keys = { LAB_KEY = "lab.example.org" }\npaths.variables = ["STRIPE_KEY", "HOME"]\n')
    monkeypatch.setenv("ROUTEWRIGHT_CONFIG", str(config))
    with ModelGateway.from_policy(policy) as gateway:
        assert gateway.decide(Task()).decision.target == "big"
    # What is given is instead of the file.
    refused(permissions=Permissions())


def test_the_shipped_policy_needs_nothing_said() -> None:
    opened = open_backends(load_policy(shipped("hybrid.yaml")), environment={}, permissions=NOTHING)
    assert set(opened) == {"mlx", "ollama", "cloud"} & set(opened) and opened


# --- the file ----------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "routewright.toml"
    monkeypatch.setenv("ROUTEWRIGHT_CONFIG", str(path))
    return path


def test_the_file_is_looked_for_in_the_user_s_configuration_folder() -> None:
    home = Path("/home/me")
    usual = Path("/home/me/.config/routewright/routewright.toml")
    assert configuration_path({}, home=home) == usual
    assert configuration_path({"XDG_CONFIG_HOME": "relative"}, home=home) == usual
    assert configuration_path({"XDG_CONFIG_HOME": "/etc/me"}) == Path("/etc/me/routewright/routewright.toml")
    assert configuration_path({"ROUTEWRIGHT_CONFIG": "/x.toml", "XDG_CONFIG_HOME": "/etc"}) == Path("/x.toml")


def test_without_the_file_the_built_in_rules_hold_and_help_names_it() -> None:
    permitted = user_permissions({"XDG_CONFIG_HOME": "/nowhere"})
    refused = permitted.path_refusal("MODELS")
    assert (permitted.keys, permitted.path_variables, permitted.without_tls) == ({}, frozenset(), frozenset())
    assert str(getattr(refused, "help", None)).endswith("in /nowhere/routewright/routewright.toml")


def test_the_example_of_the_page_is_read(config: Path) -> None:
    [example] = [block.text for block in blocks(PAGE) if block.language == "toml"]
    assert set(tomllib.loads(example)) == {"keys", "paths", "hosts"}
    config.write_text(example)
    permitted = user_permissions()
    assert permitted.key_refusal("LAB_KEY", "https://lab.example.org") is None
    assert permitted.key_refusal("GATEWAY_KEY", "http://10.0.0.5:8000/v1") is None
    assert permitted.path_refusal("MODELS") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[kyes]\n", "unknown table `[kyes]`; known: hosts, keys, ledger, paths, questions"),
        ("without_tls = []\n", "`without_tls` is outside the tables: write it under `[hosts]`"),
        ("LAB_KEY = 'x'\n", "`LAB_KEY` is outside the tables: write it under `[keys]`"),
        ("keys = 3\n", "`keys` is a table: write `[keys]`"),
        ("[paths]\nvariable = []\n", "unknown key `variable` in `[paths]`; known: variables"),
        ("[hosts]\nwithout_tsl = []\n", "unknown key `without_tsl` in `[hosts]`; known: without_tls"),
        ("[paths]\nvariables = 3\n", "`variables` in `[paths]` takes a text in quotes, or a list of them"),
        ("[keys]\nX = [1]\n", "`X` in `[keys]` takes a text in quotes, or a list of them"),
        (
            "[keys]\nX = 'http://x'\n",
            "`http://x` is not a host: write it as in `lab.example.org` or `10.0.0.5:8000`",
        ),
        ("[keys\n", "not TOML: expected ']' at the end of a table declaration (at line 1, column 6)"),
    ],
)
def test_what_the_file_cannot_say_is_told_with_its_name(config: Path, text: str, message: str) -> None:
    config.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        user_permissions()
    assert str(caught.value) == f"{config}: {message}"


def test_one_text_is_a_list_of_one(config: Path) -> None:
    config.write_text('[hosts]\nwithout_tls = "10.0.0.5"\n[paths]\nvariables = "MODELS"\n')
    assert user_permissions().without_tls == {"10.0.0.5"}
    assert user_permissions().path_variables == {"MODELS"}


def test_what_help_says_to_write_does_it_when_it_is_written(config: Path) -> None:
    config.write_text('[keys]\nLAB_KEY = "lab.example.org"\n[hosts]\nwithout_tls = ["10.0.0.7"]\n')
    refused = user_permissions().key_refusal("LAB_KEY", "http://10.0.0.5:8000/v1")
    assert refused is not None and refused.help == (
        "it may go to lab.example.org; to allow this host, write "
        f'`LAB_KEY = ["10.0.0.5:8000", "lab.example.org"]` under `[keys]` in {config}; '
        'over plain http it also needs `without_tls = ["10.0.0.5:8000", "10.0.0.7"]` under `[hosts]`'
    )
    config.write_text(
        "".join(
            f"[{table}]\n{line}\n" for line, table in re.findall(r"`([^`]+)` under `\[(\w+)\]`", refused.help)
        )
    )
    permitted = user_permissions()
    for url in ("http://10.0.0.5:8000/v1", "https://lab.example.org/v1"):
        assert permitted.key_refusal("LAB_KEY", url) is None
    refused = permitted.path_refusal("MODELS")
    assert refused is not None and refused.help is not None
    assert f'write `variables = ["MODELS"]` under `[paths]` in {config}' in refused.help


def test_a_file_that_everybody_may_write_to_is_refused(config: Path) -> None:
    config.write_text("")
    config.chmod(0o666)
    with pytest.raises(ConfigurationError, match="everybody may write to it") as caught:
        user_permissions()
    assert caught.value.help == f"chmod o-w {config}"
    config.chmod(0o664)
    assert user_permissions().keys == {}


def test_an_account_without_a_home_has_no_file_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert user_permissions({}) == Permissions()
    with pytest.raises(ConfigurationError, match="^~nobody-here/x.toml: there is no such home folder$"):
        user_permissions({"ROUTEWRIGHT_CONFIG": "~nobody-here/x.toml"})


def test_a_file_that_is_named_and_not_there_is_told(config: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        user_permissions()
    config.mkdir()
    with pytest.raises(ConfigurationError, match="is a directory"):
        user_permissions()
    config.rmdir()
    config.write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        user_permissions()
