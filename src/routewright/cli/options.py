"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

# Whether a file can be read is told by whoever reads it, with the exit code that it has there.
PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", readable=False, help="The policy file.")]

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="The folder that the files a policy names must be in.  [default: $ROUTEWRIGHT_ROOT, else the nearest "
        "folder above the policy that holds .git, else its own]",
    ),
]

Feature = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", metavar="NAME=VALUE", help="A feature of the task; may be repeated."),
]

Operation = Annotated[
    Literal["chat", "embed", "rerank"] | None,
    typer.Option("--operation", help="What the task asks for.  [default: chat]"),
]

Pin = Annotated[str | None, typer.Option("--pin", "--model", metavar="MODEL", help="Insist on this model.")]

PromptTokens = Annotated[
    int | None, typer.Option("--prompt-tokens", min=0, metavar="N", help="How long the prompt is.")
]

At = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="Decide as of this time (ISO 8601), not of now.")
]

Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Make ids and random draws from this number.")
]

Lenient = Annotated[
    bool, typer.Option("--lenient", help="Record features that the policy does not declare as ignored.")
]

StateFile = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FILE",
        readable=False,
        help="A JSON file of what is known (see above): time, load, models, quotas.",
    ),
]

LedgerPath = Annotated[
    Path | None,
    typer.Option(
        "--ledger",
        metavar="FILE",
        readable=False,
        help="The ledger.  [default: $ROUTEWRIGHT_LEDGER, else in your data directory]",
    ),
]

Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="MODEL=BACKEND:TAG",
        help="Let another model stand in for one, or for all that chat (*); may be repeated.",
    ),
]

StatePath = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FILE",
        readable=False,
        help="Where breakers, quotas and latencies are kept.  [default: state.sqlite in your data directory]",
    ),
]


def state_path() -> Path:
    """The state store where nobody names one: beside the default ledger."""
    from routewright.ledger import default_ledger_path

    return default_ledger_path().with_name("state.sqlite")


def state_to_look_at(named: Path | None) -> Path:
    """The state store of a command that only looks. Raises StateError for one that was named and is not there."""
    from routewright.backends.control import StateError

    if named is not None and not named.exists():
        raise StateError(
            f"there is no state store at `{named.absolute()}`", help="run a task first, or name another file"
        )
    return named or state_path()
