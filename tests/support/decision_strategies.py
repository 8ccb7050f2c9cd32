"""Random policies over one small catalog, tasks and states for them; and the helper that compiles a policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from routewright.engine.decision.arms import arm_named, pick_arm
from routewright.engine.decision.decision import Arm
from routewright.engine.decision.task import MemoryState, ModelState, RequestFacts, Resident, State, Task
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import Source, read_catalog, read_policy
from routewright.engine.policy.shapes.base import Operation
from routewright.engine.policy.shapes.catalog import Catalog
from routewright.engine.policy.shapes.policy import Policy

__all__ = ["AT_US", "CATALOG", "FEATURES", "arms", "compiled", "plans_of", "policies", "states", "tasks"]

AT_US = 1_767_225_600_000_000

CATALOG: Mapping[str, Any] = {
    "routewright": 1,
    "backends": {
        "here": {"kind": "mlx", "operations": ["chat", "embed"], "timeouts": {"total": "30s"}},
        "server": {"kind": "ollama"},
        "away": {
            "kind": "openai",
            "host": "https://models.example",
            "operations": ["chat", "embed", "rerank"],
        },
    },
    "models": {
        "small": {"backend": "here", "context_length": 8, "expected_latency": "200ms", "memory_gb": 1},
        "coder": {
            "backend": "here",
            "context_length": 32,
            "tokenizer": "qwen3",
            "max_output_tokens": 20,
            "capabilities": ["tools"],
            "memory_gb": 8,
        },
        "general": {"backend": "server", "price": {"input": 0, "output": 0.1}, "context_length": 16},
        "seeing": {"backend": "server", "capabilities": ["vision", "tools"], "disabled": True},
        "large": {
            "backend": "away",
            "context_length": 64,
            "tokenizer": "llama3",
            "capabilities": ["vision"],
            "price": {"input": 2, "output": 6},
            "memory_gb": 200,
        },
        "huge": {
            "backend": "away",
            "capabilities": ["vision", "tools", "json_schema"],
            "price": {"input": 3.5, "output": 9},
        },
        "words": {"backend": "here", "operations": ["embed"], "embedding_space": "words"},
        "more_words": {"backend": "away", "operations": ["embed", "rerank"], "embedding_space": "words"},
    },
}

FEATURES: Mapping[str, Any] = {
    "urgent": {"type": "boolean", "default": False},
    "private": {"type": "boolean"},
    "sees": {"type": "boolean", "needs": "vision"},
    "kind": {"type": "string", "enum": ["code", "prose", "table"], "default": "prose"},
    "count": {"type": "integer", "minimum": 0, "maximum": 9},
    "score": {"type": "number", "minimum": 0, "maximum": 1, "default": 0.5},
    "team": {"type": "string", "from": "request.metadata.team"},
    "tokens": {"type": "integer", "from": "request.prompt_tokens"},
    "hour": {"type": "integer", "from": "time.hour", "timezone": "Europe/Berlin"},
}

_ATOMS = (
    "urgent",
    "private",
    "sees",
    "kind == 'code'",
    "kind in ['prose', 'table']",
    "count > 4",
    "count == 2",
    "count <= 0",
    "score >= 0.7",
    "score < 0.25",
    "team == 'infra'",
    "team != 'sales'",
    "tokens > 10",
    "has(count)",
    "has(team)",
    "state.load > 0.5",
    "hour >= 18",
)
_REQUIRES = (
    "model.backend == 'here'",
    "model.location == 'local'",
    "model.memory_gb <= 8",
    "'tools' in model.capabilities",
    "model.price_output < 8.0",
    "model.context_length > tokens",
    "state.latency_ms < 500.0 || model.location == 'local'",
    "state.loaded || state.load_ms < 1000",
    "model.memory_gb < 100.0 * score",
)
_CHATTING = ("small", "coder", "general", "seeing", "large", "huge")
_MODELS = (*_CHATTING, "words", "more_words")

_atom = st.sampled_from(_ATOMS)
conditions: SearchStrategy[str] = st.recursive(
    _atom,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda ab: f"({ab[0]} && {ab[1]})"),
        st.tuples(inner, inner).map(lambda ab: f"({ab[0]} || {ab[1]})"),
        inner.map(lambda a: f"!({a})"),
    ),
    max_leaves=4,
)


@cache  # what hypothesis finds out about a strategy, it finds out once
def _some(names: tuple[str, ...], least: int, most: int) -> SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(names), min_size=least, max_size=most, unique=True)


@st.composite
def _rules(draw: st.DrawFn, number: int) -> dict[str, Any]:
    rule: dict[str, Any] = {
        "name": f"rule_{number}",
        "when": draw(conditions | st.just(True)),
        "on_unknown": draw(st.sampled_from(["skip", "skip", "match", "fail"])),
        "fallback": draw(st.sampled_from(["none", "everything"]) | _some(_MODELS, 1, 3)),
    }
    if draw(st.integers(0, 5)) == 0:
        members = draw(_some(_CHATTING, 2, 3))
        combine = draw(st.sampled_from(["vote", "judge", "consensus_or_override"]))
        rule["ensemble"] = {"members": members, "combine": combine, "quorum": draw(st.integers(1, 2))}
        if combine == "vote":
            rule["ensemble"]["label"] = "(yes|no)"
        elif combine == "judge":
            rule["ensemble"]["judge"] = draw(st.sampled_from(_CHATTING))
        elif combine == "consensus_or_override":
            rule["ensemble"]["override"] = members[0]
    else:
        rule["use"] = draw(_some(_MODELS, 1, 4))
        rule["sticky"] = draw(st.sampled_from([None, "session"]))
        rule["choose"] = draw(st.sampled_from(["first", "first", "cheapest", "fastest", "split"]))
        if rule["choose"] == "split":
            weights = {name: draw(st.integers(0, 3)) for name in rule["use"]}
            weights[rule["use"][-1]] = 1
            rule["split"] = {"weights": weights, "salt": "s"}
            if draw(st.booleans()):
                rule["split"]["key"] = draw(st.sampled_from(["team", "kind", "count"]))
    steps: list[dict[str, Any]] = [{"draft": {"with": name}} for name in draw(_some(_CHATTING, 0, 1))]
    steps += [
        {"verify": {"with": name, "required": draw(st.booleans())}} for name in draw(_some(_CHATTING, 0, 1))
    ]
    steps += [
        {"screen": {"with": name, "required": draw(st.booleans())}} for name in draw(_some(_CHATTING, 0, 1))
    ]
    return {**rule, "steps": steps}


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """The plain values of a valid policy with its catalog."""
    count = draw(st.integers(1, 4))
    constraints = [
        {"name": f"constraint_{number}", "when": when, "require": require}
        for number, (when, require) in enumerate(
            draw(st.lists(st.tuples(conditions, st.sampled_from(_REQUIRES)), max_size=3))
        )
    ]
    controls: list[dict[str, Any]] = []
    if draw(st.booleans()):
        controls.append({"name": "calls", "on": draw(_some(_MODELS, 1, 4)), "max_requests": 10, "per": "day"})
        controls.append({"name": "kept", "of": "calls", "reserve": "50%", "for": draw(conditions)})
    if draw(st.booleans()):
        unknown = draw(st.sampled_from(["refuse", "allow"]))
        models = draw(_some(_CHATTING[:-1], 1, 3))
        controls.append(
            {"name": "money", "on": models, "max_cost": "2 USD", "per": "month", "unknown_cost": unknown}
        )
    if draw(st.integers(0, 3)) == 0:
        unknown = draw(st.sampled_from(["refuse", "allow"]))
        # 10 tokens of the large model, or of none that has a price.
        most = draw(st.sampled_from(["0.00002 USD", "0 USD"]))
        controls.append({"name": "task", "max_cost": most, "per": "request", "unknown_cost": unknown})
    return {
        "routewright": 1,
        "name": "random",
        "catalog": "catalog.yaml",
        "features": FEATURES,
        "constraints": constraints,
        "rules": [draw(_rules(number)) for number in range(count)],
        "chains": {"everything": list(_MODELS)},
        "controls": controls,
    }


_numbers = st.floats(0, 1) | st.sampled_from([-0.0, 0.0, 0.25, 0.7, 1e-7, 1])
_texts = st.sampled_from(["infra", "sales", "é\x07", "", "🐱", "a" * 50])


_given: Mapping[str, SearchStrategy[object]] = {
    name: st.none() | strategy
    for name, strategy in {
        "urgent": st.booleans(),
        "private": st.booleans(),
        "sees": st.booleans(),
        "kind": st.sampled_from(["code", "prose", "table"]),
        "count": st.integers(0, 9),
        "score": _numbers,
        "team": _texts,
        "tokens": st.integers(-2, 70),
    }.items()
}
_undeclared = st.dictionaries(st.sampled_from(["zeta", "Ä", "alpha"]), _numbers | _texts | st.lists(_texts))
_counted = st.none() | st.integers(0, 150) | st.just(2**53 - 1)
_most = st.none() | st.integers(1, 70)
_few = st.none() | st.integers(0, 2)
_maybe = st.none() | st.booleans()
_metadata = st.dictionaries(st.sampled_from(["team", "session"]), _texts)
_operations: SearchStrategy[Operation] = st.sampled_from(["chat", "chat", "chat", "embed", "rerank"])
_pins = st.none() | st.none() | st.sampled_from(_MODELS)
_shares = st.floats(0, 1, exclude_max=True)


@st.composite
def _tasks(draw: st.DrawFn) -> Task:
    features = {name: draw(strategy) for name, strategy in _given.items() if draw(st.booleans())}
    if draw(st.booleans()):
        features |= draw(_undeclared)
    request = RequestFacts()
    if draw(st.booleans()):
        tokens = draw(_counted)
        source = None if tokens is None else draw(st.sampled_from(("stated", "counted", "estimated")))
        request = RequestFacts(
            prompt_tokens=tokens,
            prompt_tokens_source=source,  # type: ignore[arg-type]  # from a list of names
            tokenizer=draw(st.sampled_from(("qwen3", "llama3"))) if source == "counted" else None,
            max_output_tokens=draw(_most),
            images=draw(_few),
            tools=draw(_few),
            json_schema=draw(_maybe),
            metadata=draw(_metadata),
        )
    return Task(
        features=features,
        operation=draw(_operations),
        request=request,
        pin=draw(_pins),
        draw=draw(_shares),
    )


_every_task = _tasks()


def tasks() -> SearchStrategy[Task]:
    """Tasks that every policy made here can decide, given a draw."""
    return _every_task


_known = st.builds(
    ModelState,
    st.sampled_from([None, "healthy", "unhealthy"]),
    st.sampled_from([None, "closed", "open", "half_open"]),
    st.none() | st.floats(0, 1e18),
    st.sampled_from([None, AT_US + 1, AT_US + 5 * 3_600_000_000]),
    st.sampled_from([None, "overloaded", "quota_exhausted"]),
    loaded=st.sampled_from([None, True, False]),
    load_ms=st.none() | st.integers(0, 10**6),
    memory_bytes=st.none() | st.integers(0, 20 * 10**9),
)
_resident = st.builds(
    Resident, st.sampled_from([*_MODELS, "a stranger"]), st.none() | st.integers(0, 9 * 10**9)
)
_memory = st.builds(
    MemoryState,
    st.none() | st.integers(0, 10 * 10**9),
    st.lists(_resident, max_size=3, unique_by=lambda one: one.model).map(tuple),
)
_every_state = st.builds(
    State,
    st.integers(AT_US, AT_US + 10**14),
    load=st.none() | st.floats(0, 1),
    models=st.just({}) | st.dictionaries(st.sampled_from(_MODELS), _known),
    quota_used=st.just({})
    | st.dictionaries(st.sampled_from(["calls", "money"]), st.integers(0, 12) | st.just(3 * 10**9)),
    session_model=st.none() | st.sampled_from([*_MODELS, "gone"]),
    memory=st.just({}) | st.dictionaries(st.sampled_from(["here", "away"]), _memory),
)


def states() -> SearchStrategy[State]:
    """States in which something, or nothing, is known."""
    return _every_state


@st.composite
def arms(draw: st.DrawFn) -> Arm | None:
    """Arms of every mode, as a rollout may pick them; None without one."""
    mode = draw(st.sampled_from([None, "shadow", "canary", "full"]))
    if mode is None:
        return None
    policy = {"routewright": 1, "name": "now", "catalog": "catalog.yaml", "features": FEATURES}
    rules = [{"name": "a", "use": ["small"]}]
    candidate = compiled({**policy, "name": "next", "rules": rules})
    rollout: dict[str, Any] = {"candidate": "next.yaml", "mode": mode}
    if mode == "canary":
        key = draw(st.sampled_from([None, "team", "count", "score"]))
        rollout |= {"percent": f"{draw(st.integers(0, 1000)) / 10}%", "key": key, "salt": draw(_texts)}
    control = compiled({**policy, "rules": rules, "rollout": rollout}, candidate)
    task, state = draw(tasks()), draw(states())
    return draw(
        st.sampled_from(
            [
                pick_arm(control, task, state, draw=draw(st.floats(0, 1, exclude_max=True))),
                arm_named(control, "control"),
                arm_named(control, "candidate"),
            ]
        )
    )


@cache
def _files() -> tuple[Source[Policy], Source[Catalog]]:
    policy = {
        "routewright": 1,
        "name": "random",
        "catalog": "catalog.yaml",
        "rules": [{"name": "a", "use": ["small"]}],
    }
    # JSON is YAML.
    return read_policy(json.dumps(policy), "policy.yaml"), read_catalog(json.dumps(CATALOG), "catalog.yaml")


def compiled(values: Mapping[str, Any], candidate: CompiledPolicy | None = None) -> CompiledPolicy:
    """The policy with these plain values over CATALOG. Reading YAML would take most of a test's time."""
    policy, catalog = _files()
    shape = Policy.model_validate(values)
    return compile_policy(replace(policy, shape=shape), catalog, candidate=candidate)


def plans_of(record: Mapping[str, Any]) -> list[str]:
    """The id of every model in a record's plan, whatever its role."""
    plan = record["plan"]
    if plan is None:
        return []
    models = [plan["target"], *plan["fallbacks"], *(step["model"] for step in plan["steps"])]
    if plan["ensemble"] is not None:
        models += [
            *plan["ensemble"]["members"],
            *filter(None, (plan["ensemble"]["judge"], plan["ensemble"]["override"])),
        ]
    return models
