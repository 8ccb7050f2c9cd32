"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

# Whether a file can be read is told by whoever reads it, with the exit code that it has there.
PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", readable=False, help="The policy file.")]

PolicyOrDefault = Annotated[
    Path | None,
    typer.Argument(
        metavar="POLICY",
        readable=False,
        help="The policy file.  [default: $ROUTEWRIGHT_POLICY, else the shipped one]",
    ),
]

Root = Annotated[
    Path | None,
    typer.Option(
        "--root",
        metavar="DIR",
        help="The folder that the files a policy names must be in.  [default: $ROUTEWRIGHT_ROOT, else the nearest "
        "folder above the policy that holds .git, else its own]",
    ),
]

Features = Annotated[
    list[str] | None,
    typer.Option("--feature", "-f", metavar="NAME=VALUE", help="A feature of the task. Repeatable."),
]

Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="MODEL=BACKEND:TAG",
        help="Use another model in place of this one, or of all that chat (*). Repeatable.",
    ),
]

Seed = Annotated[
    int | None, typer.Option("--seed", metavar="N", help="Derive ids and random draws from this number.")
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

StatePath = Annotated[
    Path | None,
    typer.Option(
        "--state",
        metavar="FILE",
        readable=False,
        help="Where breakers, quotas and latencies are kept.  [default: state.sqlite in your data directory]",
    ),
]

TableFormat = Annotated[Literal["table", "json"], typer.Option("--format", help="The form of the output.")]

TextFormat = Annotated[Literal["text", "json"], typer.Option("--format", help="The form of the output.")]


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

    called.__doc__ = command.__doc__
    called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    return called
