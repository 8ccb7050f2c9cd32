"""Makes a ledger of varied work under the shipped policy, for measuring what asking it takes.

Two weeks of calls at any number: features that vary, teams, users and sessions, failures with fallbacks, answers from
the cache, skipped and lost calls, unknown costs, quotas, a newer version of the policy, shadows and simulated runs.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final

import duckdb
from recording import ATTEMPT
from workload import SHIPPED_POLICY, shipped

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Arm, NamedPolicy
from routewright.engine.decision.task import ModelState, RequestFacts, State, Task
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record.attempt import Attempt
from routewright.gateway.deciding import uuid7
from routewright.gateway.recorder import Pending, Recorder
from routewright.gateway.results import DecisionResult
from routewright.ledger import Ledger, Outcome
from routewright.loading.loading import load_policy

BEGIN_US: Final = 1_767_225_600_000_000
DAY_US: Final = 86_400_000_000
DAYS: Final = 14
_SPAN_US: Final = DAYS * DAY_US

AT_ONCE: Final = 50_000
"""Decisions that are loaded into the tables together."""

_JUDGED: Final = 100
"""Of so many decisions one has a score."""


def fill(path: Path, decisions: int) -> None:
    """Record so many decisions of two weeks at ``path``, and load them into the tables."""
    ledger, random = Ledger.open(path), Random(1)
    made = _made(decisions, random)
    while some := list(islice(made, AT_ONCE)):
        recorder = Recorder(ledger)
        recorder._write(some)
        assert all(one.error is None for one in some)
        writer = recorder._writer
        assert writer is not None
        writer.close()
        judged = [one.decided.decision.id for one in some if one.answered_attempt and not one.simulated][
            ::_JUDGED
        ]
        ledger.record_outcomes(Outcome(id, "score", random.random(), at_us=BEGIN_US) for id in judged)


def _made(decisions: int, random: Random) -> Iterator[Pending]:
    """The decisions in order, each with its calls."""
    old, new = shipped().policy, _newer()
    named = {policy.digest: NamedPolicy(policy.name, policy.digest) for policy in (old, new)}
    models = {
        one.id: ModelState(latency_ms=round(random.uniform(50, 5_000), 3)) for one in old.catalog.models
    }
    tasks = cycle(random.sample(shipped().tasks, len(shipped().tasks)))
    every_us, used = _SPAN_US // decisions, 0
    for number in range(decisions):
        at_us = BEGIN_US + number * every_us
        used = 0 if at_us // DAY_US > (at_us - every_us) // DAY_US else used + (random.random() < 0.01)
        changed = random.choice(old.catalog.models[:8]).id
        models = {**models, changed: ModelState(latency_ms=round(random.uniform(50, 5_000), 3))}
        policy = old if number < decisions * 0.9 else new
        state = State(at_us, models=models, quota_used={"max_daily_requests": used})
        task = _varied(next(tasks), random)
        arm = None
        if random.random() < 0.02 and policy is old:
            arm = Arm(
                "control",
                "shadow",
                1.0,
                None,
                None,
                None,
                None,
                named[old.digest],
                named[new.digest],
                "new.yaml",
            )
        decided = DecisionResult(
            decide(policy, task, state, decision_id=uuid7(at_us, random), arm=arm, strict=False),
            8_000 + random.randrange(4_000),
        )
        if arm is not None:
            beside = replace(arm, name="candidate", probability=0.0)
            shadow = decide(new, task, state, decision_id=uuid7(at_us, random), arm=beside, strict=False)
            decided.shadow = DecisionResult(shadow, 9_000)
        team = random.choice(("search", "ads", "mail", "legal", None))
        tags = {} if team is None else {"team": team, "user": f"user{random.randrange(300)}"}
        one = Pending(
            policy,
            decided,
            tags,
            f"trace-{number:x}" if random.random() < 0.2 else None,
            random.random() < 0.01,
        )
        one.ended = True
        one.attempts = list(_calls(one, random))
        one.answered_attempt = next(
            (call.number for call in one.attempts if call.status in ("ok", "cached")), None
        )
        yield one


def _newer() -> CompiledPolicy:
    """The shipped policy with one more rule, and one feature of another type."""
    with TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(SHIPPED_POLICY.parent, Path(folder) / "policies")) / SHIPPED_POLICY.name
        text = copied.read_text(encoding="utf-8")
        rule = (
            "  - { name: nightly, when: workload == 'light' && complexity < 0.1, use: [qwen3-coder-30b] }\n"
        )
        at = text.index("  - name: otherwise")
        copied.write_text(text[:at] + rule + text[at:], encoding="utf-8")
        return load_policy(copied)


def _varied(task: Task, random: Random) -> Task:
    features = dict(task.features)
    if random.random() < 0.5:
        features["complexity"] = round(random.random(), 3)
    if random.random() < 0.05:
        features["privacy_required"] = True
    if random.random() < 0.05:
        features["no_such_feature"] = random.randrange(1_000)
    if random.random() < 0.02:
        features["context_length"] = None
    elif random.random() < 0.8:
        features["context_length"] = random.randrange(100, 30_000)
    session = {"session": f"session-{random.randrange(20_000)}"} if random.random() < 0.3 else {}
    request = RequestFacts(prompt_tokens=random.randrange(20, 30_000), messages=1, metadata=session)
    return Task(features, request=request)


def _calls(one: Pending, random: Random) -> Iterator[Attempt]:
    """What was called: most of the time one model that answered."""
    decision = one.decided.decision
    if decision.plan is None:
        return
    models = [one.policy.catalog.models[at] for at in (decision.plan.target, *decision.plan.fallbacks)]
    at_us = decision.state.at_us + random.randrange(2_000)
    for number, model in enumerate(models[:3], start=1):
        tokens, cloud = (random.randrange(20, 4_000), random.randrange(5, 900)), model.location == "cloud"
        cost = tokens[0] * 600 + tokens[1] * 2_500 if cloud else 0
        took_us = random.randrange(80_000, 9_000_000)
        known: dict[str, Any] = {
            "number": number,
            "role": "answer" if number == 1 else "fallback",
            "model_id": model.id,
            "backend_id": model.backend,
            "started_at_us": at_us,
            "location": model.location or "unknown",
            "host": "ollama.com" if cloud else "127.0.0.1:11434",
            "simulated": one.simulated,
        }
        chance = random.random()
        if chance < 0.01:
            yield ATTEMPT._replace(
                **known,
                status="skipped",
                reason="its breaker is open",
                total_us=0,
                cost_nano=None,
                currency=None,
                input_tokens=None,
                output_tokens=None,
                finish_reason=None,
            )
        elif chance < 0.08:
            error = random.choice(("overloaded", "rate_limited", "timeout.first_token", "connection"))
            yield ATTEMPT._replace(
                **known,
                status="failed",
                error_class=error,
                total_us=took_us,
                cost_nano=0,
                currency="USD",
                input_tokens=0,
                output_tokens=0,
                finish_reason=None,
            )
        elif chance < 0.10 and number == 1:
            yield ATTEMPT._replace(
                **known,
                status="cached",
                cached_answer=True,
                total_us=100,
                cost_nano=0,
                saved_nano=cost,
                currency="USD",
            )
            return
        else:
            yield ATTEMPT._replace(
                **known,
                load_us=random.randrange(4_000_000) if not cloud and chance > 0.97 else 0,
                first_token_us=took_us // 10,
                total_us=took_us,
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                cost_nano=None if chance > 0.95 else cost,
                currency=None if chance > 0.95 else "USD",
                cost_source="reported",
                tokens_source="reported",
                cached_input_tokens=0,
                reasoning_tokens=0,
            )
            return
        at_us += took_us


def multiply(path: Path, times: int) -> None:
    """The same rows again, later and with ids of their own, so that there are ``times`` as many."""
    first = f"decision_id < {_id_at(BEGIN_US + _SPAN_US)}"
    with duckdb.connect(str(path)) as connection:
        for number in range(1, times):
            later = _SPAN_US * number
            own = f"{_later('decision_id', later)} AS decision_id"
            decisions = (
                f"{own}, {_later('shadow_of', later)} AS shadow_of, at_us + {later} AS at_us, "
                f"writer || '-{number}' AS writer"
            )
            attempts = f"{own}, started_at_us + {later} AS started_at_us"
            for table, replaced in (("decision_rows", decisions), ("attempt_rows", attempts)):
                connection.execute(
                    f"INSERT INTO {table} SELECT * REPLACE ({replaced}) FROM {table} WHERE {first}"
                )
        connection.execute("CHECKPOINT")


def _id_at(at_us: int) -> str:
    """The first id of that time: its first 48 bits are milliseconds (RFC 9562)."""
    return f"'{uuid.UUID(int=at_us // 1000 << 80)}'::UUID"


def _later(id: str, later_us: int) -> str:
    """SQL for the id of a decision that was made so much later."""
    digits = f"replace({id}::VARCHAR, '-', '')"
    ms = f"('0x' || substr({digits}, 1, 12))::BIGINT + {later_us // 1000}"
    return f"(printf('%012x', {ms}) || substr({digits}, 13))::UUID"
