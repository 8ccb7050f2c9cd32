"""Measures a replay: a changed policy over many recorded decisions, against a query that one would write by hand.

    python benchmarks/replay.py [DECISIONS] [--more TIMES] [--rounds ROUNDS]

Decisions are of the shipped policy, with random features, lengths and states: latencies change before every decision,
health and breakers now and then. ``--more`` multiplies the rows in SQL. The query by hand reads the same columns: one
CASE for the rules, with conditions as SQL has them, and one for the first candidate that passes capabilities, windows,
constraints, quotas, health and breakers. It knows no unknown values and no sources, and calls no model whose breaker is
open; it gives the target and counts, and no fallbacks, steps or reasons. Beside it stands the same query without the
state. Times are processor time; prints only.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import duckdb
from workload import SHIPPED_POLICY, shipped

from routewright.engine.condition import BOOLEAN, INTEGER, NUMBER, render_expr, sql_type, sql_value
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import ModelState, RequestFacts, State, Task
from routewright.engine.policy.compiled import CompiledFeature, CompiledPolicy
from routewright.engine.record.parts import parts_of
from routewright.gateway.deciding import uuid7
from routewright.ledger import DecisionRow, Ledger, LedgerEntry, PolicyRow
from routewright.ledger.connection import open_for_reading
from routewright.ledger.replay.again import decide_again
from routewright.ledger.replay.candidates import Candidates
from routewright.ledger.replay.replaying import redecided_groups
from routewright.ledger.replay.selecting import ALL_REAL, choose
from routewright.loading.loading import load_policy

BEGIN_US = 1_767_225_600_000_000
EVERY_US = 250_000
BATCH = 500
CHANGES = (
    ("context_length > 100000", "context_length > 24000"),
    ("use: [qwen2.5-0.5b", "use: [gemma3n"),
)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Measure a replay.")
    parser.add_argument("decisions", nargs="?", type=int, default=100_000)
    parser.add_argument("--more", type=int, default=1, help="multiply the rows so many times")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured; the best counts")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.duckdb"
        fill(path, given.decisions)
        if given.more > 1:
            multiply(path, given.more)
        measure(path, candidate(Path(folder)), given.rounds)


def candidate(folder: Path) -> CompiledPolicy:
    """The shipped policy with other limits and models in some rules."""
    text = SHIPPED_POLICY.read_text(encoding="utf-8")
    for before, after in CHANGES:
        text = text.replace(before, after)
    for name in ("catalog.yaml",):
        (folder / name).write_text(
            (SHIPPED_POLICY.parent / name).read_text(encoding="utf-8"), encoding="utf-8"
        )
    (folder / "candidate.yaml").write_text(text, encoding="utf-8")
    return load_policy(folder / "candidate.yaml")


def fill(path: Path, decisions: int) -> None:
    """Record so many decisions."""
    policy, ledger, random = shipped().policy, Ledger.open(path), Random(1)
    texts = [
        PolicyRow(named.digest, kind, named.name or "", named.text, BEGIN_US)  # type: ignore[arg-type]  # a list of two kinds
        for kind, named in (("policy", policy), ("catalog", policy.catalog))
    ]
    writer = ledger.writer()
    entries: list[list[LedgerEntry]] = []
    for number, decision in enumerate(decided(policy, random, decisions)):
        row = DecisionRow(parts_of(decision), "exploit", tags={"team": random.choice(("search", "ads"))})
        entries.append([LedgerEntry(row, [], [] if number else texts)])
        if len(entries) == BATCH:
            assert set(writer.add_all(entries)) == {None}
            entries.clear()
    writer.add_all(entries)
    writer.close()


def decided(policy: CompiledPolicy, random: Random, decisions: int) -> Iterator[Decision]:
    ids = [model.id for model in policy.catalog.models]
    models = {id: ModelState(health="healthy", latency_ms=100.0) for id in ids}
    at_us = BEGIN_US
    for _ in range(decisions):
        at_us += EVERY_US
        id = random.choice(ids[:8])
        health, breaker = "healthy", "closed"
        if random.random() < 0.001:
            id = random.choice(ids)
            health = random.choice(("healthy", "unhealthy"))
            breaker = random.choice(("closed", "open"))
        latency = round(random.uniform(50, 5_000), 3)
        models = {**models, id: ModelState(health, breaker, latency)}  # type: ignore[arg-type]  # names of a list
        used = {"max_daily_requests": random.randrange(1_100), "max_concurrent_requests": random.randrange(5)}
        state = State(at_us, models=models, quota_used=used)
        features = {
            feature.name: value(feature, random)
            for feature in policy.features
            if random.random() < (0.02 if feature.declaration.type == BOOLEAN else 0.3)
        }
        length = int(random.lognormvariate(7, 1.5))
        task = Task(features, request=RequestFacts(prompt_tokens=length), draw=random.random())
        yield decide(policy, task, state, decision_id=uuid7(at_us, random))


def value(feature: CompiledFeature, random: Random) -> object:
    """A random value of a feature."""
    if feature.declaration.enum is not None:
        usual = [one for one in feature.declaration.enum if one not in ("embedding", "rerank")]
        return random.choice(usual)
    match feature.declaration.type:
        case kind if kind == BOOLEAN:
            return random.random() < 0.5
        case kind if kind == INTEGER:
            return (
                int(random.lognormvariate(7, 1.5))
                if feature.name == "context_length"
                else random.randrange(3)
            )
        case kind if kind == NUMBER:
            return round(random.random(), 2)
    return "text"


def multiply(path: Path, times: int) -> None:
    """The same rows again, as if other writers had recorded them later."""
    with duckdb.connect(str(path)) as connection:
        [(first, span)] = connection.execute(
            "SELECT min(at_us), max(at_us) - min(at_us) + 1000000 FROM decision_rows"
        ).fetchall()
        made = 1
        while made < times:
            more = min(made, times - made)
            copied = f"at_us < {first + more * span}"
            later = made * span
            digits = "replace(decision_id::VARCHAR, '-', '')"
            ms = f"('0x' || substr({digits}, 1, 12))::BIGINT + {later} // 1000"
            id = f"(printf('%012x', {ms}) || substr({digits}, 13))::UUID AS decision_id"
            other = f"writer || '{made}' AS writer"
            connection.execute(
                f"INSERT INTO model_states SELECT * REPLACE ({other}) FROM model_states "
                f"WHERE writer IN (SELECT writer FROM decision_rows WHERE {copied})"
            )
            connection.execute(
                f"INSERT INTO decision_rows SELECT * REPLACE ({id}, at_us + {later} AS at_us, {other})"
                f" FROM decision_rows WHERE {copied}"
            )
            made += more
        connection.execute("CHECKPOINT")


def measure(path: Path, changed: CompiledPolicy, rounds: int) -> None:
    """Compare the replay with the query by hand, and every decision with its own policy."""
    with open_for_reading(path, lock_timeout_s=30, own_statement=True) as connection:
        [(rows,)] = connection.execute("SELECT count(*) FROM decision_rows").fetchall()
        groups: list[object] = []
        chosen = choose(connection, ALL_REAL)

        def replay() -> None:
            groups[:] = redecided_groups(connection, Candidates(connection, changed, (), chosen), chosen)

        ways: dict[str, Callable[[], object]] = {
            "by hand": lambda: connection.execute(by_hand(changed)).fetchall(),
            "by hand, without state": lambda: connection.execute(by_hand(changed, state=False)).fetchall(),
            "replay": replay,
        }
        best = dict.fromkeys(ways, float("inf"))
        for _ in range(rounds):
            for name, way in ways.items():
                best[name] = min(best[name], timed(way))
        [(classes,)] = connection.execute("SELECT count(*) FROM replay_groups").fetchall()
        print(f"{rows:,} decisions, {classes:,} classes, {len(groups):,} groups")
        for name, seconds in best.items():
            beside = (
                "" if name == "replay" else f"; a replay takes {best['replay'] / seconds:.2f} times as long"
            )
            print(f"  {name:22} {seconds:8.2f} s   {rows / seconds / 1e6:6.2f} million rows a second{beside}")
        reports = []
        seconds = timed(lambda: reports.append(decide_again(connection, ALL_REAL)))
        print(
            f"  {'--self':22} {seconds:8.2f} s   {reports[0].rows:,} made again, {reports[0].different:,} different"
        )


def timed(work: Callable[[], object]) -> float:
    """The processor time of it, all threads together, in seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def by_hand(policy: CompiledPolicy, *, state: bool = True) -> str:
    """The query, as one would write it for these columns."""
    models = policy.catalog.models
    features = ", ".join(f"{_read(feature)} AS {feature.name}" for feature in policy.features)
    rules = " ".join(f"WHEN {_sql(render_expr(rule.when.source))} THEN {rule.index}" for rule in policy.rules)
    used: dict[int, str] = {
        one.model: models[one.model].id for rule in policy.rules for one in rule.candidates
    }
    fits = ", ".join(f"{' AND '.join(_gates(policy, at, state))} AS fits_{at}" for at in used)
    targets = []
    for rule in policy.rules:
        tried = " ".join(f"WHEN fits_{one.model} THEN '{models[one.model].id}'" for one in rule.candidates)
        targets.append(f"WHEN {rule.index} THEN (CASE {tried} END)")
    outs = "".join(f", coalesce(h.out_{at}, false) AS out_{at}" for at in used) if state else ""
    return f"""
    WITH {_held(used) if state else ""}
    facts AS (SELECT plan_part, quota_used{outs}, {features} FROM decision_rows AS d {_JOINED if state else ""}),
    judged AS (SELECT *, CASE {rules} END AS rule, {fits} FROM facts)
    SELECT plan_part, rule, CASE rule {" ".join(targets)} END AS target, count(*) FROM judged GROUP BY ALL
    """


