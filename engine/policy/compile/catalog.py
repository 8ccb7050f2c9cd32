"""Compiles a catalog: resolves names, works out locations, gives facts their types.

All problems are noted in the report; the result is for checking policies against even where there are some.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

from ...report import PolicyError, closest, limit_problems, sort_problems
from ..compiled import CompiledCatalog, CompiledModel, ModelIndex
from ..digest import digest_of_catalog
from ..locality import server_of, stays_problem
from ..reading import Source
from ..shapes import Backend, Catalog, Encoding, Kind, Model, Operation, encoding_for
from ..source import Path
from .model_facts import facts_of, model_scope
from .names import names_of_models
from .report import Report
from .variables import check_variables

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
    _check_stays(catalog, report, path)
    compiled = CompiledCatalog(
        name=catalog.name,
        digest="",
        text=report.document.text,
        source=report.document.source,
        models=tuple(models),
        backends=catalog.backends,
        names=names_of_models(catalog),
        tokenizers={operation: _commonest(models, operation) for operation in get_args(Operation)},
        scope=model_scope(models),
        shape=catalog,
    )
    return replace(compiled, digest=digest_of_catalog(compiled))


def _commonest(models: Sequence[CompiledModel], operation: Operation) -> Encoding | None:
    """The tokenizer of most enabled models that offer ``operation``; of several, the first by name."""
    found = Counter(
        model.tokenizer
        for model in models
        if model.tokenizer is not None and model.disabled is None and operation in model.operations
    )
    return min(found, key=lambda name: (-found[name], name), default=None)


def compile_catalog_file(catalog: Source[Catalog]) -> CompiledCatalog:
    """Return the compiled catalog of a file by itself. Raises PolicyError with all its problems."""
    report = Report(catalog.document, catalog.problems)
    compiled = compile_catalog(catalog.shape, report)
    check_variables(report)
    if report.problems:
        raise PolicyError(sort_problems(limit_problems(report.problems)))
    return compiled


def are_models_known(report: Report, path: Path) -> bool:
    """Whether what the catalog at ``path`` says of its models could be read whole, and is not in doubt."""
    models = report.document.node_at((*path, "models"))
    whole = not report.incomplete((*path, "models")) and not report.lost((*path, "backends"))
    if not whole or not report.has((*path, "models")):
        return False
    keys = [field.alias or name for name, field in Model.model_fields.items()]
    for model in models.children.values():
        if any(part.lost for part in model.children.values()):
            return False
        if any(closest(str(key), keys) for key in model.lost):
            return False
    below = [problem.path[len(path) :] for problem in report.problems if problem.code == "duplicate-name"]
    return not any(place[:1] == ("models",) for place in below)


def _compile_model(
    index: int, id: str, model: Model, catalog: Catalog, report: Report, path: Path
) -> CompiledModel:
    tag = model.tag or id
    backend = catalog.backends.get(model.backend)
    if backend is None:
        above = path[:-2]
        lost = report.lost((*above, "backends", model.backend), misspelt=False)
        if not lost and not report.lost((*above, "backends")):
            report.unknown("backend", model.backend, catalog.backends, (*path, "backend"))
        backend = next(iter(catalog.backends.values()))
    if (model.active_parameters or 0) > (model.total_parameters or model.active_parameters or 0):
        message = "a model cannot have more active parameters than it has in total"
        report.add("wrong-value", message, (*path, "active_parameters"))
    operations = frozenset(model.operations) & _offered(backend)
    location = server_of(backend).place(tag).location
    disabled = None
    if model.disabled:
        disabled = model.disabled_reason or "the catalog disables it"
    elif backend.disabled:
        disabled = f"backend `{model.backend}`: {backend.disabled_reason or 'the catalog disables it'}"
    return CompiledModel(
        index=ModelIndex(index),
        id=id,
        backend=model.backend,
        kind=backend.kind,
        location=location,
        tag=tag,
        operations=operations,
        capabilities=frozenset(model.capabilities),
        context_length=model.context_length,
        embedding_space=model.embedding_space,
        tokenizer=model.tokenizer or _tokenizer_of(id, model),
        disabled=disabled,
        facts=facts_of(id, model, backend.kind, location, operations),
        shape=model,
    )


def _tokenizer_of(id: str, model: Model) -> Encoding | None:
    """The tokenizer that a model's names tell; the id of one that is stood in for tells of the other."""
    names = (model.tag, model.source, id if model.stands_in_for is None else None)
    return encoding_for(*(name for name in names if name is not None))


def _offered(backend: Backend) -> frozenset[Operation]:
    return OFFERED[backend.kind] if backend.operations is None else frozenset(backend.operations)


def _check_names(catalog: Catalog, report: Report, path: Path) -> None:
    """An alias that is another model's id, alias or ``backend:tag`` would be read as one of them in silence."""
    owners: dict[str, str] = {id: id for id in catalog.models}
    for id, model in catalog.models.items():
        owners.setdefault(f"{model.backend}:{model.tag or id}", id)
    for id, model in catalog.models.items():
        for number, alias in enumerate(model.aliases):
            owner = owners.setdefault(alias, id)
            if owner != id:
                message = f"`{alias}` already names the model `{owner}`"
                report.add("duplicate-name", message, (*path, "models", id, "aliases", number))


def _check_stays(catalog: Catalog, report: Report, path: Path) -> None:
    for id, backend in catalog.backends.items():
        where = (*path, "backends", id)
        problem = stays_problem(backend)
        # The backend could not be read completely; that is reported, and may be the cause of this problem.
        if problem is not None and not any(
            report.lost((*where, key)) for key in ("kind", "host", "location")
        ):
            report.add("wrong-value", problem[0], (*where, "stays"), problem[1])
