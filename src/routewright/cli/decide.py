"""``routewright decide``: a dry run. Nothing is executed, nothing is stored."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO, Literal

import typer

from .exit_codes import ExitCode
from .options import At, Feature, Lenient, Operation, Pin, PolicyPath, PromptTokens, Seed, StateFile
from .writer import writer

if TYPE_CHECKING:
    from routewright.engine.decision.decision import Decision
    from routewright.engine.decision.task import State, Task
    from routewright.gateway import ModelGateway

__all__ = ["decide"]

Format = Literal["tree", "table", "json", "jsonl", "markdown"]

_PROGRESS_FROM_BYTES = 100_000


def decide(
    policy: PolicyPath,
    feature: Feature = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="JSON", help='One task as JSON: {"features": {...}}.')
    ] = None,
    tasks: Annotated[
        Path | None,
        typer.Option(
            "--tasks", metavar="FILE", help="A JSONL file of tasks, one a line; - is standard input."
        ),
    ] = None,
    operation: Operation = None,
    pin: Pin = None,
    prompt_tokens: PromptTokens = None,
    state: StateFile = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why, and what would have led elsewhere.")
    ] = False,
    format: Annotated[
        Format | None,
        typer.Option("--format", help="How decisions are written.  [default: tree; table for --tasks]"),
    ] = None,
    at: At = None,
    seed: Seed = None,
    lenient: Lenient = False,
) -> None:
    """Decide where tasks would go, without executing or storing anything.

    Byte for byte the same with the same --at and --seed. Ends with status 4 when the one task has no eligible
    target.

    Example: routewright decide policies/hybrid.yaml -f complex_reasoning=true --explain
    """
    from random import Random

    from routewright.gateway import ModelGateway, now_us
    from routewright.loading import load_policy
    from routewright.tasks import parse_time

    given = [name for name, value in (("--task", task), ("--tasks", tasks)) if value is not None]
    flags = [name for name, value in (("-f", feature), ("--operation", operation), ("--pin", pin)) if value]
    if len(given) == 2 or (given and flags):
        raise typer.BadParameter(
            f"{' and '.join([*given, *flags])} cannot be combined; put all into the task"
        )
    gateway = ModelGateway(load_policy(policy), random=Random(seed))
    known = _state(state, gateway, at_us=parse_time(at) if at else now_us())
    if tasks is not None:
        _decide_file(gateway, tasks, known, format or "table", strict=not lenient, explain=explain)
        return
    name, one = _one_task(gateway, task, feature, operation, pin, prompt_tokens)
    decision = gateway.decide(one, state=known, strict=not lenient).decision
    show = _Printer(format or "tree", explain=explain)
    show(name, decision)
    if format == "table":
        show.finish()
    if decision.plan is None:
        raise typer.Exit(ExitCode.NO_TARGET)


def _state(path: Path | None, gateway: ModelGateway, *, at_us: int) -> State:
    from routewright.engine.decision.task import State
    from routewright.loading import read_text
    from routewright.tasks import parse_state, state_from

    if path is None:
        return State(at_us)
    return state_from(parse_state(read_text(str(path)), place=str(path)), gateway.policy, at_us=at_us)


def _one_task(
    gateway: ModelGateway,
    text: str | None,
    flags: list[str] | None,
    operation: Literal["chat", "embed", "rerank"] | None,
    pin: str | None,
    prompt_tokens: int | None,
) -> tuple[str, Task]:
    """The one task that the flags describe, and its name."""
    from routewright.engine.decision.task import RequestFacts, Task
    from routewright.tasks import features_from_flags, parse_task, task_from

    if text is not None:
        sample = parse_task(text, place="--task")
        if prompt_tokens is not None:
            sample = sample.model_copy(update={"prompt_tokens": prompt_tokens})
        return sample.name or "", task_from(sample)
    features = features_from_flags(flags or [], gateway.policy)
    return "", Task(features, operation or "chat", RequestFacts(prompt_tokens=prompt_tokens), pin)


def _decide_file(
    gateway: ModelGateway, path: Path, state: State, format: Format, *, strict: bool, explain: bool
) -> None:
    """Decide every line. A bad line is reported and passed over; the run then ends with status 2."""
    from routewright.engine.errors import FeatureError, TaskError
    from routewright.tasks import parse_task, task_from

    show = _Printer(format, explain=explain)
    bad = 0
    for number, line in _lines(path):
        place = f"{path}:{number}"
        try:
            task = parse_task(line, place=place)
            decision = gateway.decide(task_from(task), state=state, strict=strict).decision
        except (FeatureError, TaskError) as error:
            bad += 1
            message = str(error)
            writer.note(f"error: {message if message.startswith(place) else f'{place}: {message}'}")
            if error.help:
                writer.note(f"  = help: {error.help}")
            continue
        show(task.name or str(number), decision)
    show.finish()
    if bad:
        writer.note(f"{bad} line{'' if bad == 1 else 's'} could not be decided")
        raise typer.Exit(ExitCode.USAGE)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers; with progress on a terminal for a long file."""
    from routewright.engine.errors import TaskError

    try:
        with _opened(path) as (file, advance):
            for number, line in enumerate(file, start=1):
                advance(len(line))
                try:
                    text = line.decode("utf-8")
                except UnicodeDecodeError:
                    raise TaskError(f"{path}:{number}: the line is not UTF-8 text") from None
                if text.strip():
                    yield number, text
    except OSError as error:
        raise TaskError(f"cannot read `{path}`: {(error.strerror or str(error)).lower()}") from None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, Callable[[int], None]]]:
    if str(path) == "-":
        yield sys.stdin.buffer, lambda size: None
        return
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < _PROGRESS_FROM_BYTES or not sys.stderr.isatty() or writer.plain:
            yield file, lambda size: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            bar = progress.add_task("deciding", total=size)
            yield file, lambda size: progress.advance(bar, size)


