"""Shows the models of a catalog, and which of them are here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import typer

from routewright.engine.decision import NOTHING_KNOWN, State, Task, memory_fit
from routewright.engine.policy import CompiledCatalog, CompiledModel, CompiledPolicy
from routewright.engine.report import gigabytes, suggest
from routewright.gateway import ModelGateway, Presence, listed_models, model_presence, open_backends
from routewright.loading import file_kind, load_catalog, load_policy

from .decisions import few
from .exit_codes import ExitCode
from .opened import shown_policy, state_store
from .options import ModelsFlags
from .run import IN_PROCESS
from .writer import writer


class _Known(NamedTuple):
    """What was found out of the models of a catalog: nothing where nobody was asked."""

    catalog: CompiledCatalog
    presence: Mapping[str, Presence] = MappingProxyType({})
    state: State = State(0)


def show_models(how: ModelsFlags) -> None:
    """Print the models that have a capability, or all. Raises typer.Exit if no enabled model has it."""
    shown = shown_policy(how.policy)
    known = _known(shown.path, how)
    models = known.catalog.models
    found = [model for model in models if how.capability is None or how.capability in model.capabilities]
    if found or how.format == "json":
        shown.announce(json=how.format == "json")
    if how.format == "json":
        writer.json_value([_values(model, known) for model in found])
    elif found:
        _print(found, known)
    if how.capability is not None and not any(model.disabled is None for model in found):
        names = {name for model in models for name in model.capabilities}
        writer.note(f"no model has the capability `{how.capability}`")
        writer.note(f"  = help: {suggest(how.capability, names, label='in the catalog')}")
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _known(path: Path, how: ModelsFlags) -> _Known:
    """The catalog, and what its backends say where they are asked."""
    if file_kind(path) == "catalog":
        return _Known(load_catalog(path))
    policy = load_policy(path, root=how.root)
    if how.offline:
        return _Known(policy.catalog)
    backends, store = open_backends(policy), state_store(how.state, must_exist=True)

    async def ask() -> _Known:
        async with ModelGateway(policy, backends=backends, store=store) as gateway:  # closes them
            if how.preload:
                await _preload(gateway, policy)
            listed, _ = await asyncio.gather(listed_models(backends), gateway.admin.ask_memory())
            return _Known(policy.catalog, model_presence(policy, listed), gateway.state(Task()))

    return asyncio.run(ask())


async def _preload(gateway: ModelGateway, policy: CompiledPolicy) -> None:
    """Have servers load what the catalog preloads; what this program would load itself is gone when it ends."""
    servers = [id for id, backend in policy.catalog.backends.items() if backend.kind not in IN_PROCESS]
    own = [
        model.id for model in policy.catalog.models if model.shape.preload and model.backend not in servers
    ]
    writer.remark("preloading: this may take some minutes")
    for one in await gateway.admin.preload(servers):
        writer.note(str(one))
    if own:
        writer.note(f"loaded by the programs that use them: {few(own)}")


def _print(found: Sequence[CompiledModel], known: _Known) -> None:
    header = ["model", "backend", "location", "operations", "context", "capabilities", "state"]
    rows = [_row(model, known) for model in found]
    for name, cell in (("memory", _memory), ("loading", _loading)):
        cells = [cell(model, known.state) for model in found]
        if any(cells):
            header.append(name)
            rows = [[*row, one] for row, one in zip(rows, cells, strict=True)]
    writer.table(header, rows)
    there = {model.id: known.presence[model.id] for model in found if model.id in known.presence}
    if lines := list(presence_lines(there, known.catalog)):
        writer.lines("\n".join(["", *lines]))


def _row(model: CompiledModel, known: _Known) -> list[str]:
    state = known.presence[model.id].state if model.id in known.presence else "not asked"
    return [
        model.id,
        model.backend,
        model.location or "unknown",
        ", ".join(sorted(model.operations)) or "none",
        "unknown" if model.context_length is None else str(model.context_length),
        ", ".join(sorted(model.capabilities)),
        state if model.disabled is None else f"disabled: {model.disabled}",
    ]


def _memory(model: CompiledModel, state: State) -> str:
    """Whether a model is in memory, or fits; empty where nobody says."""
    fit, known = memory_fit(model, state), state.models.get(model.id, NOTHING_KNOWN)
    match fit.how:
        case "loaded":
            return "loaded"
        case "free":
            return "fits"
        case "unloads":
            return f"fits, unloads {few(fit.unloads)}"
        case "never":
            return f"never fits: {gigabytes(fit.needed_bytes or 0)} of {gigabytes(fit.limit_bytes or 0)}"
        case None:
            return "not loaded" if known.loaded is False else ""


def _loading(model: CompiledModel, state: State) -> str:
    load_ms = state.models.get(model.id, NOTHING_KNOWN).load_ms
    return "" if load_ms is None else f"{load_ms / 1000:.1f} s"


def _values(model: CompiledModel, known: _Known) -> dict[str, object]:
    facts = {name.removeprefix("model."): value for name, value in model.facts.items()}
    now, fit = known.state.models.get(model.id, NOTHING_KNOWN), memory_fit(model, known.state)
    # Null means unknown; a fact that the catalog leaves out is omitted.
    return {
        **facts,
        "location": model.location,
        "capabilities": sorted(model.capabilities),
        "disabled": model.disabled,
        "presence": known.presence[model.id].state if model.id in known.presence else None,
        "loaded": now.loaded,
        "load_ms": now.load_ms,
        "fits": None if fit.how is None else fit.how != "never",
        "unloads": None if fit.how in (None, "never") else list(fit.unloads),
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
