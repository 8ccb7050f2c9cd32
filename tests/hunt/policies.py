"""Random policies that keep private work here, over catalogs whose models are here or elsewhere by construction."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from .world import FORWARDER, OLLAMA, PLAIN, REDIRECTING, STUBS

__all__ = ["Made", "maps_for", "random_policy"]

HERE = ("127.0.0.1", "localhost", "127.1.2.3", "[::1]", "[::ffff:127.0.0.1]", "LOCALHOST", "[::ffff:7f00:1]")
"""Names of this machine, as far as anybody may take them for it."""

ELSEWHERE = (
    "https://gpu.lan",
    "http://gpu.lan:8000",
    f"http://10.0.0.5:{OLLAMA}",
    f"http://192.168.1.9:{PLAIN}",
    "https://ollama.com",
    "https://api.openai.com",
    f"http://0.0.0.0:{PLAIN}",
    f"http://[::]:{PLAIN}",
    f"http://127.0.0.1.nip.example:{OLLAMA}",
    f"http://localhost.example.com:{OLLAMA}",
    f"http://[::ffff:10.0.0.5]:{OLLAMA}",
    f"http://[fe80::1]:{OLLAMA}",
    f"http://169.254.169.254:{PLAIN}",
    "http://128.0.0.1",
)
CLOUD_TAGS = ("kimi-k2:1t-cloud", "gpt-oss:20b:cloud", "x:CLOUD", "x:30b-Cloud", "my-cloud")
BLANK_TAGS = (
    "kimi-k2:1t-cloud ",
    "kimi-k2: cloud",
    "gpt-oss:120b-cloud\t",
    "gpt-oss:20b:cloud\u00a0",
    "glm:\u3000cloud",
    "qwen3:cloud\n",
)
"""Tags of the cloud with blanks, which servers trim: few, since a policy with one may be refused whole."""

LOCAL_TAGS = ("qwen3:8b", "small", "cloudy:7b", "my-cloud-model", "llama:latest")
KEYS = ("OLLAMA_API_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY")

WHEN = (
    "private",
    "private == true",
    "private || false",
    "!(!private)",
    "private ? true : false",
    "private != false",
    {"any": ["private", "team == 'secret'"]},
    {"all": ["private"]},
    {"none": ["!private"]},
)
REQUIRE = (
    "model.location == 'local'",
    "model.location != 'cloud'",
    "!(model.location == 'cloud')",
    "model.location in ['local']",
    "model.location.startsWith('local')",
    "model.location == 'local' && model.location != 'cloud'",
)


@dataclass
class Made:
    """A policy's plain values, and the ids of its models by what they can do."""

    values: dict[str, Any]
    chats: list[str] = field(default_factory=list)
    embeds: list[str] = field(default_factory=list)


def random_policy(random: Random, name: str = "hunted") -> Made:
    backends: dict[str, Any] = {}
    models: dict[str, Any] = {}
    safe: list[str] = []
    for number in range(random.randint(2, 4)):
        id = f"b{number}"
        make = random.choice([_ollama_here, _ollama_here, _plain_here, _forwarder, _elsewhere])
        shape, tags, is_here = make(random)
        backends[id] = {**shape, "timeouts": {"total": "5s"}}
        if is_here:
            safe.append(id)
        for tag in tags:
            operations = ["embed"] if random.random() < 0.15 else ["chat"]
            model: dict[str, Any] = {"backend": id, "tag": tag, "operations": operations}
            if operations == ["embed"]:
                model["embedding_space"] = "words"
            if random.random() < 0.5:
                model["price"] = {"input": random.randint(0, 3), "output": random.randint(0, 9)}
            models[f"m{len(models)}"] = model
    made = Made({})
    made.chats = [id for id, model in models.items() if model["operations"] == ["chat"]]
    made.embeds = [id for id in models if id not in made.chats]
    if not made.chats:
        id = next(iter(models))
        models[id] = {"backend": models[id]["backend"], "tag": models[id]["tag"], "operations": ["chat"]}
        made.chats, made.embeds = [id], [one for one in made.embeds if one != id]
    require = random.choice(REQUIRE)
    if safe and random.random() < 0.15:
        require = f"model.backend in {safe!r}" if random.random() < 0.5 else f"model.backend == '{safe[0]}'"
    private: dict[str, Any] = {"type": "boolean"}
    if random.random() < 0.6:
        private["default"] = random.random() < 0.5
    made.values = {
        "routewright": 1,
        "name": name,
        "catalog": {"routewright": 1, "backends": backends, "models": models},
        "features": {
            "private": private,
            "team": {"type": "string", "from": "request.metadata.team", "default": "none"},
            "level": {"type": "integer", "minimum": 0, "maximum": 9, "default": 5},
        },
        "constraints": [{"name": "stays", "when": random.choice(WHEN), "require": require}],
        "chains": {"all": random.sample(list(models), len(models))},
        "rules": [_rule(random, number, made) for number in range(random.randint(1, 3))],
        "controls": [
            {"name": "again", "max_attempts": random.randint(1, 6), "backoff": "1ms", "deadline": "10s"},
            *([{"name": "kept", "cache_ttl": "1h"}] if random.random() < 0.4 else []),
        ],
    }
    return made


