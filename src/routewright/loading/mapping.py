"""Maps models of a catalog onto what this machine has.

``kimi-k2-cloud=llamacpp:smollm2`` lets a small local model stand in for a large one. Everything that depends on
where a model runs (constraints, location, price, window) then goes by the stand-in; the model keeps its id, and
``stands_in_for`` says what it was. The result is a catalog like any other, with a digest of its own, so that
decisions under it can be recomputed from its text.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from routewright.engine.policy import Catalog, Model, check_unbroken, kinds, names_of_models
from routewright.engine.report import TaskError, suggest

SMALL_CONTEXT = 8192
"""The window of SmolLM2, which is the embedded model, and which Ollama servers know as `smollm2`."""

SMALL_OUTPUT = 1024
"""Its longest answer as a stand-in, in tokens: it seldom stops by itself."""

ABSENT = "not on this machine"
"""Why a model is disabled that is mapped onto nothing."""

_KINDS = [
    kind
    for kind, shape in kinds.KINDS.items()
    if not any(field.is_required() for name, field in shape.model_fields.items() if name != "kind")
]
"""The kinds whose backends need no other key, so that a mapping may bring one."""
_KEPT = (
    "operations",
    "capabilities",
    "recommended_for",
    "description",
    "aliases",
    "disabled",
    "disabled_reason",
)
_PLACE = ("backend", "tag", "stands_in_for")
_OF_WHAT_ANSWERS = tuple(Model.model_fields.keys() - {*_KEPT, *_PLACE})
"""What a stand-in that the catalog describes has of its own: everything but its place and what it is wanted for."""


def parse_maps(flags: Iterable[str]) -> dict[str, str]:
    """The mappings in flags such as ``kimi-k2-cloud=llamacpp:smollm2``; ``*`` stands for all that chat.

    Raises TaskError for a flag of another form or a model that is mapped twice.
    """
    maps: dict[str, str] = {}
    for flag in flags:
        name, equals, target = flag.partition("=")
        backend, _, tag = target.partition(":")
        if not (equals and name and backend and tag):
            raise TaskError(f"`{flag}` is not a mapping", help="such as kimi-k2-cloud=llamacpp:smollm2")
        if name in maps:
            raise TaskError(f"`{name}` is mapped twice")
        maps[name] = target
    return maps


def map_models(
    plain: dict[str, Any],
    catalog: Catalog,
    maps: Mapping[str, str | None],
    declared: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """The text of the catalog whose plain values are ``plain``, with ``maps`` applied.

    A model that is mapped onto itself stays what it is; one that is mapped onto None is disabled. ``declared`` are
    keys of backends, by id, that replace their own; all of them where the kind is among them. Raises TaskError for a
    model or a backend that there is not.
    """
    names = names_of_models(catalog)
    ids = list(catalog.models)
    models, backends = dict(plain["models"]), dict(plain["backends"])
    for id, keys in (declared or {}).items():
        if id not in backends:
            raise TaskError(f"`{id}` names no backend", help=suggest(id, backends, label="backends"))
        backends[id] = dict(keys) if "kind" in keys else {**backends[id], **keys}
    for id, target in _targets(maps, catalog).items():
        if target is None:
            models[id] = {**models[id], "disabled": True, "disabled_reason": ABSENT}
            continue
        backend, _, tag = target.partition(":")
        try:
            check_unbroken(target)
        except ValueError as error:
            raise TaskError(f"`{target}` is not a model to map onto: {error}") from None
        if (backend, tag) == (models[id]["backend"], models[id].get("tag", id)):
            continue
        if backend not in backends:
            if backend not in _KINDS:
                hint = suggest(backend, [*backends, *_KINDS], label="backends and kinds")
                raise TaskError(f"`{target}` names no backend", help=hint)
            backends[backend] = {"kind": backend}
        known = [name for name, found in names.items() if found == (ids.index(id),) and name != id]
        declared = _declared(plain["models"], backend, tag)
        problem = kinds.backend_of(backends[backend]).model_problem(tag, (declared or {}).get("path"))
        if problem is not None:
            raise TaskError(f"`{target}`: {problem.message}", help=problem.help)
        models[id] = _stand_in(models[id], id, known, backend, tag, backends[backend], declared)
    for id, model in models.items():
        place = kinds.backend_of(backends[model["backend"]]).server.place(model.get("tag", id))
        if place.location == "cloud":
            models[id] = {key: value for key, value in model.items() if key != "preload"}
    return json.dumps({**plain, "models": models, "backends": backends}, ensure_ascii=False, indent=1)


def _targets(maps: Mapping[str, str | None], catalog: Catalog) -> dict[str, str | None]:
    """What each model is mapped onto, by its id; a name counts more than ``*``."""
    names, ids = names_of_models(catalog), list(catalog.models)
    targets: dict[str, str | None] = {}
    if "*" in maps:
        targets = {id: maps["*"] for id, model in catalog.models.items() if "chat" in model.operations}
    for name, target in maps.items():
        found = names.get(name, ())
        if name != "*" and len(found) != 1:
            raise TaskError(f"`{name}` names no model to map", help=suggest(name, names, listed=ids))
        if name != "*":
            targets[ids[found[0]]] = target
    return targets


def _declared(models: Mapping[str, Any], backend: str, tag: str) -> dict[str, Any] | None:
    """What the catalog itself says of the model that stands in; None where it does not have it."""
    for id, model in models.items():
        if (model["backend"], model.get("tag", id)) == (backend, tag):
            return {key: model[key] for key in _OF_WHAT_ANSWERS if key in model}
    return None


def _stand_in(
    model: Mapping[str, Any],
    id: str,
    names: list[str],
    backend: str,
    tag: str,
    runs_on: Mapping[str, Any],
    declared: dict[str, Any] | None,
) -> dict[str, Any]:
    """The stand-in answers to every name of the model, so that no reference of a policy is lost."""
    stand_in = {key: model[key] for key in _KEPT if key in model} | {"aliases": sorted(names)}
    stand_in |= {
        "backend": backend,
        "tag": tag,
        "stands_in_for": f"{model['backend']}:{model.get('tag', id)}",
    }
    if declared is not None:
        # Without a price there, its cost is unknown, as when it is called by its own name.
        return stand_in | declared
    place = kinds.backend_of(runs_on).server.place(tag)
    if runs_on["kind"] != "simulated" and place.location == "local":
        stand_in["price"] = {"input": 0, "output": 0}
    if runs_on["kind"] == "llamacpp" or (runs_on["kind"] == "ollama" and tag.partition(":")[0] == "smollm2"):
        # What is known of the small model binds, whoever serves it.
        stand_in |= {"context_length": SMALL_CONTEXT, "max_output_tokens": SMALL_OUTPUT, "think": False}
    elif "context_length" in model:
        stand_in["context_length"] = model["context_length"]
    return stand_in
