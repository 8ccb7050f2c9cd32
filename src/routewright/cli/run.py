"""``routewright run``: decide, execute and store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from .options import LedgerPath, Map, PolicyPath, Root, Seed, StatePath, TaskFlags, with_flags


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


@with_flags
def run(
    policy: PolicyPath,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What to ask; - reads it from standard input.")
    ],
    flags: TaskFlags,
    how: RunFlags,
) -> None:
    """Decide, execute and store one prompt.

    The answer is written as it arrives. Text that is piped in is put before the prompt. A last line on standard
    error names the model that answered, why, the time, tokens and cost, and what failed before.

    Exits with status 4 if no model is eligible, 5 if every model of the plan failed, and 6 if the ledger refused
    the run; the answer is printed all the same.

    \b
    Example:
      routewright run policies/hybrid.yaml "Design a payment platform" -f complex_reasoning=true
      cat report.txt | routewright run policies/hybrid.yaml "Summarise" --map "*=llamacpp:smollm2"
      routewright run policies/hybrid.yaml "What is wrong here?" --image screen.png --simulate
    """
    from .running import run_once

    run_once(policy, prompt, flags, how)
