"""Where a model runs: whatever is in doubt is not local, and one module alone judges it."""

from __future__ import annotations

import ast
import doctest
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from routewright.engine.policy import locality
from routewright.engine.policy.locality import Location, Rule, is_loopback, is_this_machine, judge
from routewright.engine.policy.shapes.kinds import KINDS

ROOT = Path(__file__).parents[3]

HERE = [
    "localhost",
    "LOCALHOST:11434",
    "localhost.",
    "http://localhost:11434",
    "https://LocalHost./v1",
    "127.0.0.1:11434",
    "http://127.9.9.9",
    "http://127.255.255.254/v1",
    "::1",
    "[::1]",
    "http://[::1]:11434",
    "0:0:0:0:0:0:0:1",
    "[0000:0000:0000:0000:0000:0000:0000:0001]:80",
    "::ffff:127.0.0.1",
    "::FFFF:127.0.0.1",
    "http://[::ffff:127.0.0.1]:11434",
    "http://[::FFFF:7F00:1]:11434",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "http://[0000:0000:0000:0000:0000:ffff:7f12:3456]",
]
ELSEWHERE = [
    # the neighbour's machine, names that only look like this one, addresses to listen at
    "http://192.168.1.20:11434",
    "10.0.0.5",
    "gpu-box:11434",
    "fe80::1",
    "http://[fe80::1%25eth0]",
    "http://[::1%25eth0]",
    "::1%eth0",
    "0.0.0.0:11434",
    "http://0.0.0.0",
    "::",
    "http://[::]:11434",
    "::ffff:0.0.0.0",
    "::ffff:10.0.0.5",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "http://127.0.0.1.example.com",
    "http://localhost.example.com",
    "http://ollama.localhost",
    "localhost..",
    "http://example.com/localhost",
    "http://example.com#//localhost",
    "http://example.com?localhost",
    "http://localhost#@example.com",
    "http://localhost@example.com",
    "http://localhost\\@example.com",
    "http://localhost\\.example.com",
    "http://[::1]example.com",
    "http://[::1].example.com:80",
    "http://local\nhost",
    "\x01http://localhost",
    "http://localhost:port",
    "http://localhost:80:90",
    "http://localhost:99999",
    "ftp://localhost",
    "https://ollama.com",
    # spellings that some resolvers read as an address
    "127.1",
    "0x7f.1",
    "0x7f000001",
    "2130706433",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.1.",
    "\uff11\uff12\uff17.0.0.1",
    "\u24db\u24deca\u24dbhost",
    "lo\u200bcalhost",
    "",
    ":",
    "//",
    "http://",
]


def test_the_examples_hold() -> None:
    assert doctest.testmod(locality).failed == 0


@pytest.mark.parametrize("host", HERE)
def test_loopback_addresses_and_localhost_are_this_machine(host: str) -> None:
    assert is_this_machine(host)
    assert judge("ollama", host).place("qwen3").location == "local"


@pytest.mark.parametrize("host", ELSEWHERE)
def test_every_other_host_is_not(host: str) -> None:
    assert not is_this_machine(host)
    assert not judge("openai", host, stays=True).here
    if host:  # an Ollama client without a host talks to this machine
        assert judge("ollama", host).place("qwen3").location == "cloud"


@given(st.integers(0, 2**24 - 1).map(lambda low: IPv4Address((127 << 24) + low)))
def test_all_of_127_is_this_machine_also_inside_ipv6(address: IPv4Address) -> None:
    mapped = IPv6Address((0xFFFF << 32) + int(address))
    for text in (str(address), str(mapped), mapped.exploded.upper(), f"::ffff:{address}"):
        assert is_loopback(text)
        assert is_this_machine(text) and is_this_machine(f"http://[{text}]:1" if ":" in text else f"{text}:1")


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
@example(IPv6Address("::1"))
def test_no_other_address_is(address: IPv4Address | IPv6Address) -> None:
    plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
    expected = plain in (ip_address("::1"),) or (plain.version == 4 and plain.packed[0] == 127)
    assert is_loopback(str(address)) is is_this_machine(str(address)) is expected


@given(st.text(max_size=30))
def test_what_is_no_address_is_never_this_machine_and_never_a_crash(text: str) -> None:
    if is_this_machine(text):
        name = text.lower()
        assert "localhost" in name or "127." in name or ":" in name
    for rule in get_args(Rule):
        judge(rule, text).place(text)


