"""Lists the names that a policy may use for each model of a catalog.

A model is named by its id, an alias, a tag that no other model has, or ``backend:tag`` as in
``mlx:qwen3-coder-30b`` or ``cloud:kimi-k2:1t-cloud`` (after the backend its id or an alias do too).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ..shapes.catalog import Catalog


def names_of_models(catalog: Catalog) -> Mapping[str, tuple[int, ...]]:
    """Each name with the positions of the models it may mean; an id hides equal aliases, an alias equal tags."""
    # From the weakest names to the strongest.
    qualified, tags, aliases, ids = (defaultdict[str, dict[int, None]](dict) for _ in range(4))
    for index, (id, model) in enumerate(catalog.models.items()):
        for table, given in ((ids, [id]), (aliases, model.aliases), (tags, [model.tag or id])):
            for name in given:
                table[name][index] = None
                qualified[f"{model.backend}:{name}"][index] = None
    tables = (qualified, tags, aliases, ids)
    return {name: tuple(found) for table in tables for name, found in table.items()}
