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
from ..labels import joined
from ..reading.read import Source
from ..shapes import kinds
from ..shapes.base import Operation
from ..shapes.catalog import Catalog, Model
from ..shapes.kinds import Backend
from ..shapes.tokenizers import Encoding, encoding_for
from .model_facts import facts_of, model_scope
from .names import names_of_models
from .report import Report
from .variables import check_variables


def compile_catalog(catalog: Catalog, report: Report) -> CompiledCatalog:
    """Return the compiled catalog whose shape the report is on."""
    models = [
        _compile_model(index, id, model, catalog, report)
        for index, (id, model) in enumerate(catalog.models.items())
    ]
    _check_names(catalog, report)
    _check_backends(catalog, report)
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


def are_models_known(report: Report) -> bool:
    """Whether what the catalog says of its models could be read whole, and is not in doubt."""
    models = report.at("models")
    if models.incomplete or report.lost("backends") or models.node is None:
        return False
    keys = [field.alias or name for name, field in Model.model_fields.items()]
    for model in models.node.children.values():
        if any(part.lost for part in model.children.values()):
            return False
        if any(closest(str(key), keys) for key in model.lost):
            return False
    twice = [problem.path for problem in report.problems if problem.code == "duplicate-name"]
    return not any(path[: len(models.path)] == models.path for path in twice)


def _compile_model(index: int, id: str, model: Model, catalog: Catalog, report: Report) -> CompiledModel:
    tag, here = model.tag or id, report.at("models", id)
    backend = _backend(model, tag, catalog, report, here)
    if (model.active_parameters or 0) > (model.total_parameters or model.active_parameters or 0):
        message = "a model cannot have more active parameters than it has in total"
        here.at("active_parameters").add("wrong-value", message)
    operations = _operations(model, backend, report, here)
    location = backend.server.place(tag).location
    if model.preload and location == "cloud":
        message = f"`{tag}` does not run on this machine, so nothing can be loaded"
        here.at("preload").add("wrong-value", message, "leave `preload` out")
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
        disabled=_why_disabled(model, backend),
        facts=facts_of(id, model, backend.kind, location, operations),
        shape=model,
    )


def _backend(model: Model, tag: str, catalog: Catalog, report: Report, here: Report) -> Backend:
    """The backend of a model, which is checked against it; any other if there is none of its name."""
    backend = catalog.backends.get(model.backend)
    if backend is not None:
        _check_keys(model, tag, backend, here)
        return backend
    if not report.has_lost("backends", model.backend):
        here.at("backend").unknown("backend", model.backend, catalog.backends)
    return next(iter(catalog.backends.values()))


def _operations(model: Model, backend: Backend, report: Report, here: Report) -> frozenset[Operation]:
    """What the model and its backend both offer; all there is if that could not be read, as none is then missing."""
    if any(place.at("operations").incomplete for place in (here, report.at("backends", model.backend))):
        return frozenset(get_args(Operation))
    return frozenset(model.operations) & frozenset(backend.operations or backend.offers)


def _why_disabled(model: Model, backend: Backend) -> str | None:
    if model.disabled:
        return model.disabled_reason or "the catalog disables it"
    if backend.disabled:
        return f"backend `{model.backend}`: {backend.disabled_reason or 'the catalog disables it'}"
    return None


def _tokenizer_of(id: str, model: Model) -> Encoding | None:
    """The tokenizer that a model's names tell; the id of one that is stood in for tells of the other."""
    names = (model.tag, model.source, id if model.stands_in_for is None else None)
    return encoding_for(*(name for name in names if name is not None))


def _check_names(catalog: Catalog, report: Report) -> None:
    """An alias that is another model's id, alias or ``backend:tag`` would be read as one of them in silence."""
    owners: dict[str, str] = {id: id for id in catalog.models}
    for id, model in catalog.models.items():
        owners.setdefault(f"{model.backend}:{model.tag or id}", id)
    for id, model in catalog.models.items():
        for number, alias in enumerate(model.aliases):
            owner = owners.setdefault(alias, id)
            if owner != id:
                message = f"`{alias}` already names the model `{owner}`"
                report.at("models", id, "aliases", number).add("duplicate-name", message)


def _check_keys(model: Model, tag: str, backend: Backend, here: Report) -> None:
    """Report keys that models of this kind of backend do not take, and what keeps the model from being run."""
    for key in sorted(kinds.KEYS_OF_SOME_MODELS & model.model_fields_set - backend.model_keys):
        taking = joined([f"`{kind}`" for kind in kinds.kinds_with(key, of_models=True)])
        help = (
            f"models on backends of kind {taking} take it, and `{model.backend}` is of kind `{backend.kind}`"
        )
        here.at(key).add("unknown-key", f"unknown key `{key}`", help, at_key=True)
    problem = backend.model_problem(tag, model.path)
    if problem is not None and not here.has_lost_parts and not (model.disabled or backend.disabled):
        where = here.at(problem.key)
        (here if where.node is None else where).add("wrong-value", problem.message, problem.help)


def _check_backends(catalog: Catalog, report: Report) -> None:
    for id, backend in catalog.backends.items():
        here = report.at("backends", id)
        # What could not be read is reported, and may be the cause.
        for problem in () if here.has_lost_parts else backend.problems():
            at = here.at(problem.key) if problem.inside is None else here.at(problem.key, problem.inside)
            at.add("wrong-value", problem.message, problem.help, secret=problem.secret)