class _Printer:
    """Writes decisions in one form, each as it comes; a table at the end."""

    def __init__(self, format: Format, *, explain: bool) -> None:
        self._format = format
        self._explain = explain
        self._rows: list[list[str]] = []
        self._count = 0

    def __call__(self, name: str, decision: Decision) -> None:
        import json

        from routewright.engine.canonical import canonical_bytes
        from routewright.engine.decision.explain import explain
        from routewright.engine.decision.explanation_values import explanation_values
        from routewright.engine.decision.outline import (
            explanation_outline,
            record_outline,
            render_markdown,
            render_tree,
        )
        from routewright.engine.decision.record import record_of, record_values

        self._count += 1
        if self._format == "table":
            self._rows.append(_row(name, decision))
        elif self._format in ("json", "jsonl"):
            if self._explain:
                values = explanation_values(explain(decision.policy, decision))
            else:
                values = record_values(decision)
            if self._format == "json":
                writer.raw(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
            else:
                writer.raw(canonical_bytes(values).decode() + "\n")
        else:
            if self._explain:
                outline = explanation_outline(explain(decision.policy, decision))
            else:
                outline = record_outline(record_of(decision))
            if name:
                outline.label = f"{name}: {outline.label}"
            if self._count > 1:
                writer.text()
            writer.text(render_markdown(outline) if self._format == "markdown" else render_tree(outline))

    def finish(self) -> None:
        """Write what was held back."""
        if self._format == "table":
            writer.table(["task", "outcome", "rule", "target", "fallbacks", "excluded", "reason"], self._rows)


def _row(name: str, decision: Decision) -> list[str]:
    models = decision.policy.catalog.models
    plan = decision.plan
    rule = None if decision.rule is None else decision.policy.rules[decision.rule]
    return [
        name,
        decision.outcome,
        rule.name if rule else "",
        decision.target or "",
        ", ".join(models[index].id for index in plan.fallbacks) if plan else "",
        ", ".join(models[c.model].id for c in decision.candidates if c.failure is not None),
        (rule.reason or "") if rule else "",
    ]
