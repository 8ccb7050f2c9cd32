"""``routewright decide``: a dry run. Nothing is executed, nothing is stored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .exit_codes import ExitCode
from .options import At, Feature, Lenient, Operation, Pin, PolicyPath, PromptTokens, Root, Seed, StateFile
from .writer import writer

if TYPE_CHECKING:
    from routewright.backends.control import StateStore
    from routewright.engine.decision import State, Task
    from routewright.gateway import ModelGateway

    from .decisions import DecisionPrinter


def decide(
    policy: PolicyPath,
    feature: Feature = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="JSON", help='One task as JSON: {"features": {...}}.')
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option(
            "--tasks",
            metavar="FILE",
            readable=False,
            help="A JSONL file of tasks, one a line; - is standard input.",
        ),
    ] = None,
    operation: Operation = None,
    pin: Pin = None,
    prompt_tokens: PromptTokens = None,
    state: StateFile = None,
    live: Annotated[
        bool,
        typer.Option(
            "--live", help="Know what is known now: breakers, latencies and quotas of the state store."
        ),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why, and what would have led elsewhere.")
    ] = False,
    format: Annotated[
        Literal["tree", "table", "json", "jsonl", "markdown"] | None,
        typer.Option("--format", help="How decisions are written.  [default: tree; table for --tasks]"),
    ] = None,
    arm: Annotated[
        Literal["control", "candidate"] | None,
        typer.Option("--arm", help="Look at this arm of the rollout, not at the one that is picked."),
    ] = None,
    at: At = None,
    seed: Seed = None,
    lenient: Lenient = False,
    root: Root = None,
) -> None:
    """Decide where tasks would go; execute and store nothing.

    One task comes from flags or --task, many from --tasks: one JSON object a line, with the keys name, features,
    operation, pin, prompt_tokens, max_output_tokens, messages, images, tools, json_schema, metadata and draw. Of a
    policy with a rollout the arm is picked as for a real task; under a shadow both decisions are shown, in JSON as
    a list. Byte for byte the same with the same --at and --seed. Ends with status 4 when the one task has no
    eligible target, and with 2 when a line of --tasks cannot be decided; the others are decided all the same.

    --state says what is to be taken as known, each part of it if you like: `at`, a time (--at without it);
    `load` of this machine, 0 to 1; `models`, by name, each with `health` (healthy, unhealthy), `breaker`
    (closed, open, half_open) and `latency_ms`; `quota_used`, by control: a number of requests, tokens or
    calls, or money such as "12.5 USD".

    \b
    Example:
      routewright decide policies/hybrid.yaml -f complex_reasoning=true --explain
      echo '{"models": {"glm-4.5": {"breaker": "open"}}}' > state.json
      routewright decide policies/hybrid.yaml --state state.json
    """
    from contextlib import closing, nullcontext
    from random import Random

    from routewright.engine.report import TaskError, render_problem
    from routewright.gateway import ModelGateway, now_us
    from routewright.loading import load_policy, permission_notes, user_permissions
    from routewright.tasks import parse_time

    from .decisions import DecisionPrinter

    given = [name for name, value in (("--task", task), ("--tasks", tasks)) if value is not None]
    flags = [
        name
        for name, value in (
            ("--feature", feature),
            ("--operation", operation),
            ("--pin", pin),
            ("--prompt-tokens", prompt_tokens),
        )
        if value is not None
    ]
    if len(given) == 2 or (given and flags):
        raise TaskError(
            f"{' and '.join([*given, *flags])} cannot be combined", help="say all of it in the task itself"
        )
    if explain and format == "table":
        raise TaskError("--explain cannot be written as a table", help="choose another --format")
    if live and (state is not None or at is not None):
        raise TaskError(
            f"--live and {'--at' if state is None else '--state'} cannot be combined",
            help="one says what is known now, the other what is to be taken as known",
        )
    store = _store() if live else None
    with closing(store) if store is not None else nullcontext():
        loaded = load_policy(policy, root=root)
        for told in permission_notes(loaded, user_permissions()):
            writer.notes(render_problem(told, kind="note"))
        gateway = ModelGateway(loaded, random=Random(seed), store=store)
        known = None if live else _state(state, gateway, at_us=parse_time(at) if at else now_us())
        if tasks is not None:
            form = format or ("tree" if explain else "table")
            show = DecisionPrinter(form, explained=explain, many=True)
            # Decisions that appear line by line on the same terminal are progress enough.
            progress = form == "table" or not writer.pretty
            _decide_file(gateway, tasks, known, show, strict=not lenient, progress=progress, arm=arm)
            return
        name, one = _one_task(gateway, task, feature, operation, pin, prompt_tokens)
        decided = gateway.decide(one, state=known, strict=not lenient, arm=arm)
        show = DecisionPrinter(format or "tree", explained=explain, many=False)
        show.write(name, decided)
        show.finish()
        if decided.decision.plan is None:
            raise typer.Exit(ExitCode.NO_TARGET)


def _store() -> StateStore:
    from routewright.backends.control import StateStore

    from .options import state_path

    return StateStore(state_path())


def _state(path: Path | None, gateway: ModelGateway, *, at_us: int) -> State:
    from routewright.engine.decision import State
    from routewright.engine.report import PolicyError, TaskError
    from routewright.loading import read_text
    from routewright.tasks import parse_state, state_from

    if path is None:
        return State(at_us)
    try:
        text = read_text(str(path))
    except PolicyError as error:
        raise TaskError(f"{path}: {error.problems[0].message}") from None
    try:
        return state_from(parse_state(text), gateway.policy, at_us=at_us)
    except TaskError as error:
        raise TaskError(f"{path}: {error}", help=error.help) from None


def _one_task(
    gateway: ModelGateway,
    text: str | None,
    flags: list[str] | None,
    operation: Literal["chat", "embed", "rerank"] | None,
    pin: str | None,
    prompt_tokens: int | None,
) -> tuple[str, Task]:
    """The one task that the flags describe, and its name."""
    from routewright.engine.decision import RequestFacts, Task
    from routewright.tasks import features_from_flags, parse_task, task_from

    if text is not None:
        sample = parse_task(text)
        return sample.name or "", task_from(sample)
    features = features_from_flags(flags or [], gateway.policy)
    return "", Task(features, operation or "chat", RequestFacts(prompt_tokens=prompt_tokens), pin)


def _decide_file(
    gateway: ModelGateway,
    path: Path,
    state: State | None,
    show: DecisionPrinter,
    *,
    strict: bool,
    progress: bool,
    arm: Literal["control", "candidate"] | None,
) -> None:
    """Decide every line. A bad line is reported and passed over; the run then ends with status 2."""
    from routewright.engine.report import FeatureError, TaskError
    from routewright.tasks import parse_task, task_from

    from .task_lines import task_lines

    bad = good = 0
    for number, line in task_lines(path, progress=progress):
        place = f"{path}:{number}"
        try:
            if isinstance(line, TaskError):
                raise line
            task = parse_task(line)
            decided = gateway.decide(task_from(task), state=state, strict=strict, arm=arm)
        except (FeatureError, TaskError) as error:
            bad += 1
            writer.note(f"error: {place}: {error}")
            if error.help:
                writer.note(f"  = help: {error.help}")
            continue
        good += 1
        show.write(task.name or str(number), decided)
    if good or not bad:
        show.finish()
    if bad:
        writer.note(f"{bad} of {good + bad} tasks could not be decided")
        raise typer.Exit(ExitCode.USAGE)
    if not good:
        writer.note(f"no tasks in {path}")
