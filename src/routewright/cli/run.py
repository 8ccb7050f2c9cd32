"""Runs one task: opens what it needs, executes it so that Ctrl-C loses nothing, and reports the result."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import typer

from routewright.backends import ERROR_CLASSES, Backend, Fault
from routewright.engine.decision import Decision
from routewright.engine.explain import record_tree
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import record_of
from routewright.engine.report import TaskError, suggest
from routewright.gateway import (
    ModelGateway,
    NotStoredError,
    RunResult,
    open_backends,
    open_candidate,
    simulated_backends,
    simulated_candidate,
)
from routewright.ledger import LedgerError
from routewright.loading import load_policy, parse_maps
from routewright.tasks import AskedTask, models_named

from .answers import answer_text, attempt_line, step_line, summary_line
from .exit_codes import ExitCode
from .opened import ledger_at, print_notices, state_store
from .options import RunFlags, TaskFlags
from .run_json import as_json
from .task_flags import asked_by_flags
from .writer import writer

IN_PROCESS = ("llamacpp", "mlx")
"""Kinds of backends whose models are loaded by this program itself, anew in each run."""


def run_once(path: Path, prompt: str, flags: TaskFlags, how: RunFlags) -> None:
    """Run the task of a command line and print what came of it. Raises RoutewrightError and typer.Exit."""
    if how.ledger is not None and how.no_ledger:
        raise TaskError("--ledger and --no-ledger cannot be combined")
    policy = load_policy(path, maps=parse_maps(how.map or []), root=how.root)
    asked = asked_by_flags(flags, prompt, policy)
    with ExitStack() as stack:
        gateway, pieces = _opened(policy, how, stack), _Pieces()
        ran, refused = _executed(gateway, asked, how, pieces)
    _report(ran, gateway, how, pieces, stored=refused is None)
    if gateway.ledger is not None:
        print_notices(gateway.ledger)
    if refused is not None:
        raise refused
    if ran.execution is None:
        raise typer.Exit(ExitCode.NO_TARGET)
    if ran.execution.error is not None:
        raise ran.execution.error


def _opened(policy: CompiledPolicy, how: RunFlags, stack: ExitStack) -> ModelGateway:
    """Everything that can be refused is opened before anything costs an answer."""
    backends: Mapping[str, Backend]
    faults = _faults(how.fail or [], policy, simulate=how.simulate)
    if how.simulate:
        backends = simulated_backends(policy, seed=how.seed or 0, faults=faults)
        candidates = simulated_candidate(policy, seed=how.seed or 0, faults=faults)
    else:
        backends, candidates = open_backends(policy, faults=faults), open_candidate(policy, faults=faults)
    ledger = None if how.no_ledger else ledger_at(how.ledger, create=True)
    state = how.state
    if how.simulate and state is None:
        # A run that calls no model must neither use up a quota nor open a breaker of those that do.
        state = Path(stack.enter_context(TemporaryDirectory(prefix="routewright-"))) / "state.sqlite"
    return ModelGateway(
        policy,
        backends=backends,
        candidate_backends=candidates,
        ledger=ledger,
        store=state_store(state),
        random=Random(how.seed),
    )


def _executed(
    gateway: ModelGateway, asked: AskedTask, how: RunFlags, pieces: _Pieces
) -> tuple[RunResult, LedgerError | None]:
    """What came of the task, and why the ledger refused it. A signal ends the call as Ctrl-C does."""
    done: list[RunResult] = []
    signals: list[int] = []

    def stop(number: int, running: asyncio.Task[object]) -> None:
        signals.append(number)
        running.cancel()

    async def execute() -> None:
        running = asyncio.current_task()
        assert running is not None
        # As Ctrl-C does: what was done until then is stored, and what it had reserved is settled.
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, stop, number, running)
        async with gateway:
            done.append(await _decided_and_executed(gateway, asked, how, pieces))

    try:
        asyncio.run(execute())
    except NotStoredError as error:
        return error.ran, error
    except LedgerError as error:
        if not done:
            raise
        return done[0], error
    except (asyncio.CancelledError, KeyboardInterrupt):
        pieces.end()
        if not signals:
            raise
        writer.note("stopped")
        raise typer.Exit(128 + signals[0]) from None
    return done[0], None


async def _decided_and_executed(
    gateway: ModelGateway, asked: AskedTask, how: RunFlags, pieces: _Pieces
) -> RunResult:
    request = asked.request
    assert request is not None  # `run` insists on a prompt
    await gateway.admin.ask_memory()
    decided = gateway.decide(await gateway.describe(asked.task, request))
    if not (how.quiet or how.simulate):
        remark_loading(decided.decision)
    return await gateway.execute(
        decided,
        request,
        unenforced=how.unenforced,
        on_text=None if how.format == "json" else pieces.write,
        tags=asked.tags,
        trace_id=asked.trace_id,
    )


def remark_loading(decision: Decision) -> None:
    """Tell who watches that the target is loaded by this program first, which takes seconds."""
    model = None if decision.target is None else decision.policy.catalog.find(decision.target)
    if model is not None and decision.policy.catalog.backends[model.backend].kind in IN_PROCESS:
        writer.remark(f"loading {model.tag} for {model.id}: this may take some seconds")


class _Pieces:
    """Writes an answer piece by piece as it arrives."""

    def __init__(self) -> None:
        self.written = False

    def write(self, text: str) -> None:
        self.written = True
        writer.piece(text)

    def end(self) -> None:
        if self.written:
            writer.end_answer()


def _report(ran: RunResult, gateway: ModelGateway, how: RunFlags, pieces: _Pieces, *, stored: bool) -> None:
    """Print what is left of the answer, and on standard error what came of the run."""
    pieces.end()
    execution = ran.execution
    stored_in = str(gateway.ledger.path) if gateway.ledger is not None and stored else None
    if how.format == "json":
        writer.json_value(as_json(ran, stored_in=stored_in))
    if execution is None:
        writer.tree(record_tree(record_of(ran.decision)), note=True)
        if stored_in is not None and not how.quiet:
            writer.note(f"decision {ran.decision_id}")
    else:
        if how.format == "text" and execution.answer is not None and not pieces.written:
            pieces.write(answer_text(execution.answer))
            pieces.end()
        if how.verbose or execution.error is not None:
            for line in (*map(attempt_line, execution.attempts), *map(step_line, ran.steps)):
                writer.note(line)
        if not how.quiet:
            writer.note(summary_line(ran, stored=stored_in is not None))
    if stored_in is not None:
        say = writer.note if how.verbose else writer.remark
        say(f"stored in {stored_in}")


def _faults(flags: list[str], policy: CompiledPolicy, *, simulate: bool) -> dict[str, list[Fault]]:
    """Scripted failures by model id. Raises TaskError for an unknown model or class, and for a model that is real."""
    faults: dict[str, list[Fault]] = {}
    known: dict[str, Fault] = {name: name for name in ERROR_CLASSES}
    real = {
        model.id for one in policy.with_candidate for model in one.catalog.models if model.kind != "simulated"
    }
    for flag in flags:
        # A model may be named `backend:tag`, but no name of a model has an `=`.
        name, equals, error_class = flag.partition("=")
        if not equals:
            raise TaskError(f"--fail: `{flag}` is not a failure", help="such as glm-4.5=rate_limited")
        models = models_named(name, policy, "--fail")
        if error_class not in known:
            kinds = [one for one in known if one.startswith(f"{error_class}.")]
            help = f"one of {', '.join(kinds)}" if kinds else suggest(error_class, known, label="classes")
            raise TaskError(f"--fail: unknown failure class `{error_class}`", help=help)
        for id in models:
            if not simulate and id in real:
                raise TaskError(
                    f"--fail needs --simulate, as `{id}` is a real model",
                    help="real models fail by themselves",
                )
            faults.setdefault(id, []).append(known[error_class])
    return faults