_JOINED = "LEFT JOIN held AS h ON d.writer = h.writer AND d.entry >= h.entry AND d.entry < h.until"
"""A range: measured, an ASOF join takes twice as long."""


def _held(ids: Mapping[int, str]) -> str:
    """Which models were out, from one entry of a writer to another."""
    turns = ", ".join(f"bool_or(out) FILTER (model = '{id}') AS out_{at}" for at, id in ids.items())
    outs = ", ".join(f"last_value(out_{at} IGNORE NULLS) OVER held AS out_{at}" for at in ids)
    return f"""
    known AS (
        SELECT writer, entry, model, (health = 'unhealthy') OR (breaker = 'open') AS out FROM model_states
    ),
    turned AS (
        SELECT * FROM known
        QUALIFY out IS DISTINCT FROM lag(out, 1, false) OVER (PARTITION BY writer, model ORDER BY entry)
    ),
    turns AS (SELECT writer, entry, {turns} FROM turned GROUP BY writer, entry),
    held AS (
        SELECT writer, entry, lead(entry, 1, {2**62}) OVER held AS until, {outs}
        FROM turns WINDOW held AS (PARTITION BY writer ORDER BY entry)
    ),
    """


def _read(feature: CompiledFeature) -> str:
    kind = sql_type(feature.declaration.type)
    default = sql_value(feature.default, feature.declaration.type)
    return f"coalesce(d.features['{feature.name}']::{kind}, {default})"


def _sql(condition: str) -> str:
    lists = re.sub(r"\[([^]]*)\]", r"(\1)", condition)
    return lists.replace("==", "=").replace("&&", "AND").replace("||", "OR").replace("!(", "NOT (")


def _gates(policy: CompiledPolicy, at: int, state: bool) -> Iterator[str]:
    model = policy.catalog.models[at]
    yield f"coalesce(context_length <= {model.context_length}, true)" if model.context_length else "true"
    for feature in policy.features:
        if not set(feature.needs) <= model.capabilities:
            yield f"NOT {feature.name}"
    if "vision" not in model.capabilities:
        yield "images = 0"
    if "tools" not in model.capabilities:
        yield "tools = 0"
    for constraint in policy.constraints:
        if constraint.by_model is not None and constraint.by_model[at] is not True:
            yield f"NOT ({_sql(render_expr(constraint.when.source))})"
    for number, quota in enumerate(policy.quotas, 1):
        if at in quota.models:
            yield f"coalesce(quota_used[{number}], 0) < {quota.limit}"
    if state:
        yield f"NOT out_{at}"


if __name__ == "__main__":
    main()