# Names of models, and what an Ollama server makes of them: the suffix, and the name at ollama.com.
CLOUD_NAMES = {
    "kimi-k2:1t-cloud": "kimi-k2:1t",
    "gpt-oss:20b:cloud": "gpt-oss:20b",
    "kimi-k2.5:cloud": "kimi-k2.5",
    "x:CLOUD": "x",
    "GLM-4.6:355B-Cloud": "GLM-4.6:355B",
    "a/b:cloud": "a/b",
    "host:5000/a/b:cloud": "host:5000/a/b",
    "x:-cloud": "x:",
    ":cloud": ":cloud",
    # both suffixes at once are refused by the server, and local to nobody
    "x:cloud:local": "x:cloud:local",
    "x:local:cloud": "x:local:cloud",
    "x:1t-cloud:cloud": "x:1t-cloud:cloud",
}
OTHER_NAMES = [
    "qwen3:8b",
    "qwen3",
    "my-cloud",  # without a colon there is no suffix: a tag of its own, `my-cloud:latest`
    "cloud",
    "my-cloud-model:7b",
    "cloud:7b",
    "x:cloudy",
    "x:mycloud",
    "host:5000/a-cloud",
    "hf.co/cloud/model:7b",
    "m:local",
    "m:8b:LOCAL",
]
BLANKS = [
    "",
    " ",
    "\t",
    "\n",
    "\r\n",
    "\v\f",
    "\x85",
    "\xa0",
    "\u1680",
    "\u2003",
    "\u2028",
    "\u202f",
    "\u3000",
]


@pytest.mark.parametrize("blank", BLANKS)
@pytest.mark.parametrize("name", [name for name in CLOUD_NAMES if name != ":cloud"])
@pytest.mark.parametrize("kind", ["ollama", "openai"])
def test_a_cloud_name_is_one_whatever_stands_around_it(kind: Rule, name: str, blank: str) -> None:
    before, _, last = name.rpartition(":")
    for spelt in (f"{name}{blank}", f"{blank}{name}", f"{before}:{blank}{last}{blank}"):
        place = judge(kind, "localhost:1", stays=kind == "openai").place(spelt)
        assert (place.location, place.is_cloud_name, place.name) == ("cloud", True, name)


@pytest.mark.parametrize(("name", "base"), [pair for pair in CLOUD_NAMES.items() if pair[0] != ":cloud"])
def test_ollama_com_is_asked_for_the_base_name(name: str, base: str) -> None:
    place = judge("ollama", "https://ollama.com").place(f" {name} ")
    assert (place.location, place.name) == ("cloud", base)


