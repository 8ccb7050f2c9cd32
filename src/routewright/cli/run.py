"""``routewright run``: decide, execute and store."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import RunFlags, TaskFlags
from .options import PolicyPath, with_flags


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

    Exits with status 4 if no model is eligible or limits allow no call, 5 if every model of the plan failed, and 6 if
    the ledger refused the run; the answer is printed all the same.

    \b
    Example:
      routewright run policies/hybrid.yaml "Design a payment platform" -f complex_reasoning=true
      cat report.txt | routewright run policies/hybrid.yaml "Summarise" --map "*=llamacpp:smollm2"
      routewright run policies/hybrid.yaml "Name three colours" --system "Be brief." --simulate
    """
    from .running import run_once

    run_once(policy, prompt, flags, how)
