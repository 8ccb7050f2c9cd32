"""``routewright demo``: the whole job on the shipped policy and sample tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    ledger: Annotated[
        Path | None,
        typer.Option(
            "--ledger",
            metavar="FILE",
            readable=False,
            help="Where the runs are stored.  [default: demo.duckdb in your data directory]",
        ),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Call no model.")] = False,
) -> None:
    """Run the whole job on the shipped policy.

    Ten tasks are decided, one decision is explained, all tasks are executed and stored, and the ledger is asked. It
    needs neither a model server nor a network: a small embedded model stands in for the chat models that this machine
    lacks, and what nothing here can do is named at the end. If an Ollama server answers at $OLLAMA_HOST or its default
    port, its models are used. Your own ledger is not touched.

    \b
    Example:
      routewright demo
    """
    from .demonstration import demonstrate

    demonstrate(ledger, simulate=simulate)
