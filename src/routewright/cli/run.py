"""``routewright run``: decide and execute, and keep it in the ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .answers import answer_text, attempt_line, step_line, summary_line
from .exit_codes import ExitCode
from .options import Feature, LedgerPath, Map, Operation, Pin, PolicyPath, PromptTokens, Root, Seed, StatePath
from .writer import writer

if TYPE_CHECKING:
    from contextlib import ExitStack

    from routewright.backends import BackendError, Fault
    from routewright.engine.policy import CompiledPolicy
    from routewright.gateway import ModelGateway, RunResult


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
    map: Map = None,
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Ask no model: plan and store for real, answer with stand-in text; no quota is used and no breaker "
            "opens, unless --state names a file for them.",
        ),
    ] = False,
    fail: Annotated[
        list[str] | None,
        typer.Option(
            "--fail", metavar="MODEL=CLASS", help="With --simulate, let a model fail, to see the fallback."
        ),
    ] = None,
    unenforced: Annotated[
        bool,
        typer.Option("--unenforced", help="Go on although the plan asks for what is not supported yet."),
    ] = False,
    max_output_tokens: Annotated[
        int | None,
        typer.Option("--max-output-tokens", min=1, metavar="N", help="How long the answer may be."),
    ] = None,
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="The conversation it belongs to, for rules with `sticky: session`.",
        ),
    ] = None,
    ledger: LedgerPath = None,
    no_ledger: Annotated[bool, typer.Option("--no-ledger", help="Store nothing.")] = False,
    state: StatePath = None,
    seed: Seed = None,
    root: Root = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Leave out the line about it.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Say what came of each attempt and step, and where it is stored."
        ),
    ] = False,
) -> None:
    """Decide, execute and store one prompt.

    A chat is written as it comes. One line on standard error then says which model answered, why, how
    long it took, the tokens, what it cost and what was tried in vain. Ends with status 4 without an
    eligible target, 5 when every model of the plan failed, 6 when the ledger refused; an answer is
    written all the same.

    \b
    Example:
      routewright run policies/hybrid.yaml "Design a payment platform" -f complex_reasoning=true
      routewright run policies/hybrid.yaml "Design a payment platform" --map "*=llamacpp:smollm2"
      routewright run policies/hybrid.yaml "Design a payment platform" --simulate
    """
    import asyncio
    import signal
    from contextlib import ExitStack

    from routewright.engine.decision import SESSION, RequestFacts, Task
    from routewright.engine.explain import record_tree
    from routewright.engine.record import record_of
    from routewright.engine.report import TaskError
    from routewright.gateway import NotStoredError
    from routewright.ledger import LedgerError
    from routewright.loading import load_policy, parse_maps
    from routewright.tasks import features_from_flags, request_for

    from .ledger import print_notices

    if ledger is not None and no_ledger:
        raise TaskError("--ledger and --no-ledger cannot be combined")
    if fail and not simulate:
        raise TaskError("--fail needs --simulate", help="real models fail by themselves")
    if document and operation != "rerank":
        raise TaskError("--document needs --operation rerank", help="nothing else has documents")
    if max_output_tokens is not None and operation in ("embed", "rerank"):
        raise TaskError(
            f"--max-output-tokens means nothing to --operation {operation}", help="only chats write"
        )
    loaded = load_policy(policy, maps=parse_maps(map or []), root=root)
    features = features_from_flags(feature or [], loaded)
    facts = RequestFacts(
        prompt_tokens=prompt_tokens,
        max_output_tokens=max_output_tokens,
        metadata={} if session is None else {SESSION: session},
    )
    task = Task(features, operation or "chat", facts, model)
    request = request_for(task, _prompt(prompt), document or [])
    pieces = _Pieces()

    missing: dict[str, BackendError] = {}
    done: list[RunResult] = []

    told: list[int] = []

    def stop(number: int, running: asyncio.Task[object]) -> None:
        told.append(number)
        running.cancel()

    async def carry_out(gateway: ModelGateway) -> None:
        running = asyncio.current_task()
        assert running is not None
        # As Ctrl-C does: what was done until then is stored, and what it had reserved is settled.
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number, running)
        async with gateway:
            done.append(await gateway.run(task, request, unenforced=unenforced, on_text=pieces.write))

    not_stored: LedgerError | None = None
    with ExitStack() as stack:
        gateway = _gateway(
            loaded, stack, simulate, fail or [], None if no_ledger else (ledger,), state, seed, missing
        )
        try:
            asyncio.run(carry_out(gateway))
        except NotStoredError as error:
            not_stored = error
            done.append(error.ran)
        except LedgerError as error:
            not_stored = error
            if not done:
                raise
        except (asyncio.CancelledError, KeyboardInterrupt):
            pieces.end()
            if not told:
                raise
            writer.note("stopped")
            raise typer.Exit(128 + told[0]) from None
    pieces.end()
    [ran] = done
    execution = ran.execution
    if execution is None:
        writer.tree(record_tree(record_of(ran.decision)), note=True)
    else:
        if execution.answer is not None and not pieces.written:
            pieces.write(answer_text(execution.answer))
            pieces.end()
        if verbose or execution.error is not None:
            for attempt in execution.attempts:
                writer.note(attempt_line(attempt))
            for step in execution.steps:
                writer.note(step_line(step))
        for id in dict.fromkeys(attempt.backend_id for attempt in execution.attempts):
            if id in missing:
                writer.note(
                    f"not usable: {missing[id]}" + (f"; {help}" if (help := missing[id].help) else "")
                )
        if not quiet:
            writer.note(summary_line(ran))
        if gateway.ledger is not None and not_stored is None:
            say = writer.note if verbose else writer.remark
            say(f"stored in {gateway.ledger.path}")
    if gateway.ledger is not None:
        print_notices(gateway.ledger)
    if not_stored is not None:
        raise not_stored
    if execution is None:
        raise typer.Exit(ExitCode.NO_TARGET)
    if execution.error is not None:
        raise execution.error


def _gateway(
    policy: CompiledPolicy,
    stack: ExitStack,
    simulate: bool,
    fail: list[str],
    ledger: tuple[Path | None] | None,
    state: Path | None,
    seed: int | None,
    missing: dict[str, BackendError],
) -> ModelGateway:
    """The gateway for one run. Everything that can be refused is opened before anything costs an answer.

    ``missing`` is filled with the backends that cannot be used, and why.
    """
    from random import Random
    from tempfile import TemporaryDirectory

    from routewright.backends.control import StateStore
    from routewright.gateway import (
        ModelGateway,
        open_candidate,
        open_each,
        simulated_backends,
        simulated_candidate,
    )

    from .ledger import ledger_at
    from .options import state_path

    if simulate:
        faults = _faults(fail, policy)
        backends = simulated_backends(policy, seed=seed or 0, faults=faults)
        candidates = simulated_candidate(policy, seed=seed or 0, faults=faults)
    else:
        backends, unusable = open_each(policy)
        for error in unusable.values():
            # A key that is missing stops nobody whose task goes elsewhere; a mistake in the catalog is one.
            if error.error_class != "unauthorized":
                raise error
        candidates = open_candidate(policy)
        missing.update(unusable)
    opened = None if ledger is None else ledger_at(ledger[0], create=True)
    if simulate and state is None:
        # What no model was asked must not use up a quota, nor open a breaker, of those that are.
        state = Path(stack.enter_context(TemporaryDirectory(prefix="routewright-"))) / "state.sqlite"
    store = StateStore(state or state_path())
    return ModelGateway(
        policy,
        backends=backends,
        candidate_backends=candidates,
        ledger=opened,
        store=store,
        random=Random(seed),
    )


class _Pieces:
    """Writes an answer piece by piece as it comes."""

    def __init__(self) -> None:
        self.written = False

    def write(self, text: str) -> None:
        self.written = True
        writer.piece(text)

    def end(self) -> None:
        if self.written:
            writer.end_answer()


def _prompt(text: str) -> str:
    """The prompt itself, or standard input. Raises TaskError for one that is empty or no text."""
    from routewright.engine.report import TaskError

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
    from routewright.engine.report import TaskError, suggest

    candidate = None if policy.rollout is None else policy.rollout.candidate
    policies = [policy] if candidate is None else [policy, candidate]
    faults: dict[str, list[Fault]] = {}
    known: dict[str, Fault] = {name: name for name in ERROR_CLASSES}
    for flag in flags:
        # A model may be named `backend:tag`, but no name of a model has an `=`.
        name, equals, error_class = flag.partition("=")
        if not equals:
            raise TaskError(f"--fail: `{flag}` is no failure", help="such as glm-4.5=rate_limited")
        found = [one.catalog.find(name) for one in policies]
        models = [model.id for model in found if model is not None]
        if not models:
            raise TaskError(f"--fail names an unknown model `{name}`", help=policy.catalog.hint(name))
        if error_class not in known:
            help = suggest(error_class, known, label="classes")
            raise TaskError(f"--fail: unknown class `{error_class}`", help=help)
        for id in dict.fromkeys(models):
            faults.setdefault(id, []).append(known[error_class])
    return faults
