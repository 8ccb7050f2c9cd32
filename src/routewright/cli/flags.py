"""The options of a task, of running it and of deciding it: groups that commands take whole."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import typer

from .options import Features, LedgerPath, Map, Root, Seed, StatePath


@dataclass(frozen=True)
class TaskFlags:
    """What the flags of ``decide`` and ``run`` say of a task; None where a flag is not given.

    The names are those of a written task, or of a list's single element.
    """

    feature: Features = None
    operation: Annotated[
        Literal["chat", "embed", "rerank"] | None,
        typer.Option("--operation", help="What is asked for.  [default: chat]"),
    ] = None
    pin: Annotated[
        str | None, typer.Option("--pin", "--model", metavar="MODEL", help="Use only this model.")
    ] = None
    session: Annotated[
        str | None,
        typer.Option(
            "--session",
            metavar="ID",
            help="The conversation it belongs to, for rules with `sticky: session`.",
        ),
    ] = None
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="NAME=TEXT", help="Metadata of the request. Repeatable."),
    ] = None
    prompt_tokens: Annotated[
        int | None,
        typer.Option(
            "--prompt-tokens", min=0, metavar="N", help="The prompt's length, if it is not to be counted."
        ),
    ] = None
    max_output_tokens: Annotated[
        int | None,
        typer.Option("--max-output-tokens", min=1, metavar="N", help="The longest answer to ask for."),
    ] = None
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="The system message of a chat.")
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature", metavar="NUMBER", help="0 for the likeliest words; higher for more varied ones."
        ),
    ] = None
    image: Annotated[
        list[Path] | None,
        typer.Option("--image", metavar="FILE", readable=False, help="A PNG or JPEG to look at. Repeatable."),
    ] = None
    json_schema: Annotated[
        Path | None,
        typer.Option(
            "--json-schema", metavar="FILE", readable=False, help="A JSON Schema that the answer must fit."
        ),
    ] = None
    document: Annotated[
        list[str] | None,
        typer.Option(
            "--document", metavar="TEXT", help="A document to rank, for --operation rerank. Repeatable."
        ),
    ] = None
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", metavar="NAME=TEXT", help="A label that is stored with the decision. Repeatable."
        ),
    ] = None

    def given(self) -> list[str]:
        """The flags that are given, as they are written."""
        return [spelled(one.name) for one in fields(self) if getattr(self, one.name) is not None]


def spelled(name: str) -> str:
    """The flag for a key of a written task."""
    singular = {"features": "feature", "documents": "document", "tags": "tag"}.get(name, name)
    return f"--{singular.replace('_', '-')}"


@dataclass(frozen=True)
class DecideFlags:
    """Which tasks are decided, what is known then, and how decisions are written."""

    task: Annotated[
        str | None, typer.Option("--task", metavar="JSON", help='One task as JSON: {"features": {...}}.')
    ] = None
    tasks: Annotated[
        Path | None,
        typer.Option(
            "--tasks",
            metavar="FILE",
            readable=False,
            help="A JSONL file of tasks, one a line; - is standard input.",
        ),
    ] = None
    assume: Annotated[
        Path | None,
        typer.Option(
            "--assume",
            metavar="FILE",
            readable=False,
            help="A JSON file of what to assume (see above): time, load, models, quotas.",
        ),
    ] = None
    live: Annotated[bool, typer.Option("--live", help="Use current breakers, latencies and quotas.")] = False
    state: StatePath = None
    at: Annotated[
        str | None, typer.Option("--at", metavar="TIME", help="Decide as of this time (ISO 8601).")
    ] = None
    map: Map = None
    arm: Annotated[
        Literal["control", "candidate"] | None,
        typer.Option("--arm", help="Show this arm of the rollout instead of the one that is picked."),
    ] = None
    explain: Annotated[
        bool, typer.Option("--explain", help="Say why, and what would have led elsewhere.")
    ] = False
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Ignore features that the policy does not declare.")
    ] = False
    format: Annotated[
        Literal["tree", "table", "json", "jsonl", "markdown"] | None,
        typer.Option("--format", help="The form of the output.  [default: tree; table for --tasks]"),
    ] = None
    seed: Seed = None
    root: Root = None


@dataclass(frozen=True)
class RunFlags:
    """How a task is executed and stored."""

    map: Map = None
    simulate: Annotated[
        bool,
        typer.Option(
            "--simulate",
            help="Call no model: decide and store as usual, and answer with stand-in text. Uses no quota and opens "
            "no breaker, unless --state names a file for them.",
        ),
    ] = False
    fail: Annotated[
        list[str] | None,
        typer.Option(
            "--fail", metavar="MODEL=CLASS", help="With --simulate, let a model fail, to see the fallback."
        ),
    ] = None
    unenforced: Annotated[
        bool,
        typer.Option(
            "--unenforced", help="Run although the plan asks for something that is not supported yet."
        ),
    ] = False
    ledger: LedgerPath = None
    no_ledger: Annotated[bool, typer.Option("--no-ledger", help="Store nothing.")] = False
    state: StatePath = None
    seed: Seed = None
    root: Root = None
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the summary line.")] = False
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Print each attempt and step, and where the run is stored."),
    ] = False
