"""Arguments and options that several commands share, and groups of options that a command takes whole."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from typer import Argument, Option

# Whether a file can be read is told by whoever reads it, with the exit code that it has there.
FileOption: Callable[..., Any] = partial(Option, metavar="FILE", readable=False)
"""An option that names a file. Its flag is made of the parameter's name, as that of any option without one."""

_policy = partial(Argument, metavar="POLICY", readable=False)

PolicyPath = Annotated[Path, _policy(help="The policy file.")]
PolicyOrDefault = Annotated[
    Path | None, _policy(help="The policy file.  [default: $ROUTEWRIGHT_POLICY, else the shipped one]")
]
Root = Annotated[
    Path | None,
    Option(
        metavar="DIR",
        help="The folder that the files a policy names must be in.  [default: $ROUTEWRIGHT_ROOT, else the nearest "
        "folder above the policy that holds .git, else its own]",
    ),
]
Features = Annotated[
    list[str] | None,
    Option("--feature", "-f", metavar="NAME=VALUE", help="A feature of the task. Repeatable."),
]
Map = Annotated[
    list[str] | None,
    Option(
        metavar="MODEL=BACKEND:TAG",
        help="Use another model in place of this one, or of all that chat (*). Repeatable.",
    ),
]
Seed = Annotated[int | None, Option(metavar="N", help="Derive ids and random draws from this number.")]
LedgerPath = Annotated[
    Path | None,
    FileOption("--ledger", help="The ledger.  [default: $ROUTEWRIGHT_LEDGER, else in your data directory]"),
]
StatePath = Annotated[
    Path | None,
    FileOption(
        help="Where breakers, quotas and latencies are kept.  [default: state.sqlite in your data directory]"
    ),
]

Since = Annotated[
    str, Option(metavar="TIME", help="From when: 7d, 24h, today, yesterday, 2026-01-31 or all.")
]
Timezone = Annotated[
    str, Option(metavar="ZONE", help="Show times as they are there, and go by its days: Europe/Berlin.")
]
Simulated = Annotated[bool, Option("--simulated", help="Ask about simulated runs, instead of real ones.")]

_format = Option(help="The form of the output.")
TableFormat = Annotated[Literal["table", "json"], _format]
TextFormat = Annotated[Literal["text", "json"], _format]


