"""Decides the tasks of a command line, and prints each decision."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import typer

from routewright.engine.decision import State
from routewright.engine.policy import CompiledPolicy
from routewright.engine.report import FeatureError, PolicyError, TaskError, render_problem
from routewright.gateway import DecisionResult, ModelGateway, now_us, open_backends, open_candidate
from routewright.loading import load_policy, parse_maps, permission_notes, read_text, user_permissions
from routewright.tasks import AskedTask, asked_by, parse_state, parse_task, parse_time, state_from

from .decision_fields import SHORT, parse_fields
from .decisions import DecisionPrinter, TaskPlace
from .exit_codes import ExitCode
from .opened import state_store
from .options import DecideFlags, TaskFlags
from .task_flags import asked_by_flags
from .task_lines import task_lines
from .writer import writer


def decide_and_print(path: Path, prompt: str | None, flags: TaskFlags, how: DecideFlags) -> None:
    """Decide and print the task, or every task, of a command line. Raises RoutewrightError and typer.Exit."""
    _check_combination(prompt, flags, how)
    policy = load_policy(path, maps=parse_maps(how.map or []), root=how.root)
    for told in permission_notes(policy, user_permissions()):
        writer.problems(render_problem(told, kind="note"), note=True)
    with _gateway(policy, how) as gateway:
        state = None if how.live else _assumed(how, policy)
        if how.live:
            asyncio.run(gateway.admin.ask_memory())
        if how.tasks is not None:
            _decide_lines(gateway, how.tasks, state, how)
            return
        asked = asked_by_flags(flags, prompt, policy) if how.task is None else asked_by(parse_task(how.task))
        decided = _decided(gateway, asked, state, how)
        show = _printer(how, many=False)
        show.write(TaskPlace(asked.name), decided)
        show.finish()
        if decided.decision.plan is None:
            raise typer.Exit(ExitCode.NO_TARGET)


def _gateway(policy: CompiledPolicy, how: DecideFlags) -> ModelGateway:
    """What decides: with ``--live`` it knows what ``run`` would know, also which backends cannot be opened, and what
    those that say it have in memory."""
    if not how.live:
        return ModelGateway(policy, random=Random(how.seed))
    return ModelGateway(
        policy,
        backends=open_backends(policy),
        candidate_backends=open_candidate(policy),
        store=state_store(how.state),
        random=Random(how.seed),
    )


def _check_combination(prompt: str | None, flags: TaskFlags, how: DecideFlags) -> None:
    given = [name for name, value in (("--task", how.task), ("--tasks", how.tasks)) if value is not None]
    described = [*([] if prompt is None else ["PROMPT"]), *flags.given()]
    if len(given) == 2 or (given and described):
        raise TaskError(
            f"{' and '.join([*given, *described])} cannot be combined",
            help="say all of it in the task itself",
        )
    parts = "--fields" if how.fields is not None else "--short" if how.short else None
    if how.fields is not None and how.short:
        raise TaskError("--fields and --short cannot be combined", help=f"--short is --fields {SHORT}")
    if how.explain and parts is not None:
        raise TaskError(f"--explain and {parts} cannot be combined")
    if how.explain and how.format in ("table", "csv"):
        form = "a table" if how.format == "table" else "CSV"
        raise TaskError(f"--explain cannot be written as {form}", help="choose another --format")
    if parts is not None and how.format in ("tree", "markdown"):
        raise TaskError(
            f"{parts} and --format {how.format} cannot be combined", help="choose another --format"
        )
    assumed = [name for name, value in (("--assume", how.assume), ("--at", how.at)) if value is not None]
    if how.live and assumed:
        raise TaskError(
            f"--live and {assumed[0]} cannot be combined",
            help="one uses what is known now, the other what is to be assumed",
        )
    if how.state is not None and not how.live:
        raise TaskError("--state needs --live", help="what is to be assumed stands in a file for --assume")


def _printer(how: DecideFlags, *, many: bool) -> DecisionPrinter:
    some = how.fields is not None or how.short
    form = how.format or ("table" if some or (many and not how.explain) else "tree")
    named = SHORT if how.short or (form == "csv" and how.fields is None) else how.fields
    return DecisionPrinter(
        form, explained=how.explain, many=many, fields=None if named is None else parse_fields(named)
    )


def _assumed(how: DecideFlags, policy: CompiledPolicy) -> State:
    """What the decision takes as known."""
    at_us = now_us() if how.at is None else parse_time(how.at)
    if how.assume is None:
        return State(at_us)
    try:
        return state_from(parse_state(read_text(str(how.assume))), policy, at_us=at_us)
    except PolicyError as error:  # the file cannot be read
        raise TaskError(f"{how.assume}: {error.problems[0].message}") from None
    except TaskError as error:
        raise TaskError(f"{how.assume}: {error}", help=error.help) from None


def _decided(
    gateway: ModelGateway, asked: AskedTask, state: State | None, how: DecideFlags
) -> DecisionResult:
    """The decision about a task, which knows of its request what ``run`` would know."""
    task = asked.task if asked.request is None else asyncio.run(gateway.describe(asked.task, asked.request))
    return gateway.decide(task, state=state, strict=not how.lenient, arm=how.arm)


def _decide_lines(gateway: ModelGateway, path: Path, state: State | None, how: DecideFlags) -> None:
    """Decide every line. A bad line is reported and passed over; the run then ends with status 2."""
    show = _printer(how, many=True)
    # Decisions that appear line by line on the same terminal are progress enough.
    progress = show.format == "table" or not writer.pretty
    bad = good = 0
    for number, line in task_lines(path, progress=progress):
        name = ""
        try:
            if isinstance(line, TaskError):
                raise line
            written = parse_task(line)
            name = written.name or ""
            decided = _decided(gateway, asked_by(written), state, how)
        except (FeatureError, TaskError) as error:
            bad += 1
            show.fail(TaskPlace(name, number), error)
            writer.note(f"error: {path}:{number}: {error}")
            if error.help:
                writer.note(f"  = help: {error.help}")
            continue
        good += 1
        show.write(TaskPlace(name, number), decided)
    show.finish()
    if bad:
        writer.note(f"{bad} of {good + bad} tasks could not be decided")
        raise typer.Exit(ExitCode.USAGE)
    if not good:
        writer.note(f"no tasks in {path}")
