"""Runs the sample tasks under the shipped policy, and shows each stage of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from routewright.backends.control import StateStore
from routewright.engine.decision import Decision
from routewright.engine.explain import explain, explanation_tree
from routewright.engine.policy import CompiledModel
from routewright.engine.report import iso_time
from routewright.gateway import DecisionResult, ModelGateway, RunResult, now_us, open_backends
from routewright.ledger import Ledger, OtherLayoutError, default_ledger_path, spool_folder
from routewright.loading import load_policy, load_samples, shipped
from routewright.tasks import AskedTask, WrittenTask, asked_by

from .answers import answer_text, cost_text, output_tokens, took_ms
from .invocation import command_line
from .opened import ledger_at
from .run import remark_loading
from .sql import print_rows
from .standins import StandIns, short_prompts, stand_ins
from .writer import writer

_QUESTION = """\
SELECT model_id, backend_id, count(*) AS calls, round(avg(total_ms))::INT AS mean_ms,
       sum(output_tokens)::BIGINT AS output_tokens, sum(COLUMNS('^known_cost_')),
       sum(unknown_cost_calls)::BIGINT AS unknown_costs
FROM all_attempts_flat WHERE tags['demo'] = '{run}'
GROUP BY model_id, backend_id ORDER BY calls DESC, model_id"""

_LONGEST_ANSWER = 60

_ANSWER_TOKENS = 48
"""Short answers: the demo shows where they come from."""

_STEP_TOKENS = 96
"""What a small model may write in a step: enough for a verdict with its reason, should it give one."""


@dataclass(frozen=True, slots=True)
class _Demo:
    """A run of the demo: its gateway, what stands in for what, and the tasks with their decisions."""

    gateway: ModelGateway
    ledger: Ledger
    here: StandIns
    decided: Sequence[tuple[AskedTask, DecisionResult]]


def demonstrate(ledger: Path | None, *, simulate: bool) -> None:
    """Decide, explain, execute and store the sample tasks, then ask the ledger about them."""
    demo = asyncio.run(_decided(ledger, simulate))
    for sentence in demo.here.told:
        writer.text(sentence)
    if demo.here.told:
        writer.text()
    policy = demo.gateway.policy
    writer.heading(f"1. Where each task goes, under {policy.name} ({len(policy.rules)} rules)")
    writer.table(["task", "goes to", "rule", "reason"], [_decided_row(*one) for one in demo.decided])
    _tell_refusal(demo)
    asked, shown = max(demo.decided, key=lambda one: _steps_and_fallbacks(one[1]))
    writer.text()
    writer.heading(f"2. Why: {asked.name}")
    writer.tree(explanation_tree(explain(policy, shown.decision)))
    writer.text()
    real = "simulated: no model was asked" if demo.here.maps is None else "real answers"
    writer.heading(f"3. What executing gave ({real})")
    if demo.here.maps is not None:
        remark_loading(shown.decision)
    run = iso_time(now_us())
    ran = asyncio.run(_run_all(demo, run))
    writer.table(["task", "answered by", "took", "tokens", "cost", "answer"], [_ran_row(*one) for one in ran])
    _tell_what_is_special(ran, demo.here)
    _tell_how_to_go_on(demo.ledger, _QUESTION.format(run=run))


async def _decided(ledger: Path | None, simulate: bool) -> _Demo:
    """Everything up to the decisions: nothing has been executed."""
    path = shipped("hybrid.yaml")
    policy = load_policy(path)
    here = StandIns(None) if simulate else await asyncio.to_thread(stand_ins, policy)
    backends = None
    if here.maps is not None:
        policy = load_policy(path, maps=here.maps, declared=here.declared)
        backends = open_backends(policy)
    opened = _demo_ledger() if ledger is None else ledger_at(ledger, create=True)
    gateway = ModelGateway(
        policy,
        backends=backends,
        ledger=opened,
        store=StateStore(opened.path.with_name(f"{opened.path.stem}.state.sqlite")),
        prompts=short_prompts(_STEP_TOKENS) if here.short else None,
    )
    decided = []
    for sample in load_samples(shipped("samples.yaml")).tasks:
        asked = asked_by(_short(sample))
        assert asked.request is not None  # every sample has a prompt
        asked = replace(asked, task=await gateway.describe(asked.task, asked.request))
        decided.append((asked, gateway.decide(asked.task)))
    return _Demo(gateway, opened, here, decided)


def _short(sample: WrittenTask) -> WrittenTask:
    is_chat = sample.operation == "chat"
    return sample.model_copy(update={"max_output_tokens": _ANSWER_TOKENS}) if is_chat else sample


def _tell_refusal(demo: _Demo) -> None:
    """What happens to the private task if somebody asks for a model in the cloud."""
    catalog = load_policy(shipped("hybrid.yaml")).catalog
    cloud = [m.id for m in catalog.models if m.location == "cloud" and m.disabled is None]
    for asked, _ in demo.decided:
        if asked.task.features.get("privacy_required"):
            pinned = demo.gateway.decide(replace(asked.task, pin=cloud[0])).decision
            [candidate] = pinned.candidates
            assert candidate.failure is not None  # the policy keeps it from every cloud
            writer.text()
            writer.text(f"{cloud[0]} would be refused {asked.name}: {candidate.failure.explained(pinned)}")


async def _run_all(demo: _Demo, run: str) -> list[tuple[AskedTask, RunResult]]:
    ran = []
    async with demo.gateway as gateway:
        for asked, one in demo.decided:
            assert asked.request is not None
            result = await gateway.execute(one, asked.request, unenforced=True, tags={"demo": run})
            ran.append((asked, result))
    return ran


def _tell_how_to_go_on(ledger: Ledger, question: str) -> None:
    writer.text()
    writer.heading(
        "4. A question to the ledger, in SQL: who was asked in this run, how long it took, what it cost"
    )
    writer.lines(question)
    writer.text()
    print_rows(ledger, question)
    hybrid = str(shipped("hybrid.yaml"))
    writer.text()
    writer.text(f"The ledger is {ledger.path}")
    writer.text(f"The policy is {hybrid}")
    writer.text("Next, for instance:")
    for words in (
        ["ledger", "sql", "SELECT target, decisions FROM all_routing_daily", "--ledger", str(ledger.path)],
        ["decide", hybrid, "-f", "complex_reasoning=true", "--explain"],
    ):
        writer.text(f"  {command_line(*words)}")


def _demo_ledger() -> Ledger:
    """The demo's own ledger; one of another layout is put aside, as nobody should have to see to that for a demo."""
    path = default_ledger_path().with_name("demo.duckdb")
    try:
        return ledger_at(path, create=True)
    except OtherLayoutError:
        aside = path.with_name(f"demo-{time.time_ns() // 1_000_000_000}.duckdb")
        path.rename(aside)
        if spool_folder(path).exists():
            spool_folder(path).rename(spool_folder(aside))
        writer.note(f"the ledger of earlier demos has another layout; it was moved to {aside}")
        return ledger_at(path, create=True)


