"""``routewright demo``: the whole job on the shipped policy and sample tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import LedgerPath
from .writer import writer

if TYPE_CHECKING:
    from routewright.gateway import ModelGateway, Ran
    from routewright.tasks import Sample

__all__ = ["demo"]

_QUESTION = """\
SELECT model_id, count(*) AS attempts, round(avg(total_us) / 1000) AS mean_ms,
       count(cost_nano) AS with_known_cost
FROM attempts GROUP BY ALL ORDER BY attempts DESC, model_id"""


def demo(ledger: LedgerPath = None) -> None:
    """Run the whole job on the shipped policy: decide, explain, execute, and ask the ledger.

    Needs no model server and no network: answers are simulated and say so. Without --ledger it is kept in
    demo.duckdb in your data directory, apart from your own ledger.

    Example: routewright demo
    """
    import asyncio
    from random import Random

    from routewright.engine.decision.explain import explain
    from routewright.engine.decision.outline import explanation_outline, render_tree
    from routewright.gateway import ModelGateway
    from routewright.ledger import Ledger, default_ledger_path
    from routewright.loading import load_policy, load_samples, shipped
    from routewright.tasks import task_from

    from .ledger import print_result

    policy = load_policy(shipped("hybrid.yaml"))
    samples = load_samples(shipped("samples.yaml")).tasks
    path = ledger or default_ledger_path().with_name("demo.duckdb")
    opened = Ledger.open(path)
    gateway = ModelGateway(policy, ledger=opened, random=Random())

    writer.heading(f"1. Where each task goes, under {policy.name} ({len(policy.rules)} rules)")
    decisions = [gateway.decide(task_from(sample)).decision for sample in samples]
    rows = []
    for sample, decision in zip(samples, decisions, strict=True):
        rule = None if decision.rule is None else policy.rules[decision.rule]
        where = decision.target or decision.outcome
        rows.append(
            [sample.name or "", where, rule.name if rule else "", (rule.reason or "") if rule else ""]
        )
    writer.table(["task", "goes to", "rule", "reason"], rows)

    writer.text()
    writer.heading("2. Why: " + (samples[1].name or ""))
    writer.text(render_tree(explanation_outline(explain(policy, decisions[1]))))

    writer.text()
    writer.heading("3. What executing gave (simulated: no model was asked)")
    ran = asyncio.run(_run_all(gateway, samples))
    writer.table(
        ["task", "answered by", "took", "tokens out", "cost", "answer"], [_ran_row(*one) for one in ran]
    )
    unenforced = sorted(
        {part for _, one in ran for part in (one.decision.plan.unenforced if one.decision.plan else ())}
    )
    if unenforced:
        writer.text(
            f"({len(unenforced)} things that the policy asks for are not carried out yet: routewright check)"
        )

    writer.text()
    writer.heading("4. A question to the ledger, in SQL: who was asked, how long it took, what is known of the cost")
    writer.text(_QUESTION)
    writer.text()
    print_result(opened, _QUESTION)
    writer.text()
    writer.text(f"The ledger is {opened.path}")
    writer.text(
        f'Ask it more: routewright ledger sql "FROM routing_daily" --ledger {_quoted(str(opened.path))}'
    )


async def _run_all(gateway: ModelGateway, samples: list[Sample]) -> list[tuple[Sample, Ran]]:
    from routewright.gateway import request_for
    from routewright.tasks import task_from

    ran = []
    for sample in samples:
        task = task_from(sample)
        request = request_for(task, sample.prompt or "", sample.documents)
        # The demo shows planning; what is planned but not carried out yet is said below the table.
        ran.append((sample, await gateway.run(task, request, unenforced=True)))
    return ran


def _ran_row(sample: Sample, ran: Ran) -> list[str]:
    from .run import answer_text

    name = sample.name or ""
    execution = ran.execution
    if execution is None:
        return [name, "", "", "", "", "no eligible target"]
    last = execution.attempts[-1]
    cost = "unknown" if last.cost_nano is None else f"{last.cost_nano / 1e9:.6f} {last.currency}"
    text = "failed" if execution.answer is None else answer_text(execution.answer)
    took = f"{sum(attempt.total_us for attempt in execution.attempts) / 1000:.0f} ms"
    short = text if len(text) <= 60 else text[:57] + "..."
    return [name, last.model_id, took, str(last.output_tokens), cost, short]


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
