"""A catalog's shape in, a compiled catalog out: names resolved, locations worked out, facts typed.

All problems are noted in the report; the result is for checking policies against even where there are some.
"""

from __future__ import annotations

from typing import Any

from ..canonical import digest_of
from ..suggest import suggest
from .base import Operation
from .catalog import Catalog, Kind, Model
from .compiled import CompiledCatalog, CompiledModel
from .location import location_of
from .model_facts import facts_of, model_scope
from .names import names_of_models, own_names
from .nodes import Path
from .report import Report

__all__ = ["OFFERED", "compile_catalog"]

OFFERED: dict[Kind, frozenset[Operation]] = {
    "ollama": frozenset(("chat", "embed")),
    "mlx": frozenset(("chat",)),
    "openai": frozenset(("chat", "embed")),
    "llamacpp": frozenset(("chat", "embed")),
    "simulated": frozenset(("chat", "embed", "rerank")),
}
"""What each kind of backend offers where the catalog does not say: mlx-lm, for one, only chats."""


def compile_catalog(catalog: Catalog, report: Report, path: Path = ()) -> CompiledCatalog:
    """Return the compiled catalog whose shape stands at ``path`` of the report's document."""
    models: list[CompiledModel] = []
    for id, model in catalog.models.items():
        models.append(_compile_model(len(models), id, model, catalog, report, (*path, "models", id)))
    _check_names(catalog, report, path)
    _check_environment(report, path)
    return CompiledCatalog(
        name=catalog.name,
        digest=digest_of(_meaning(catalog, models)),
        text=report.document.text,
        source=report.document.source,
        models=tuple(models),
        backends=catalog.backends,
        names=names_of_models(catalog),
        scope=model_scope(models),
        shape=catalog,
    )


def _compile_model(
    index: int, id: str, model: Model, catalog: Catalog, report: Report, path: Path
) -> CompiledModel:
    tag = model.tag or id
    backend = catalog.backends.get(model.backend)
    if backend is None:
        if not report.lacks("backends", model.backend):
            hint = suggest(model.backend, catalog.backends)
            report.add("unknown-backend", f"unknown backend `{model.backend}`", (*path, "backend"), hint)
        backend = next(iter(catalog.backends.values()))
    if (model.active_parameters or 0) > (model.total_parameters or model.active_parameters or 0):
        message = "a model cannot have more active parameters than it has in total"
        report.add("wrong-value", message, (*path, "active_parameters"))
    offered = frozenset(backend.operations) if backend.operations is not None else OFFERED[backend.kind]
    operations = frozenset(model.operations) & offered
    location = location_of(backend, tag)
    disabled = None
    if model.disabled:
        disabled = model.disabled_reason or "the catalog disables it"
    elif backend.disabled:
        disabled = f"backend `{model.backend}`: {backend.disabled_reason or 'the catalog disables it'}"
    return CompiledModel(
        index=index,
        id=id,
        backend=model.backend,
        kind=backend.kind,
        location=location,
        tag=tag,
        operations=operations,
        capabilities=frozenset(model.capabilities),
        context_length=model.context_length,
        embedding_space=model.embedding_space,
        disabled=disabled,
        facts=facts_of(id, model, backend.kind, location, operations),
        shape=model,
    )


def _check_names(catalog: Catalog, report: Report, path: Path) -> None:
    """An alias that is another model's id or alias would be read as whichever comes first: refuse it."""
    owners: dict[str, str] = {id: id for id in catalog.models}
    for id, model in catalog.models.items():
        for number, alias in enumerate(model.aliases):
            owner = owners.setdefault(alias, id)
            if owner != id:
                message = f"`{alias}` already names the model `{owner}`"
                report.add("duplicate-name", message, (*path, "models", id, "aliases", number))


def _check_environment(report: Report, path: Path) -> None:
    """``${NAME}`` means something in ``path`` and ``api_key`` alone; elsewhere it would be taken literally."""
    todo: list[Path] = [path]
    while todo:
        here = todo.pop()
        node = report.document.node_at(here)
        if isinstance(node.value, str) and "${" in node.value and here[-1] not in ("path", "api_key"):
            help = "environment variables are resolved in `path` and `api_key` only"
            report.add("unfit-variable", f"`{node.value}` would be taken literally", here, help)
        todo.extend((*here, step) for step in node.children)


def _meaning(catalog: Catalog, models: list[CompiledModel]) -> dict[str, Any]:
    """What the digest covers: everything but descriptions, file paths and the names of secrets."""
    left_out = {"description", "path", "api_key"}
    shape = {
        "backends": {
            id: backend.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=left_out)
            for id, backend in catalog.backends.items()
        },
        "models": {
            model.id: {
                **model.shape.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=left_out),
                "location": model.location,
                "operations": sorted(model.operations),
                "names": sorted(own_names(model.id, model.shape)),
            }
            for model in models
        },
    }
    return shape
