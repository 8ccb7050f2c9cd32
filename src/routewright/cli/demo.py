"""``routewright demo``: the whole job on the shipped policy and sample tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .options import LedgerPath
from .writer import writer

if TYPE_CHECKING:
    from routewright.gateway import Decided, ModelGateway, Ran
    from routewright.tasks import Sample

__all__ = ["demo"]

_QUESTION = """\
SELECT model_id, count(*) AS calls, round(avg(total_ms))::INT AS mean_ms, sum(output_tokens) AS output_tokens,
       sum(cost) AS known_cost, count(*) FILTER (cost IS NULL) AS unknown_costs
FROM attempts_flat WHERE tags['demo'] = '{run}'
GROUP BY model_id ORDER BY calls DESC, model_id"""

_LONGEST_ANSWER = 60


def demo(ledger: LedgerPath = None) -> None:
    """Run the whole job on the shipped policy.

    Ten tasks are decided, one is explained, all are executed and stored, and the ledger is asked. Needs
    no model server and no network: answers are simulated and say so. Without --ledger it is kept in
    demo.duckdb in your data directory, apart from your own ledger; each run is added to those before.

    \b
    Example:
      routewright demo
    """
    import asyncio

    from routewright.engine.decision.explain import explain
    from routewright.engine.decision.outline import explanation_outline, iso_time
    from routewright.gateway import ModelGateway, now_us
    from routewright.ledger import Ledger, default_ledger_path
    from routewright.loading import load_policy, load_samples, shipped
    from routewright.tasks import task_from

    from .ledger import print_result

    policy = load_policy(shipped("hybrid.yaml"))
    samples = load_samples(shipped("samples.yaml")).tasks
    opened = Ledger.open(ledger or default_ledger_path().with_name("demo.duckdb"))
    gateway = ModelGateway(policy, ledger=opened)
    run = iso_time(now_us())

    writer.heading(f"1. Where each task goes, under {policy.name} ({len(policy.rules)} rules)")
    decided = [(sample, gateway.decide(task_from(sample))) for sample in samples]
    writer.table(["task", "goes to", "rule", "reason"], [_decided_row(*one) for one in decided])

    sample, shown = max(decided, key=lambda one: _steps_and_fallbacks(one[1]))
    writer.text()
    writer.heading(f"2. Why: {sample.name}")
    writer.tree(explanation_outline(explain(policy, shown.decision)))

    writer.text()
    writer.heading("3. What executing gave (simulated: no model was asked)")
    ran = asyncio.run(_run_all(gateway, decided, run))
    writer.table(["task", "answered by", "took", "tokens", "cost", "answer"], [_ran_row(*one) for one in ran])
    left_out = {part for _, one in ran if one.decision.plan for part in one.decision.plan.unenforced}
    if left_out:
        writer.text(
            f"Planned, and not carried out yet: {len(left_out)} steps and controls. `routewright check` lists them."
        )

    question = _QUESTION.format(run=run)
    writer.text()
    writer.heading(
        "4. A question to the ledger, in SQL: who was asked in this run, how long it took, what it cost"
    )
    writer.text(question)
    writer.text()
    print_result(opened, question)

    writer.text()
    writer.text(f"The ledger is {opened.path}")
    writer.text(f"The policy is {shipped('hybrid.yaml')}")
    writer.text("Go on, for instance, with:")
    writer.text(
        f'  routewright ledger sql "SELECT target, decisions FROM routing_daily" --ledger {_quoted(str(opened.path))}'
    )
    writer.text(
        f"  routewright decide {_quoted(str(shipped('hybrid.yaml')))} -f complex_reasoning=true --explain"
    )


async def _run_all(
    gateway: ModelGateway, decided: list[tuple[Sample, Decided]], run: str
) -> list[tuple[Sample, Ran]]:
    from routewright.targets import request_for

    ran = []
    for sample, one in decided:
        request = request_for(one.decision.task, sample.prompt or "", sample.documents)
        # The demo shows planning; what is planned but not carried out yet is said below the table.
        ran.append((sample, await gateway.execute(one, request, unenforced=True, tags={"demo": run})))
    return ran


def _steps_and_fallbacks(decided: Decided) -> tuple[int, int]:
    """How much there is to explain; of equals the first is taken."""
    plan = decided.decision.plan
    return (0, 0) if plan is None else (len(plan.steps), len(plan.fallbacks))


def _decided_row(sample: Sample, decided: Decided) -> list[str]:
    decision = decided.decision
    rule = None if decision.rule is None else decision.policy.rules[decision.rule]
    where = decision.target or decision.outcome
    return [sample.name or "", where, rule.name if rule else "", (rule.reason or "") if rule else ""]


def _ran_row(sample: Sample, ran: Ran) -> list[str]:
    from .answers import answer_text, cost_text, output_tokens

    name = sample.name or ""
    execution = ran.execution
    if execution is None:
        return [name, "", "", "", "", "no eligible target"]
    last = execution.attempts[-1]
    text = "failed" if execution.answer is None else answer_text(execution.answer)
    return [
        name,
        last.model_id if execution.answer is not None else "",
        f"{sum(attempt.total_us for attempt in execution.attempts) / 1000:.0f} ms",
        output_tokens(execution),
        cost_text(ran).removeprefix("cost "),
        text if len(text) <= _LONGEST_ANSWER else text[: _LONGEST_ANSWER - 3] + "...",
    ]


def _quoted(path: str) -> str:
    import shlex

    return shlex.quote(path)
