"""Arguments and options that several commands share, each declared once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
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
        typer.Option("--session", metavar="ID", help="The conversation, for rules with `sticky: session`."),
    ] = None
    metadata: Annotated[
        list[str] | None,
        typer.Option("--metadata", metavar="NAME=TEXT", help="Metadata of the request. Repeatable."),
    ] = None
    prompt_tokens: Annotated[
        int | None,
        typer.Option("--prompt-tokens", min=0, metavar="N", help="The prompt's length, instead of counting."),
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
        typer.Option("--temperature", metavar="NUMBER", help="How freely the model may choose its words."),
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
        typer.Option("--document", metavar="TEXT", help="A document to rank. Repeatable."),
    ] = None
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME=TEXT", help="Stored with the decision. Repeatable."),
    ] = None

    def given(self) -> list[str]:
        """The flags that are given, as they are written."""
        return [spelled(one.name) for one in fields(self) if getattr(self, one.name) is not None]


def spelled(name: str) -> str:
    """The flag for a key of a written task."""
    singular = {"features": "feature", "documents": "document", "tags": "tag"}.get(name, name)
    return f"--{singular.replace('_', '-')}"


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
