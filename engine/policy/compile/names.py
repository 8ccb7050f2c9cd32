"""Lists the names that a policy may use for each model of a catalog.

A model is named by its id, an alias, a tag that no other model has, or ``backend:tag`` as in
``mlx:qwen3-coder-30b`` or ``cloud:kimi-k2:1t-cloud`` (after the backend its id or an alias do too).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..shapes import Catalog, Model


def own_names(id: str, model: Model) -> Iterator[str]:
    """The names of one model, the strongest first."""
    yield id
    yield from model.aliases
    yield model.tag or id


def names_of_models(catalog: Catalog) -> Mapping[str, tuple[int, ...]]:
    """Each name with the positions of the models it may mean; an id hides equal aliases, an alias equal tags."""
    ids: dict[str, list[int]] = {}
    aliases: dict[str, list[int]] = {}
    tags: dict[str, list[int]] = {}
    qualified: dict[str, list[int]] = {}
    for index, (id, model) in enumerate(catalog.models.items()):
        ids.setdefault(id, []).append(index)
        for alias in model.aliases:
            aliases.setdefault(alias, []).append(index)
        tags.setdefault(model.tag or id, []).append(index)
        for name in dict.fromkeys(own_names(id, model)):
            qualified.setdefault(f"{model.backend}:{name}", []).append(index)
    names: dict[str, tuple[int, ...]] = {}
    for table in (qualified, tags, aliases, ids):
        names.update({name: tuple(dict.fromkeys(found)) for name, found in table.items()})
    return names