def _host(random: Random, port: int) -> str:
    return f"http://{random.choice(HERE)}:{port}"


def _ollama_here(random: Random) -> tuple[dict[str, Any], list[str], bool]:
    tags = random.sample([*LOCAL_TAGS, *CLOUD_TAGS, *STUBS], random.randint(1, 3))
    if random.random() < 0.05:
        tags[0] = random.choice(BLANK_TAGS)
    if random.random() < 0.2:
        # An Ollama server by its other API, which forwards the same models.
        return {"kind": "openai", "host": _host(random, OLLAMA), **_stays(random)}, tags, False
    ways: list[dict[str, Any]] = [{"host": _host(random, OLLAMA)}, {}, {"host": "127.0.0.1"}]
    way = {"host": "::1"} if random.random() < 0.02 else random.choice(ways)
    return {"kind": "ollama", **way, **_key(random)}, tags, set(tags) <= set(LOCAL_TAGS)


def _plain_here(random: Random) -> tuple[dict[str, Any], list[str], bool]:
    tags = random.sample([*LOCAL_TAGS, REDIRECTING], random.randint(1, 2))
    return {"kind": "openai", "host": _host(random, PLAIN), **_stays(random), **_key(random)}, tags, True


def _forwarder(random: Random) -> tuple[dict[str, Any], list[str], bool]:
    """A server on this machine that passes everything on, and of which nobody says that it does not."""
    return {"kind": "openai", "host": _host(random, FORWARDER)}, random.sample(LOCAL_TAGS, 1), False


def _elsewhere(random: Random) -> tuple[dict[str, Any], list[str], bool]:
    kind = random.choice(("openai", "ollama"))
    return (
        {"kind": kind, "host": random.choice(ELSEWHERE), **_key(random)},
        random.sample(LOCAL_TAGS, 2),
        False,
    )


def _stays(random: Random) -> dict[str, Any]:
    """The declaration that a server of kind `openai` on this machine forwards nothing."""
    return {"stays": True} if random.random() < 0.7 else {}


def _key(random: Random) -> dict[str, Any]:
    return {"api_key": "${" + random.choice(KEYS) + "}"} if random.random() < 0.06 else {}


def _rule(random: Random, number: int, made: Made) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "name": f"rule{number}",
        "when": random.choice([True, "level > 3", "private", "!private", "team == 'secret'", "has(private)"]),
        "on_unknown": random.choice(["skip", "match"]),
        "fallback": random.choice(["none", "all", random.sample(made.chats, 1)]),
    }
    pick: Callable[[], str] = lambda: random.choice(made.chats)  # noqa: E731 - read often, right below
    if random.random() < 0.2 and len(made.chats) > 1:
        combine = random.choice(["vote", "judge", "consensus_or_override"])
        members = random.sample(made.chats, 2)
        ways: dict[str, dict[str, Any]] = {
            "vote": {"label": "(ACCEPT|REJECT)"},
            "judge": {"judge": pick()},
            "consensus_or_override": {"override": members[0]},
        }
        rule["ensemble"] = {"members": members, "combine": combine, "quorum": 1}
        rule["ensemble"] |= ways[combine]
    else:
        everything = [*made.chats, *made.embeds]
        rule["use"] = random.sample(everything, random.randint(1, min(3, len(everything))))
        rule["choose"] = random.choice(["first", "first", "cheapest", "fastest", "split"])
        if rule["choose"] == "split":
            rule["split"] = {"weights": dict.fromkeys(rule["use"], 1), "salt": "s", "key": "team"}
        elif random.random() < 0.2:
            rule["sticky"] = "session"
    steps: list[dict[str, Any]] = []
    if random.random() < 0.3:
        steps.append({"screen": {"with": pick(), "on": random.choice(["prompt", "answer", "both"])}})
    if random.random() < 0.3:
        steps.append({"draft": {"with": pick()}})
    if random.random() < 0.3:
        steps.append(
            {"verify": {"with": pick(), "on_reject": random.choice(["annotate", "retry", "escalate"])}}
        )
    if random.random() < 0.2:
        steps.append({"refine": {"with": pick(), "rounds": 1}})
    return {**rule, "steps": steps}


def maps_for(random: Random, made: Made) -> dict[str, str]:
    """Mappings onto what this machine may have, or may only seem to have."""
    targets = [f"ollama:{tag}" for tag in (*LOCAL_TAGS, *CLOUD_TAGS, *STUBS, BLANK_TAGS[0])] + [
        "openai:x:CLOUD"
    ]
    names = ["*"] if random.random() < 0.3 else random.sample(made.chats, 1)
    return {name: random.choice(targets) for name in names}
