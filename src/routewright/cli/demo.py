"""``routewright demo``: the whole job on the shipped policy and sample tasks."""

from __future__ import annotations

from typing import Annotated

import typer

from .options import LedgerPath


def demo(
    ledger: LedgerPath = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="Call no model.")] = False,
) -> None:
    """Run the whole job on the shipped policy.

    Ten tasks are decided, one decision is explained, all tasks are executed and stored, and the ledger is asked. It
    needs neither a model server nor a network: a small embedded model stands in for the chat models that this machine
    lacks, and what nothing here can do is named at the end. If an Ollama server answers at $OLLAMA_HOST or its default
    port, its models are used. Without --ledger, the runs are kept in demo.duckdb in your data directory, apart from
    your own ledger.

    \b
    Example:
      routewright demo
    """
    from .demonstration import demonstrate

    demonstrate(ledger, simulate=simulate)
