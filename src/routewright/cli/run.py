"""``routewright run``: decide and execute, and keep it in the ledger."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .exit_codes import ExitCode
from .options import Feature, LedgerPath, Operation, Pin, PolicyPath, PromptTokens, Seed
from .writer import writer

if TYPE_CHECKING:
    from routewright.backends import Answer, Fault
    from routewright.engine.policy.compiled import CompiledPolicy
    from routewright.gateway import Ran

__all__ = ["answer_text", "cost_text", "run", "summary_line"]


def run(
    policy: PolicyPath,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to ask; - reads standard input.")],
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
        typer.Option("--fail", metavar="MODEL=CLASS", help="Let a model fail, to see the fallback."),
    ] = None,
    ledger: LedgerPath = None,
    no_ledger: Annotated[bool, typer.Option("--no-ledger", help="Store nothing.")] = False,
    seed: Seed = None,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Say on standard error who answered, why, how long it took and what it cost; "
            "on a terminal that is said anyway.",
        ),
    ] = False,
) -> None:
    """Decide, execute and store one prompt.

    Answers come from the simulated backend and say so. Ends with status 4 without an eligible target, 5
    when every model of the plan failed, 6 when the ledger refused; an answer is written all the same.

    \b
    Example:
      routewright run policies/hybrid.yaml "Design a payment platform" -f complex_reasoning=true --unenforced
    """
    import asyncio
    from random import Random

    from routewright.engine.decision.outline import record_outline
    from routewright.engine.decision.record import record_of
    from routewright.engine.decision.task import RequestFacts, Task
    from routewright.engine.errors import TaskError
    from routewright.gateway import ModelGateway, NotStoredError
    from routewright.loading import load_policy
    from routewright.targets import request_for, simulated_backends
    from routewright.tasks import features_from_flags

    from .ledger import ledger_at

    if ledger is not None and no_ledger:
        raise TaskError("--ledger and --no-ledger cannot be combined")
    loaded = load_policy(policy)
    features = features_from_flags(feature or [], loaded)
    task = Task(features, operation or "chat", RequestFacts(prompt_tokens=prompt_tokens), model)
    request = request_for(task, _prompt(prompt), document or [])
    gateway = ModelGateway(
        loaded,
        backends=simulated_backends(loaded, seed=seed or 0, faults=_faults(fail or [], loaded)),
        # Before anything is executed: a ledger that cannot be opened costs no answer.
        ledger=None if no_ledger else ledger_at(ledger, create=True),
        random=Random(seed),
    )
    pieces = _Pieces()
    not_stored: NotStoredError | None = None
    try:
        ran = asyncio.run(gateway.run(task, request, unenforced=unenforced, on_text=pieces.write))
    except NotStoredError as error:
        not_stored, ran = error, error.ran
    pieces.end()
    execution = ran.execution
    if execution is None:
        writer.tree(record_outline(record_of(ran.decision)))
    else:
        if execution.answer is not None and not pieces.written:
            writer.text(answer_text(execution.answer))
        say = writer.note if verbose else writer.remark
        say(summary_line(ran))
        if gateway.ledger is not None and not_stored is None:
            say(f"stored in {gateway.ledger.path}")
    if not_stored is not None:
        raise not_stored
    if execution is None:
        raise typer.Exit(ExitCode.NO_TARGET)
    if execution.error is not None:
        raise execution.error


class _Pieces:
    """Writes an answer piece by piece as it comes."""

    def __init__(self) -> None:
        self.written = False

    def write(self, text: str) -> None:
        self.written = True
        writer.piece(text)

    def end(self) -> None:
        if self.written:
            writer.text()


def answer_text(answer: Answer) -> str:
    """An answer in words: the text, the size of the vectors, or the documents' scores, best first."""
    from routewright.backends import ChatAnswer, EmbedAnswer

    if isinstance(answer, ChatAnswer):
        return answer.text
    mark = "[simulated] " if answer.simulated else ""
    if isinstance(answer, EmbedAnswer):
        return f"{mark}{len(answer.vectors)} vector of {len(answer.vectors[0])} dimensions"
    scores = sorted(enumerate(answer.scores, start=1), key=lambda one: -one[1])
    return mark + ", ".join(f"document {number}: {score:.3f}" for number, score in scores)


def summary_line(ran: Ran) -> str:
    """One line: model, why, time, tokens, cost, fallbacks."""
    decision, execution = ran.decision, ran.execution
    assert execution is not None
    last = execution.attempts[-1]
    took = sum(attempt.total_us for attempt in execution.attempts) / 1000
    failed = [f"{a.model_id}: {a.error_class}" for a in execution.attempts if a.error_class is not None]
    why = f"pin {decision.task.pin}" if decision.task.pin else f"rule {decision.matched}"
    return " | ".join(
        [
            last.model_id if execution.error is None else "no answer",
            why,
            f"{took:.0f} ms",
            f"{_count(last.input_tokens)} tokens in, {_count(last.output_tokens)} out",
            cost_text(ran),
            f"failed: {', '.join(failed)}" if failed else "no fallback",
        ]
    )


def cost_text(ran: Ran) -> str:
    """What all attempts cost together: unknown as soon as one of them is."""
    attempts = ran.execution.attempts if ran.execution is not None else ()
    costs = [attempt.cost_nano for attempt in attempts]
    known = [cost for cost in costs if cost is not None]
    currencies = {attempt.currency for attempt in attempts if attempt.currency is not None}
    if len(known) < len(costs) or len(currencies) > 1:
        return "cost unknown"
    return f"{sum(known) / 1e9:.6f} {' '.join(currencies)}".rstrip()


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)


def _prompt(text: str) -> str:
    """The prompt itself, or standard input. Raises TaskError for one that is empty or no text."""
    from routewright.engine.errors import TaskError

    try:
        if text == "-":
            if sys.stdin is None:
                raise TaskError("standard input is closed")
            text = sys.stdin.buffer.read().decode("utf-8")
        else:
            # An argument that is not UTF-8 arrives with halves of surrogate pairs.
            text.encode("utf-8")
    except UnicodeError:
        raise TaskError("the prompt is not UTF-8 text") from None
    if not text.strip():
        raise TaskError("the prompt is empty")
    return text


def _faults(flags: list[str], policy: CompiledPolicy) -> dict[str, list[Fault]]:
    """Scripted failures by model id. Raises TaskError for an unknown model or class."""
    from routewright.backends import ERROR_CLASSES
    from routewright.engine.errors import TaskError
    from routewright.engine.suggest import suggest

    faults: dict[str, list[Fault]] = {}
    known: dict[str, Fault] = {name: name for name in ERROR_CLASSES}
    for flag in flags:
        # A model may be named `backend:tag`, but no name of a model has an `=`.
        name, _, error_class = flag.partition("=")
        model = policy.catalog.find(name)
        if model is None:
            raise TaskError(f"--fail names an unknown model `{name}`", help=policy.catalog.hint(name))
        if error_class not in known:
            help = suggest(error_class, known, label="classes")
            raise TaskError(f"--fail: unknown class `{error_class}`", help=help)
        faults.setdefault(model.id, []).append(known[error_class])
    return faults
