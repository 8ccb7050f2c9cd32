"""``routewright decide``: a dry run. Nothing is executed, nothing is stored."""

from __future__ import annotations

from typing import Annotated

import typer

from .flags import DecideFlags, TaskFlags
from .options import PolicyPath, with_flags


@with_flags
def decide(
    policy: PolicyPath,
    flags: TaskFlags,
    how: DecideFlags,
    prompt: Annotated[
        str | None,
        typer.Argument(metavar="PROMPT", help="What would be asked, so that its length is known."),
    ] = None,
) -> None:
    """Show where tasks would go, and why; execute and store nothing.

    One task comes from the options that `run` takes too, or from --task. Many come from --tasks: one JSON object a
    line, with the keys name, prompt, system, documents, features, operation, pin, session, metadata, prompt_tokens,
    max_output_tokens, temperature, messages, images, tools, json_schema, tags and draw. With the same --at and
    --seed the output is the same, byte for byte.

    Under a rollout the arm is picked as for a real task; under a shadow both decisions are shown, in JSON as a list.
    Exits with status 4 if the one task has no eligible target, and with 2 if a line of --tasks cannot be decided; the
    other lines are decided all the same.

    --assume names a JSON object; every key may be left out: `at`, a time; `load` of this machine, 0 to 1; `models`,
    by name, each with `health` (healthy, unhealthy), `breaker` (closed, open, half_open) and `latency_ms`;
    `quota_used`, by control: a number of requests, tokens or calls, or money such as "12.5 USD"; `session_model`, the
    model that last answered the session.

    \b
    Example:
      routewright decide policies/hybrid.yaml -f complex_reasoning=true --explain
      echo '{"models": {"glm-4.5": {"breaker": "open"}}}' > assumed.json
      routewright decide policies/hybrid.yaml "Design a payment platform" --assume assumed.json
    """
    from .deciding import decide_and_print

    decide_and_print(policy, prompt, flags, how)
