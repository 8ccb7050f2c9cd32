"""``routewright models``: the models of a catalog, and which of them are here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .exit_codes import ExitCode
from .options import PolicyOrDefault, Root, TableFormat
from .writer import writer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from routewright.engine.policy import CompiledCatalog, CompiledModel
    from routewright.gateway import Presence


def models(
    policy: PolicyOrDefault = None,
    capability: Annotated[
        str | None, typer.Option("--capability", "-c", metavar="NAME", help="Only models that have it.")
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Do not ask the backends which models they have.")
    ] = False,
    root: Root = None,
    format: TableFormat = "table",
) -> None:
    """List the models of a policy, and which of them are here.

    Backends are asked which models they have, and no model is loaded. A catalog can be named too; its backends are not
    asked. What is missing is named below, with the commands that fetch it.

    Exits with status 1 if no enabled model has the capability.

    \b
    Example:
      routewright models policies/hybrid.yaml --capability mixture_of_experts
    """
    from routewright.engine.report import suggest

    from .shown_policy import shown_policy

    shown = shown_policy(policy)
    catalog, known = _catalog(shown.path, root, offline)
    found = [model for model in catalog.models if capability is None or capability in model.capabilities]
    if found or format == "json":
        shown.announce(json=format == "json")
        _print(found, catalog, known, format)
    if capability is not None and not any(model.disabled is None for model in found):
        names = {name for model in catalog.models for name in model.capabilities}
        writer.note(f"no model has the capability `{capability}`")
        writer.note(f"  = help: {suggest(capability, names, label='in the catalog')}")
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _print(
    found: Sequence[CompiledModel],
    catalog: CompiledCatalog,
    known: Mapping[str, Presence],
    format: Literal["table", "json"],
) -> None:
    import json

    from .shown_policy import presence_lines

    if format == "json":
        writer.json(json.dumps([_values(model, known) for model in found], indent=2) + "\n")
        return
    header = ["model", "backend", "location", "operations", "context", "capabilities", "state"]
    writer.table(header, [_row(model, known) for model in found])
    there = {model.id: known[model.id] for model in found if model.id in known}
    if lines := list(presence_lines(there, catalog)):
        writer.lines("\n".join(["", *lines]))


def _catalog(path: Path, root: Path | None, offline: bool) -> tuple[CompiledCatalog, Mapping[str, Presence]]:
    """The catalog, and which of its models are here where that was asked."""
    import asyncio

    from routewright.gateway import ModelGateway, listed_models, model_presence, open_backends
    from routewright.loading import file_kind, load_catalog, load_policy

    if file_kind(path) == "catalog":
        return load_catalog(path), {}
    policy = load_policy(path, root=root)
    if offline:
        return policy.catalog, {}
    backends = open_backends(policy)

    async def ask() -> Mapping[str, Presence]:
        async with ModelGateway(policy, backends=backends):  # closes them
            return model_presence(policy, await listed_models(backends))

    return policy.catalog, asyncio.run(ask())


def _row(model: CompiledModel, there: Mapping[str, Presence]) -> list[str]:
    state = there[model.id].state if model.id in there else "not asked"
    return [
        model.id,
        model.backend,
        model.location or "unknown",
        ", ".join(sorted(model.operations)) or "none",
        "unknown" if model.context_length is None else str(model.context_length),
        ", ".join(sorted(model.capabilities)),
        state if model.disabled is None else f"disabled: {model.disabled}",
    ]


def _values(model: CompiledModel, there: Mapping[str, Presence]) -> dict[str, object]:
    facts = {name.removeprefix("model."): value for name, value in model.facts.items()}
    # Null means unknown; a fact that the catalog leaves out is omitted.
    return {
        **facts,
        "location": model.location,
        "capabilities": sorted(model.capabilities),
        "disabled": model.disabled,
        "presence": there[model.id].state if model.id in there else None,
    }