def _tell_what_is_special(ran: Sequence[tuple[AskedTask, RunResult]], here: StandIns) -> None:
    """Who stood in for whom, what failed, and what this machine lacks: each said once."""
    stood_in: dict[str, list[str]] = {}
    failed: dict[str, list[str]] = {}
    lacking: dict[str, str] = {}
    for asked, one in ran:
        catalog = one.decision.policy.catalog
        model = _answering(one)
        if model is not None and model.shape.stands_in_for is not None:
            stood_in.setdefault(model.tag, []).append(model.id)
        candidates = [catalog.models[candidate.model].id for candidate in one.decision.candidates]
        if one.execution is None and here.lacking.keys() >= {*candidates}:
            lacking[asked.name] = candidates[0]
        elif why := _why_none(one.decision) if one.execution is None else str(one.execution.error or ""):
            failed.setdefault(why, []).append(asked.name)
    lines = [
        f"A small model, {tag}, stood in for {', '.join(dict.fromkeys(ids))}: its answers are real, and its own."
        for tag, ids in stood_in.items()
    ]
    lines += [f"{', '.join(names)}: {why}" for why, names in failed.items()]
    if lacking:
        lines.append("No model on this machine can do these tasks. They need:")
        lines += [f"  {name}: {here.lacking[id] or f'the model {id}'}" for name, id in lacking.items()]
    for line in ["", *lines] if lines else []:
        writer.text(line)


def _answering(ran: RunResult) -> CompiledModel | None:
    """The model whose answer it is."""
    by = ran.answered_by
    return None if by is None else ran.decision.policy.catalog.find(by.model_id)


def _answerer(ran: RunResult) -> str:
    """Who answered; a stand-in by its own name, and for whom."""
    model = _answering(ran)
    if model is None:
        return ""
    stands_in = model.shape.stands_in_for is not None
    return f"{model.tag} for {model.id}" if stands_in else model.id


def _why_none(decision: Decision) -> str:
    """What keeps the task from every candidate."""
    models = decision.policy.catalog.models
    kept: dict[str | None, list[str]] = {}
    for candidate in decision.candidates:
        if candidate.failure:
            kept.setdefault(candidate.failure.explained(decision), []).append(models[candidate.model].id)
    return "; ".join(f"{', '.join(ids)}: {detail}" for detail, ids in kept.items())


def _steps_and_fallbacks(decided: DecisionResult) -> tuple[int, int]:
    """How much there is to explain; of equals the first is taken."""
    plan = decided.decision.plan
    return (0, 0) if plan is None else (len(plan.steps), len(plan.fallbacks))


def _decided_row(asked: AskedTask, decided: DecisionResult) -> list[str]:
    decision = decided.decision
    rule = None if decision.rule is None else decision.policy.rules[decision.rule]
    where = decision.target or "no eligible target"
    return [asked.name, where, rule.name if rule else "", (rule.reason or "") if rule else ""]


def _ran_row(asked: AskedTask, ran: RunResult) -> list[str]:
    name = asked.name
    execution = ran.execution
    if execution is None:
        return [name, "", "", "", "", "no eligible target"]
    text = "failed" if execution.answer is None else answer_text(execution.answer)
    if execution.error is not None:
        text = f"failed: {execution.error.error_class}"
    return [
        name,
        _answerer(ran),
        f"{took_ms(execution):.0f} ms",
        output_tokens(execution),
        cost_text(ran).removeprefix("cost "),
        text if len(text) <= _LONGEST_ANSWER else text[: _LONGEST_ANSWER - 3] + "...",
    ]
