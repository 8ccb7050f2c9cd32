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

from .decisions import DecisionPrinter
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
        show = DecisionPrinter(how.format or "tree", explained=how.explain, many=False)
        show.write(asked.name, decided)
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
    if how.explain and how.format == "table":
        raise TaskError("--explain cannot be written as a table", help="choose another --format")
    assumed = [name for name, value in (("--assume", how.assume), ("--at", how.at)) if value is not None]
    if how.live and assumed:
        raise TaskError(
            f"--live and {assumed[0]} cannot be combined",
            help="one uses what is known now, the other what is to be assumed",
        )
    if how.state is not None and not how.live:
        raise TaskError("--state needs --live", help="what is to be assumed stands in a file for --assume")


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
    form = how.format or ("tree" if how.explain else "table")
    show = DecisionPrinter(form, explained=how.explain, many=True)
    # Decisions that appear line by line on the same terminal are progress enough.
    progress = form == "table" or not writer.pretty
    bad = good = 0
    for number, line in task_lines(path, progress=progress):
        try:
            if isinstance(line, TaskError):
                raise line
            asked = asked_by(parse_task(line))
            decided = _decided(gateway, asked, state, how)
        except (FeatureError, TaskError) as error:
            bad += 1
            writer.note(f"error: {path}:{number}: {error}")
            if error.help:
                writer.note(f"  = help: {error.help}")
            continue
        good += 1
        show.write(asked.name or str(number), decided)
    if good or not bad:
        show.finish()
    if bad:
        writer.note(f"{bad} of {good + bad} tasks could not be decided")
        raise typer.Exit(ExitCode.USAGE)
    if not good:
        writer.note(f"no tasks in {path}")