@pytest.mark.parametrize("name", CLOUD_NAMES)
def test_another_kind_of_backend_asks_ollama_com_for_the_name_as_it_is(name: str) -> None:
    """The key of Ollama and its names without a suffix belong to backends that are declared as Ollama."""
    server = judge("openai", "https://ollama.com/v1")
    assert not server.is_ollama_com
    place = server.place(f" {name} ")
    assert (place.location, place.is_cloud_name, place.name) == ("cloud", True, name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_other_names_stay(name: str) -> None:
    place = judge("ollama", None).place(f"{name} ")
    assert (place.location, place.is_cloud_name, place.name) == ("local", False, name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_the_local_name_is_read_as_local_and_means_the_same_model(name: str) -> None:
    place = judge("ollama", None).place(name)
    base, _, suffix = place.local_name.rpartition(":")
    assert suffix.lower() == "local"
    assert base.removesuffix(":latest") == name.removesuffix(":local").removesuffix(":LOCAL")
    assert judge("ollama", None).place(place.local_name).location == "local"


@pytest.mark.parametrize(
    ("rule", "host", "tag", "location"),
    [
        ("ollama", None, "qwen3:30b", "local"),
        ("ollama", "https://ollama.com", "gpt-oss:120b", "cloud"),
        ("ollama", None, "kimi-k2:1t-cloud", "cloud"),
        # in this process, unless the catalog says that another machine is asked
        ("in_process", None, "qwen3-coder-30b", "local"),
        ("in_process", None, "thinks-it-is:cloud", "local"),
        ("in_process", "http://10.0.0.5:8080", "qwen3-coder-30b", "cloud"),
        # a server of this machine that may forward, of which nobody said that it does not
        ("openai", "http://localhost:8080", "any", None),
        ("openai", "http://[::ffff:127.0.0.1]:8080/v1", "any", None),
        ("openai", "http://localhost:8080", "any:cloud", "cloud"),
        ("openai", "http://0.0.0.0:8080", "any", "cloud"),
        ("openai", "https://api.example.com", "any", "cloud"),
        ("openai", None, "any", "cloud"),
    ],
)
def test_location_follows_from_rule_host_and_tag(
    rule: Rule, host: str | None, tag: str, location: Location | None
) -> None:
    assert judge(rule, host).place(tag).location == location


def test_each_kind_has_its_rule() -> None:
    rules = {
        kind: shape.model_validate(
            {"kind": kind, **({"host": "http://x"} if kind == "openai" else {})}
        ).server.rule
        for kind, shape in KINDS.items()
    }
    assert rules == {
        "ollama": "ollama",
        "mlx": "in_process",
        "openai": "openai",
        "llamacpp": "in_process",
        "simulated": "in_process",
    }


@pytest.mark.parametrize("rule", get_args(Rule))
@pytest.mark.parametrize("host", [None, "localhost", "10.0.0.5"])
def test_a_catalog_may_say_cloud_of_any_server(rule: Rule, host: str | None) -> None:
    server = judge(rule, host, location="cloud")
    assert (server.place("qwen3:30b").location, server.is_local) == ("cloud", False)


@pytest.mark.parametrize("rule", get_args(Rule))
@pytest.mark.parametrize("stays", [False, True])
@pytest.mark.parametrize("host", [None, "http://localhost:1", "http://10.0.0.5:1", "http://0.0.0.0:1"])
def test_unknown_is_only_a_server_on_this_machine_that_may_forward(
    rule: Rule, host: str | None, stays: bool
) -> None:
    server = judge(rule, host, stays=stays)
    unknown = rule == "openai" and host == "http://localhost:1" and not stays
    assert (server.place("m").location is None) is unknown
    assert server.is_local is (server.place("m").location == "local")


def test_the_ollama_backend_is_spoken_to_where_it_was_judged_to_be() -> None:
    """An address to listen at is not this machine, whoever asks; only `OLLAMA_HOST` of a server means one."""
    assert judge("ollama", "http://0.0.0.0:1234").url == "http://0.0.0.0:1234"
    assert judge("ollama", "  ").url == judge("ollama", None).url == "http://127.0.0.1:11434"
    assert judge("ollama", "[::1]").url == judge("ollama", "::1").url == "http://[::1]:11434"
    assert judge("ollama", "box:80/ollama/").url == "http://box:80/ollama"
    assert judge("ollama", "http://box").url == "http://box"


# --- one judge ---------------------------------------------------------------------------------------------

_TELLING = ("localhost", "127.", "::1", "0.0.0.0", "loopback", "-cloud", ":cloud")
_COMPARING = frozenset(
    (
        *(
            "startswith",
            "endswith",
            "removeprefix",
            "removesuffix",
            "partition",
            "rpartition",
            "split",
            "find",
        ),
        *("match", "search", "fullmatch", "compile"),
    )
)


def _judgements(tree: ast.AST) -> Iterator[str]:
    """What in a module judges a host or a cloud tag: imports, and texts that something is compared with."""
    for node in ast.walk(tree):
        compared: list[ast.expr] = []
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names if name.name == "ipaddress")
            case ast.ImportFrom(module="ipaddress"):
                yield "ipaddress"
            case ast.Attribute(attr="is_loopback" | "is_private" | "is_global"):
                yield node.attr
            case ast.Compare():
                compared = [node.left, *node.comparators]
            case ast.Call(func=ast.Attribute(attr=name)) if name in _COMPARING:
                compared = node.args
            case ast.Dict():
                compared = [key for key in node.keys if key is not None]
        for text in (part for operand in compared for part in ast.walk(operand)):
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                if any(word in text.value.lower() for word in _TELLING):
                    yield text.value


def test_no_other_module_judges_hosts_or_tags() -> None:
    found, read = {}, 0
    for folder in ("engine", "backends", "ledger", "src/routewright"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if not any(part.is_symlink() for part in path.parents if ROOT in part.parents):
                read += 1
                judged = list(_judgements(ast.parse(path.read_text(encoding="utf-8"))))
                if judged:
                    found[path.relative_to(ROOT).as_posix()] = judged
    assert read > 200
    assert list(found) == ["engine/policy/locality.py"], found
    assert "ipaddress" in found["engine/policy/locality.py"]