@dataclass(frozen=True)
class TaskFlags:
    """What the flags of ``decide`` and ``run`` say of a task; None where a flag is not given.

    The names are those of a written task, or of a list's single element.
    """

    feature: Features = None
    operation: Annotated[
        Literal["chat", "embed", "rerank"] | None, Option(help="What is asked for.  [default: chat]")
    ] = None
    pin: Annotated[str | None, Option("--pin", "--model", metavar="MODEL", help="Use only this model.")] = (
        None
    )
    session: Annotated[
        str | None,
        Option(metavar="ID", help="The conversation it belongs to, for rules with `sticky: session`."),
    ] = None
    metadata: Annotated[
        list[str] | None, Option(metavar="NAME=TEXT", help="Metadata of the request. Repeatable.")
    ] = None
    prompt_tokens: Annotated[
        int | None, Option(min=0, metavar="N", help="The prompt's length, if it is not to be counted.")
    ] = None
    max_output_tokens: Annotated[
        int | None, Option(min=1, metavar="N", help="The longest answer to ask for.")
    ] = None
    system: Annotated[str | None, Option(metavar="TEXT", help="The system message of a chat.")] = None
    temperature: Annotated[
        float | None, Option(metavar="NUMBER", help="0 for the likeliest words; higher for more varied ones.")
    ] = None
    image: Annotated[
        list[Path] | None, FileOption(help="A PNG, JPEG, WebP or GIF to look at. Repeatable.")
    ] = None
    json_schema: Annotated[Path | None, FileOption(help="A JSON Schema that the answer must fit.")] = None
    document: Annotated[
        list[str] | None,
        Option(metavar="TEXT", help="A document to rank, for --operation rerank. Repeatable."),
    ] = None
    tag: Annotated[
        list[str] | None,
        Option(metavar="NAME=TEXT", help="A label that is stored with the decision. Repeatable."),
    ] = None

    trace: Annotated[
        str | None, Option(metavar="ID", help="The trace it belongs to, stored with the decision.")
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

    task: Annotated[str | None, Option(metavar="JSON", help='One task as JSON: {"features": {...}}.')] = None
    tasks: Annotated[
        Path | None, FileOption(help="A JSONL file of tasks, one a line; - is standard input.")
    ] = None
    assume: Annotated[
        Path | None, FileOption(help="A JSON file of what to assume (see above): time, load, models, quotas.")
    ] = None
    live: Annotated[bool, Option("--live", help="Use current breakers, latencies, memory and quotas.")] = (
        False
    )
    state: StatePath = None
    at: Annotated[str | None, Option(metavar="TIME", help="Decide as of this time (ISO 8601).")] = None
    map: Map = None
    arm: Annotated[
        Literal["control", "candidate"] | None,
        Option(help="Show this arm of the rollout instead of the one that is picked."),
    ] = None
    explain: Annotated[bool, Option("--explain", help="Say why, and what would have led elsewhere.")] = False
    lenient: Annotated[
        bool, Option("--lenient", help="Ignore features that the policy does not declare.")
    ] = False
    format: Annotated[
        Literal["tree", "table", "json", "jsonl", "csv", "markdown"] | None,
        Option(help="The form of the output.  [default: tree; table for --tasks, --fields and --short]"),
    ] = None
    fields: Annotated[
        str | None,
        Option(
            metavar="NAMES",
            help="Write these fields of decisions alone: names with commas between, such as target,policy.digest.",
        ),
    ] = None
    short: Annotated[
        bool, Option("--short", help="Write where a task goes and why, and not the whole record.")
    ] = False
    seed: Seed = None
    root: Root = None


@dataclass(frozen=True)
class RunFlags:
    """How a task is executed and stored."""

    map: Map = None
    simulate: Annotated[
        bool,
        Option(
            "--simulate",
            help="Call no model: decide and store as usual, and answer with stand-in text. Uses no quota and opens "
            "no breaker, unless --state names a file for them.",
        ),
    ] = False
    fail: Annotated[
        list[str] | None,
        Option(
            metavar="MODEL=CLASS",
            help="Let the next call of a simulated model fail, of any with --simulate. Repeatable.",
        ),
    ] = None
    unenforced: Annotated[
        bool,
        Option("--unenforced", help="Run although the plan asks for something that is not supported yet."),
    ] = False
    ledger: LedgerPath = None
    no_ledger: Annotated[bool, Option("--no-ledger", help="Store nothing.")] = False
    state: StatePath = None
    seed: Seed = None
    root: Root = None
    quiet: Annotated[bool, Option("--quiet", "-q", help="Do not print the summary line.")] = False
    verbose: Annotated[
        bool, Option("--verbose", "-v", help="Print each attempt and step, and where the run is stored.")
    ] = False
    format: Annotated[
        Literal["text", "json"],
        Option(help="The form of the output: the answer alone, or with all that is known of the run."),
    ] = "text"


@dataclass(frozen=True)
class ModelsFlags:
    """Which models are shown."""

    policy: PolicyOrDefault = None
    capability: Annotated[
        str | None, Option("--capability", "-c", metavar="NAME", help="Only models that have it.")
    ] = None
    offline: Annotated[bool, Option("--offline", help="Do not ask the backends which models they have.")] = (
        False
    )
    preload: Annotated[
        bool, Option("--preload", help="First have servers load the models that the catalog preloads.")
    ] = False
    state: StatePath = None
    root: Root = None
    format: TableFormat = "table"


@dataclass(frozen=True)
class HealthFlags:
    """Whose health is shown, and which breakers are closed before."""

    policy: PolicyOrDefault = None
    map: Map = None
    state: StatePath = None
    timeout: Annotated[float, Option(metavar="SECONDS", min=0.1, help="How long to wait for a backend.")] = (
        5.0
    )
    close_breaker: Annotated[
        list[str] | None,
        Option(
            metavar="MODEL",
            help="Call this model again from now on: the cause of its failures is mended. Repeatable.",
        ),
    ] = None
    root: Root = None
    format: TableFormat = "table"


@dataclass(frozen=True)
class QuotaFlags:
    """Whose quotas are shown."""

    policy: PolicyOrDefault = None
    state: StatePath = None
    root: Root = None
    format: TableFormat = "table"


@dataclass(frozen=True)
class RolloutFlags:
    """Whose canary is shown, and whether it is begun anew."""

    policy: PolicyOrDefault = None
    reset: Annotated[
        bool,
        Option(
            "--reset",
            help="Begin the canary anew: it executes its share of the tasks, and only decisions from now on count.",
        ),
    ] = False
    ledger: LedgerPath = None
    state: StatePath = None
    root: Root = None
    format: TextFormat = "text"


@dataclass(frozen=True)
class StatementFlags:
    """Where a statement and its values are."""

    file: Annotated[
        Path | None,
        FileOption("--file", "-f", help="Read the statement from this file; - is standard input."),
    ] = None
    param: Annotated[
        list[str] | None,
        Option(
            metavar="NAME=TEXT",
            help="A value for $NAME in the statement; NAME:=JSON is a number, true, false, null or a list. Repeatable.",
        ),
    ] = None


@dataclass(frozen=True)
class LimitFlags:
    """Which ledger is asked, and what a statement may take."""

    ledger: LedgerPath = None
    timezone: Timezone = "UTC"
    timeout: Annotated[float, Option(metavar="SECONDS", min=0.001, help="Stop after this many seconds.")] = (
        60.0
    )
    max_memory: Annotated[
        int, Option(metavar="MB", min=50, help="Stop when it needs more memory than this.")
    ] = 2_000
    max_disk: Annotated[
        int,
        Option(
            metavar="MB", min=0, help="Stop when what does not fit into memory needs more disk than this."
        ),
    ] = 10_000


@dataclass(frozen=True)
class AskFlags(LimitFlags):
    """What is asked, what that may take, and how the rows are written."""

    format: Annotated[Literal["table", "csv", "json", "jsonl"], _format] = "table"
    max_rows: Annotated[int, Option(metavar="N", min=1, help="Stop after this many rows.")] = 10_000


@dataclass(frozen=True)
class OutputFlags(LimitFlags):
    """The file that rows are written into instead of standard output."""

    output: Annotated[
        Path | None,
        FileOption("--output", "-o", help="Write to this file, which appears whole or not at all."),
    ] = None
    force: Annotated[bool, Option("--force", help="Replace a file that is there already.")] = False


@dataclass(frozen=True)
class SqlFlags(OutputFlags):
    """What a statement may take, and where its rows are written in which form."""

    format: Annotated[
        Literal["table", "csv", "json", "jsonl", "parquet", "arrow"] | None,
        Option(help="The form of the output.  [default: what the file's name says, else table]"),
    ] = None
    max_rows: Annotated[
        int | None,
        Option(metavar="N", min=1, help="Stop after this many rows.  [default: 10000; all in a file]"),
    ] = None


@dataclass(frozen=True)
class TailFlags:
    """Which decisions are shown."""

    model: Annotated[
        str | None, Option(metavar="MODEL", help="Only decisions whose target it was, or that called it.")
    ] = None
    policy: Annotated[str | None, Option(metavar="NAME", help="Only decisions of this policy.")] = None
    team: Annotated[str | None, Option(metavar="TEAM", help="Only work of this team.")] = None
    status: Annotated[
        str | None,
        Option(metavar="STATUS", help="Only what came out so: ok, failed, lost, cached, no_target, ..."),
    ] = None
    rule: Annotated[str | None, Option(metavar="RULE", help="Only decisions of this rule.")] = None
    since: Annotated[
        str | None,
        Option(metavar="TIME", help="Only decisions from then on: 24h, today, 2026-01-31 (UTC)."),
    ] = None
    simulated: Annotated[
        bool, Option("--simulated", help="Only simulated runs, which are shown beside real ones.")
    ] = False


@dataclass(frozen=True)
class QuestionFlags:
    """Where questions are looked for, and which decisions they are about."""

    policy: Annotated[
        Path | None,
        FileOption(
            help="Look for your own questions in the folder `questions` beside it.  [default: $ROUTEWRIGHT_POLICY, "
            "else the working directory]"
        ),
    ] = None
    simulated: Simulated = False


@dataclass(frozen=True)
class ReplayFlags(LimitFlags):
    """Which decisions are replayed, and how the report is written."""

    root: Root = None
    since: Annotated[str | None, Option(metavar="TIME", help="From when on: 7d, 24h, 2026-01-31.")] = None
    until: Annotated[str | None, Option(metavar="TIME", help="Before when: today, 2026-02-01.")] = None
    where: Annotated[
        str | None,
        Option(
            metavar="SQL", help="Only decisions of which this is true, in the columns of `decisions_flat`."
        ),
    ] = None
    sample: Annotated[
        str, Option(metavar="SHARE", help="Only this share of them, such as 5%: the same ones each time.")
    ] = "100%"
    simulated: Annotated[
        bool, Option("--simulated", help="Replay simulated decisions, instead of real ones.")
    ] = False
    imported: Annotated[
        str | None,
        Option(
            "--import",
            metavar="NAME",
            help="Replay the requests of this import instead of one's own: what another router has logged.",
        ),
    ] = None
    again: Annotated[
        bool, Option("--self", help="Compare every decision with what its own policy makes of it now.")
    ] = False
    assume: Annotated[
        list[str] | None,
        Option(
            metavar="WHAT",
            help="Replay as if this had been so: glm-4.5=down, price:kimi-k2-cloud*2, quota:max_daily_requests/2. "
            "Repeatable: all hold together. Without a candidate each decision is made again by its own policy.",
        ),
    ] = None
    each: Annotated[bool, Option("--each", help="Count also what comes of each assumption by itself.")] = (
        False
    )
    format: Annotated[
        Literal["text", "json", "markdown", "html"] | None,
        Option(help="The form of the report.  [default: what the file's name says, else text]"),
    ] = None
    output: Annotated[
        list[Path] | None,
        FileOption(
            "--output",
            "-o",
            help="Write the report to this file, which appears whole or not at all. Repeatable: a comment and a page.",
        ),
    ] = None
    force: Annotated[bool, Option("--force", help="Replace a file that is there already.")] = False
    fail_on: Annotated[
        list[str] | None,
        Option(
            metavar="BOUND",
            help="Exit with status 1 if this holds of the report, such as changed>5% or no_target>0. Repeatable.",
        ),
    ] = None
    examples: Annotated[int, Option(metavar="N", min=0, help="Examples of each change.")] = 2
    consequences: Annotated[
        bool,
        Option(
            "--consequences/--no-consequences",
            help="Whether cost, latency, success and outcomes are estimated, which takes about as long again.",
        ),
    ] = True
    timeout: Annotated[float, Option(metavar="SECONDS", help="Stop after this time.")] = 3600.0


@dataclass(frozen=True)
class ExportFlags(OutputFlags):
    """Which views are written where, and of which time."""

    output: Annotated[
        Path | None,
        FileOption(
            "--output", "-o", help="A file for one view, a folder for several, or - for standard output."
        ),
    ] = None
    format: Annotated[
        Literal["csv", "json", "jsonl", "parquet", "arrow"] | None,
        Option(help="The form of the files.  [default: what the file's name says, else parquet]"),
    ] = None
    view: Annotated[
        list[str] | None,
        Option(
            metavar="NAME", help="A table or view. Repeatable.  [default: decision_records and attempt_rows]"
        ),
    ] = None
    log: Annotated[
        bool,
        Option(
            "--log", help="Write the ledger's log instead, and what its leaves are made of, as JSON lines."
        ),
    ] = False
    since: Annotated[
        str | None, Option(metavar="TIME", help="Decided at this time or later: 7d, yesterday, 2026-01-31.")
    ] = None
    until: Annotated[str | None, Option(metavar="TIME", help="Decided before this time.")] = None
    timeout: Annotated[
        float, Option(metavar="SECONDS", min=0.001, help="Stop a view after this many seconds.")
    ] = 3_600.0


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` for typer: a parameter whose type is a dataclass of options is replaced by these options."""
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation):
            groups[parameter.name] = group = parameter.annotation
            parameters += inspect.signature(group, eval_str=True).parameters.values()
        else:
            parameters.append(parameter)

    def called(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{one.name: values.pop(one.name) for one in fields(group)})
        command(**values)

    called.__name__, called.__doc__ = command.__name__, command.__doc__
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    return called
