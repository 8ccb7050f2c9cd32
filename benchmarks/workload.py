"""Makes policies with a given number of rules and the tasks to decide under them; and the same for the shipped policy.

Generated policies are made from a seed, so every run measures the same texts. A third of their tasks match
early, a third late, a third not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from routewright.engine.decision.task import Task
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.loading.loading import load_policy

__all__ = ["SHIPPED_POLICY", "Workload", "generated", "policy_text", "shipped"]

SHIPPED_POLICY = Path(__file__).resolve().parent.parent / "policies" / "hybrid.yaml"

FLAGS = (
    "urgent",
    "multi_step",
    "code_heavy",
    "long_form",
    "needs_citations",
    "customer_facing",
    "bulk",
    "draft",
)
TASK_TYPES = ("summary", "translation", "extraction", "review", "planning", "dialogue")

_HEAD = """\
routewright: 1
name: generated_{count}
catalog:
  routewright: 1
  backends:
    here: {{ kind: mlx }}
    server: {{ kind: ollama, host: "http://localhost:11434" }}
    away: {{ kind: ollama, host: "http://localhost:11434", location: cloud }}
  models:
    small: {{ backend: here, context_length: 32768 }}
    coder: {{ backend: here, context_length: 131072, capabilities: [tools] }}
    general: {{ backend: server, context_length: 131072 }}
    seeing: {{ backend: server, context_length: 32768, capabilities: [vision] }}
    large: {{ backend: away, context_length: 262144, capabilities: [tools] }}
    huge: {{ backend: away, context_length: 262144, capabilities: [tools, vision] }}
features:
{flags}
  private: {{ type: boolean, default: false }}
  task_type: {{ type: string, enum: [none, {task_types}], default: none }}
  route: {{ type: string, enum: [none, {routes}], default: none }}
  context_length: {{ type: integer, minimum: 0, from: request.prompt_tokens }}
  images: {{ type: integer, minimum: 0, default: 0 }}
  tools: {{ type: integer, minimum: 0, default: 0 }}
  complexity: {{ type: number, minimum: 0, maximum: 1, default: 0.5 }}
constraints:
  - {{ name: private_stays_local, when: private, require: model.location == 'local' }}
chains:
  local: [coder, general, small]
  cloud: [large, huge, general]
