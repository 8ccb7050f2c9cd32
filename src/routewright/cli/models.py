"""Shows the models of a catalog, and which of them are here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import typer

from routewright.engine.policy import CompiledCatalog, CompiledModel
from routewright.engine.report import suggest
from routewright.gateway import ModelGateway, Presence, listed_models, model_presence, open_backends
from routewright.loading import file_kind, load_catalog, load_policy

from .decisions import few
from .exit_codes import ExitCode
from .opened import shown_policy
from .options import ModelsFlags
from .writer import writer


def show_models(how: ModelsFlags) -> None:
    """Print the models that have a capability, or all. Raises typer.Exit if no enabled model has it."""
    shown = shown_policy(how.policy)
    catalog, known = _catalog(shown.path, how.root, how.offline)
    found = [
        model for model in catalog.models if how.capability is None or how.capability in model.capabilities
    ]
    if found or how.format == "json":
        shown.announce(json=how.format == "json")
    if how.format == "json":
        writer.json_value([_values(model, known) for model in found])
    elif found:
        header = ["model", "backend", "location", "operations", "context", "capabilities", "state"]
        writer.table(header, [_row(model, known) for model in found])
        there = {model.id: known[model.id] for model in found if model.id in known}
        if lines := list(presence_lines(there, catalog)):
            writer.lines("\n".join(["", *lines]))
    if how.capability is not None and not any(model.disabled is None for model in found):
        names = {name for model in catalog.models for name in model.capabilities}
        writer.note(f"no model has the capability `{how.capability}`")
        writer.note(f"  = help: {suggest(how.capability, names, label='in the catalog')}")
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _catalog(path: Path, root: Path | None, offline: bool) -> tuple[CompiledCatalog, Mapping[str, Presence]]:
    """The catalog, and which of its models are here where that was asked."""
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


def presence_lines(found: Mapping[str, Presence], catalog: CompiledCatalog) -> Iterator[str]:
    """What is not here, said once for each backend, with the commands that fetch it."""
    backend_of = {model.id: model.backend for model in catalog.models}
    missing: dict[str, list[str]] = {}
    unasked: dict[str, list[str]] = {}
    for id, one in found.items():
        if one.state == "missing":
            missing.setdefault(backend_of[id], []).append(id if one.get is None else f"{one.get}  # {id}")
        elif one.state == "not known":
            unasked.setdefault(f"{backend_of[id]}: not known ({one.why})", []).append(id)
    for backend, lines in missing.items():
        yield f"{backend}: missing"
        yield from (f"  {line}" for line in lines)
    for reason, ids in unasked.items():
        yield f"{reason}: {few(ids)}"
