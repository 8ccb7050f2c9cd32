"""``routewright run``: decide and execute, and keep it in the ledger."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from .exit_codes import ExitCode
from .options import Feature, LedgerPath, Operation, Pin, PolicyPath, PromptTokens, Seed
from .writer import writer

if TYPE_CHECKING:
    from routewright.backends import Answer, Fault
    from routewright.engine.policy.compiled import CompiledPolicy
    from routewright.gateway import Ran

__all__ = ["answer_text", "run", "summary_line"]


def run(
    policy: PolicyPath,
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads standard input.")],
    feature: Feature = None,
    operation: Operation = None,
    model: Pin = None,
    prompt_tokens: PromptTokens = None,
    document: Annotated[
        list[str] | None,
        typer.Option("--document", metavar="TEXT", help="A document to rank; may be repeated."),
    ] = None,
    unenforced: Annotated[
        bool,
        typer.Option("--unenforced", help="Go on although the plan asks for what is not carried out yet."),
    ] = False,
    fail: Annotated[
        list[str] | None,
        typer.Option("--fail", metavar="MODEL=CLASS", help="Let a model fail once, to see the fallback."),
    ] = None,
    ledger: LedgerPath = None,
    no_ledger: Annotated[bool, typer.Option("--no-ledger", help="Store nothing.")] = False,
    seed: Seed = None,
) -> None:
    """Decide and execute one prompt on the simulated backend, and store decision and attempts.

    Answers are simulated and say so. Ends with status 4 without an eligible target, 5 when every model of the
    plan failed.

    Example: routewright run policies/hybrid.yaml "Design a payment platform" -f complex_reasoning=true --unenforced
    """
    import asyncio
    from random import Random

    from routewright.engine.decision.outline import record_outline, render_tree
    from routewright.engine.decision.record import record_of
    from routewright.engine.decision.task import RequestFacts, Task
    from routewright.gateway import ModelGateway, request_for, simulated_backends
    from routewright.loading import load_policy
    from routewright.tasks import features_from_flags

    from .ledger import ledger_at

    loaded = load_policy(policy)
    if ledger is not None and no_ledger:
        raise typer.BadParameter("--ledger and --no-ledger cannot be combined")
    features = features_from_flags(feature or [], loaded)
    task = Task(features, operation or "chat", RequestFacts(prompt_tokens=prompt_tokens), model)
    text = sys.stdin.read() if prompt == "-" else prompt
    request = request_for(task, text, document or [])
    gateway = ModelGateway(
        loaded,
        backends=simulated_backends(loaded, seed=seed or 0, faults=_faults(fail or [], loaded)),
        ledger=None if no_ledger else ledger_at(ledger, create=True),
        random=Random(seed),
    )
    streamed = task.operation == "chat"
    ran = asyncio.run(
        gateway.run(task, request, unenforced=unenforced, on_text=_print_piece if streamed else None)
    )
    if ran.execution is None:
        writer.text(render_tree(record_outline(record_of(ran.decision))))
        raise typer.Exit(ExitCode.NO_TARGET)
    if streamed:
        writer.text()
    elif ran.execution.answer is not None:
        writer.text(answer_text(ran.execution.answer))
    writer.note(summary_line(ran))
    if gateway.ledger is not None:
        writer.note(f"stored in {gateway.ledger.path}")
    if ran.execution.error is not None:
        raise ran.execution.error


def answer_text(answer: Answer) -> str:
    """An answer in words: the text, the size of the vectors, or the documents' scores."""
    from routewright.backends import ChatAnswer, EmbedAnswer

    if isinstance(answer, ChatAnswer):
        return answer.text
    if isinstance(answer, EmbedAnswer):
        return f"[simulated] {len(answer.vectors)} vector of {len(answer.vectors[0])} dimensions"
    scores = sorted(enumerate(answer.scores, start=1), key=lambda one: -one[1])
    return "[simulated] " + ", ".join(f"document {number}: {score:.3f}" for number, score in scores)


def summary_line(ran: Ran) -> str:
    """One line: model, why, time, tokens, cost, fallbacks."""
    decision, execution = ran.decision, ran.execution
    assert execution is not None
    last = execution.attempts[-1]
    took = sum(attempt.total_us for attempt in execution.attempts) / 1000
    costs = [attempt.cost_nano for attempt in execution.attempts]
    known = [cost for cost in costs if cost is not None]
    cost = (
        "cost unknown"
        if len(known) < len(costs)
        else f"{sum(known) / 1e9:.6f} {last.currency or ''}".rstrip()
    )
    failed = [f"{a.model_id}: {a.error_class}" for a in execution.attempts if a.error_class is not None]
    fallbacks = f"after {', '.join(failed)}" if failed else "no fallback"
    why = f"pin {decision.task.pin}" if decision.task.pin else f"rule {decision.matched}"
    tokens = f"{_count(last.input_tokens)} tokens in, {_count(last.output_tokens)} out"
    status = last.model_id if execution.error is None else "no answer"
    return f"{status} | {why} | {took:.0f} ms | {tokens} | {cost} | {fallbacks}"


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)


def _print_piece(text: str) -> None:
    writer.piece(text)


def _faults(flags: list[str], policy: CompiledPolicy) -> dict[str, list[Fault]]:
    """Scripted failures by model id. Raises TaskError for an unknown model or class."""
    from routewright.backends import ERROR_CLASSES, ErrorClass
    from routewright.engine.errors import TaskError
    from routewright.engine.suggest import suggest

    faults: dict[str, list[Fault]] = {}
    known = dict(zip(ERROR_CLASSES, ERROR_CLASSES, strict=True))
    assert set(get_args(ErrorClass)) == set(known)
    for flag in flags:
        name, _, error_class = flag.partition("=")
        model = policy.catalog.find(name)
        if model is None:
            raise TaskError(f"--fail names an unknown model `{name}`", help=policy.catalog.hint(name))
        if error_class not in known:
            help = suggest(error_class, known, label="classes")
            raise TaskError(f"--fail: unknown class `{error_class}`", help=help)
        faults.setdefault(model.id, []).append(known[error_class])
    return faults