rules:
"""


@dataclass(frozen=True, slots=True)
class Workload:
    """A policy and its tasks.

    ``complete`` holds, for each task, the value of every feature by its name: what an engine without
    declarations has to be given. ``expected`` is the position of the first rule that holds, or None.
    """

    name: str
    policy: CompiledPolicy
    tasks: tuple[Task, ...]
    complete: tuple[Mapping[str, Any], ...]
    parameters: tuple[tuple[Any, ...], ...]
    expected: tuple[int | None, ...]


def generated(rule_count: int, task_count: int, seed: int = 20) -> Workload:
    """A policy of ``rule_count`` rules and ``task_count`` tasks, early, late and unmatched in turn."""
    text, wanted = policy_text(rule_count, seed)
    policy = compile_policy(read_policy(text, f"generated_{rule_count}.yaml"))
    random = Random(seed + 1)
    third = max(1, rule_count // 3)
    parts = [range(third), range(rule_count - third, rule_count), None]
    tasks = [_task(policy, wanted, parts[number % 3], random) for number in range(task_count)]
    return _workload(f"{rule_count:,} rules", policy, tasks)


def shipped() -> Workload:
    """The policy that comes with the project, and tasks from its first rules to its last."""
    policy = load_policy(SHIPPED_POLICY)
    tasks = [Task({"context_length": 2000, **given}) for given in _SHIPPED_TASKS]
    return _workload(f"shipped policy ({len(policy.rules)} rules)", policy, tasks)


def policy_text(rule_count: int, seed: int) -> tuple[str, list[dict[str, object]]]:
    """The YAML text of a policy, and for each rule the features that make its condition true."""
    random = Random(seed)
    rules, wanted = [], []
    for index in range(rule_count):
        condition, features = _condition(index, random)
        use, fallback = random.choice(_CANDIDATES)
        rules.append(
            f'  - {{ name: rule_{index}, when: "{condition}", use: [{use}], fallback: {fallback} }}\n'
        )
        wanted.append(features)
    head = _HEAD.format(
        count=rule_count,
        flags="\n".join(f"  {flag}: {{ type: boolean, default: false }}" for flag in FLAGS),
        task_types=", ".join(TASK_TYPES),
        # Tables grow by the things they tell apart: a route, a team, a tenant. So does this enum.
        routes=", ".join(_route(index) for index in range(rule_count) if index % 8 in _WITH_ROUTE),
    )
    return head + "".join(rules), wanted


_CANDIDATES = (
    ("small", "local"),
    ("coder", "local"),
    ("general", "cloud"),
    ("large", "cloud"),
    ("huge", "none"),
)

_SHIPPED_TASKS: tuple[dict[str, object], ...] = (
    {},
    {"privacy_required": True, "complex_reasoning": True},
    {"trillion_parameters": True},
    {"requires_vision": True, "images": 2},
    {"context_length": 180_000, "repository_scale": True},
    {"requires_tool_calling": True, "tools": 3, "complexity": 0.6},
    {"complex_reasoning": True, "complexity": 0.9},
    {"requires_documentation": True},
    {"use_case": "security_reviews", "complexity": 0.8},
    {"use_case": "function_calling"},
    {"route": "state_of_art_reasoning"},
    {"route": "quick_fix", "complexity": 0.1},
    {"route": "code_review", "context_length": 12_000},
    {"default_model": "lightweight"},
    {"performance_tier": "balanced"},
    {"workload": "critical", "complexity": 0.7},
)


_WITH_ROUTE = (1, 2, 3, 5, 7)
"""The rules, of every eight, that have a route of their own or are compared with by their neighbour."""


def _route(index: int) -> str:
    return f"route_{index}"


def _condition(index: int, random: Random) -> tuple[str, dict[str, object]]:
    """The condition of the rule at ``index``, and features that make it true where no default does."""
    flag, other = random.sample(FLAGS, 2)
    route = _route(index)
    tokens = random.randrange(50, 200) * 1000
    share = random.randrange(60, 96) / 100
    count = random.randrange(1, 6)
    task_type = random.choice(TASK_TYPES)
    match index % 8:
        case 0:
            return f"{flag} || {other}", {flag: True}
        case 1:
            return f"route == '{route}' && !{flag}", {"route": route}
        case 2:
            return f"context_length > {tokens} || {flag}", {"context_length": tokens + 1}
        case 3:
            some = ", ".join(f"'{_route(max(0, index - back))}'" for back in range(3))
            return f"route in [{some}]", {"route": route}
        case 4:
            text = f"task_type == '{task_type}' && complexity >= {share}"
            return text, {"task_type": task_type, "complexity": share}
        case 5:
            text = f"(route == '{route}' || {flag}) && context_length > {tokens // 50}"
            return text, {"route": route, "context_length": tokens // 50 + 1}
        case 6:
            return f"{flag} && {other} && images >= {count}", {flag: True, other: True, "images": count}
        case _:
            return f"route == '{route}' && (tools < {count} || !{flag})", {"route": route}


def _task(
    policy: CompiledPolicy, wanted: Sequence[dict[str, object]], part: range | None, random: Random
) -> Task:
    """A task whose first matching rule lies in ``part``; None for one that no rule matches."""
    while True:
        features: dict[str, object] = {
            "context_length": random.randrange(200, 20_000),
            "images": random.randrange(3),
            "tools": random.randrange(4),
            "complexity": random.randrange(0, 60) / 100,
            "private": random.random() < 0.2,
            "task_type": random.choice(TASK_TYPES),
        }
        for name in random.sample(sorted(features), random.randrange(4)):
            if name != "context_length":
                del features[name]
        if part is not None:
            features.update(wanted[random.choice(part)])
        task = Task(features)
        first = _first(policy.evaluate(_parameters(policy, _complete(policy, task))), len(policy.rules))
        if first is None if part is None else first in part:
            return task


def _workload(name: str, policy: CompiledPolicy, tasks: Sequence[Task]) -> Workload:
    complete = tuple(_complete(policy, task) for task in tasks)
    parameters = tuple(_parameters(policy, features) for features in complete)
    expected = tuple(_first(policy.evaluate(values), len(policy.rules)) for values in parameters)
    return Workload(name, policy, tuple(tasks), complete, parameters, expected)


def _complete(policy: CompiledPolicy, task: Task) -> dict[str, Any]:
    return {feature.name: task.features.get(feature.name, feature.default) for feature in policy.features}


def _parameters(policy: CompiledPolicy, complete: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(complete.get(name) for name in policy.parameters)


def _first(verdicts: Sequence[bool | None], rule_count: int) -> int | None:
    return next((index for index in range(rule_count) if verdicts[index] is True), None)
