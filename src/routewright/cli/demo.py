"""``routewright demo``: the whole job on the shipped policy and sample tasks."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from .answers import answer_text, answered_by, cost_text, output_tokens, took_ms
from .invocation import command_line
from .options import LedgerPath
from .writer import writer

if TYPE_CHECKING:
    from routewright.engine.decision import Decision, Task
    from routewright.engine.policy import CompiledModel
    from routewright.gateway import DecisionResult, ModelGateway, RunResult
    from routewright.ledger import Ledger
    from routewright.tasks import WrittenTask


_QUESTION = """\
SELECT model_id, backend_id, count(*) AS calls, round(avg(total_ms))::INT AS mean_ms,
       sum(output_tokens) AS output_tokens, sum(cost) AS known_cost, count(*) FILTER (cost IS NULL) AS unknown_costs
FROM attempts_flat WHERE tags['demo'] = '{run}'
GROUP BY model_id, backend_id ORDER BY calls DESC, model_id"""

_LONGEST_ANSWER = 60

_ANSWER_TOKENS = 48
"""Short answers: the demo shows where they come from."""

_STEP_TOKENS = 96
"""What a small model may write in a step: enough for a verdict with its reason, should it give one."""


def demo(
    ledger: LedgerPath = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Ask no model.")] = False,
) -> None:
    """Run the whole job on the shipped policy.

    Ten tasks are decided, one is explained, all are executed and stored, and the ledger is asked. Needs
    no model server and no network: a small embedded model stands in for the chat models that this machine
    lacks, and what nothing here can do is shown as that. Where an Ollama server answers at $OLLAMA_HOST or
    its default port, its models are used. Without --ledger it is kept in demo.duckdb in your data
    directory, apart from your own ledger; each run is added to those before.

    \b
    Example:
      routewright demo
    """
    import asyncio

    from routewright.backends.control import StateStore
    from routewright.engine.explain import explain, explanation_tree
    from routewright.engine.report import iso_time
    from routewright.gateway import ModelGateway, now_us, open_backends
    from routewright.loading import load_policy, load_samples, shipped

    from .ledger import ledger_at, print_result
    from .standins import StandIns, short_prompts, stand_ins

    policy = load_policy(shipped("hybrid.yaml"))
    here = StandIns(None) if simulate else stand_ins(policy)
    if here.maps is not None:
        policy = load_policy(shipped("hybrid.yaml"), maps=here.maps, hosts=here.hosts)
    samples = load_samples(shipped("samples.yaml")).tasks
    backends = None
    if here.maps is not None:
        backends = {id: backend for id, backend in open_backends(policy).items() if id not in here.left_out}
    opened = _demo_ledger() if ledger is None else ledger_at(ledger, create=True)
    gateway = ModelGateway(
        policy,
        backends=backends,
        ledger=opened,
        store=StateStore(opened.path.with_name(f"{opened.path.stem}.state.sqlite")),
        prompts=short_prompts(_STEP_TOKENS) if here.short else None,
    )
    run = iso_time(now_us())
    ran: list[tuple[WrittenTask, RunResult]] = []

    async def carry_out() -> None:
        async with gateway:
            ran.extend(await _run_all(gateway, decided, run))

    for sentence in here.told:
        writer.text(sentence)
    if here.told:
        writer.text()
    writer.heading(f"1. Where each task goes, under {policy.name} ({len(policy.rules)} rules)")
    decided = [(sample, gateway.decide(_task(sample))) for sample in samples]
    writer.table(["task", "goes to", "rule", "reason"], [_decided_row(*one) for one in decided])

    sample, shown = max(decided, key=lambda one: _steps_and_fallbacks(one[1]))
    writer.text()
    writer.heading(f"2. Why: {sample.name}")
    writer.tree(explanation_tree(explain(policy, shown.decision)))

    writer.text()
    real = "simulated: no model was asked" if here.maps is None else "real answers"
    writer.heading(f"3. What executing gave ({real})")
    asyncio.run(carry_out())
    writer.table(["task", "answered by", "took", "tokens", "cost", "answer"], [_ran_row(*one) for one in ran])
    _tell_what_is_special(ran)

    question = _QUESTION.format(run=run)
    writer.text()
    writer.heading(
        "4. A question to the ledger, in SQL: who was asked in this run, how long it took, what it cost"
    )
    writer.lines(question)
    writer.text()
    print_result(opened, question)

    writer.text()
    writer.text(f"The ledger is {opened.path}")
    writer.text(f"The policy is {shipped('hybrid.yaml')}")
    writer.text("Go on, for instance, with:")
    question = "SELECT target, decisions FROM routing_daily"
    hybrid = str(shipped("hybrid.yaml"))
    for words in (
        ["ledger", "sql", question, "--ledger", str(opened.path)],
        ["decide", hybrid, "-f", "complex_reasoning=true", "--explain"],
    ):
        writer.text(f"  {command_line(*words)}")


def _task(sample: WrittenTask) -> Task:
    from dataclasses import replace

    from routewright.tasks import task_from

    task = task_from(sample)
    if task.operation != "chat":
        return task
    return replace(task, request=replace(task.request, max_output_tokens=_ANSWER_TOKENS))


def _demo_ledger() -> Ledger:
    """The demo's own ledger; one of another layout is put aside, as nobody should have to see to that for a demo."""
    from routewright.ledger import OtherLayoutError, default_ledger_path, spool_folder

    from .ledger import ledger_at

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


async def _run_all(
    gateway: ModelGateway, decided: list[tuple[WrittenTask, DecisionResult]], run: str
) -> list[tuple[WrittenTask, RunResult]]:
    from routewright.tasks import request_for

    ran = []
    for sample, one in decided:
        request = request_for(one.decision.task, sample.prompt or "", sample.documents)
        ran.append((sample, await gateway.execute(one, request, unenforced=True, tags={"demo": run})))
    return ran


def _tell_what_is_special(ran: list[tuple[WrittenTask, RunResult]]) -> None:
    """Who stood in for whom, and what could not be done here, with the reason."""
    stood_in = {}
    for _, one in ran:
        model = _answering(one)
        if model is not None and model.shape.stands_in_for is not None:
            stood_in[model.id] = f"{model.backend}:{model.tag}"
    if stood_in:
        writer.text()
        writer.text(
            f"A small model, {', '.join(sorted(set(stood_in.values())))}, stood in for {', '.join(stood_in)}: "
            "its answers are real, and its own."
        )
    for sample, one in ran:
        if one.execution is None:
            writer.text(f"{sample.name}: no eligible target. {_why_none(one.decision)}")
        elif one.execution.error is not None:
            writer.text(f"{sample.name}: {one.execution.error}")


def _answering(ran: RunResult) -> CompiledModel | None:
    """The model whose answer it is."""
    by = None if ran.execution is None else answered_by(ran.execution)
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


def _decided_row(sample: WrittenTask, decided: DecisionResult) -> list[str]:
    decision = decided.decision
    rule = None if decision.rule is None else decision.policy.rules[decision.rule]
    where = decision.target or "no eligible target"
    return [sample.name or "", where, rule.name if rule else "", (rule.reason or "") if rule else ""]


def _ran_row(sample: WrittenTask, ran: RunResult) -> list[str]:
    name = sample.name or ""
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
