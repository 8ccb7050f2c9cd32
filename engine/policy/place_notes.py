"""Notes on backends of a catalog that may be this machine and are not taken for it.

Each is a policy's right to say, and none is a mistake: what the author perhaps did not mean is that constraints on
``model.location`` then exclude their models.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..errors import Problem
from ..problems import sort_problems
from .catalog import Catalog
from .compiled import CompiledCatalog, CompiledPolicy
from .document import Path
from .locality import callable_instead, server_of
from .nodes import parse_yaml
from .shape_problems import place_problem

__all__ = ["place_notes"]

_FACT = "model.location"


def place_notes(loaded: CompiledPolicy | CompiledCatalog) -> list[Problem]:
    """What may be local and is not, each at its place in the YAML; those of a rollout's candidate too.

    That a location is unknown matters to policies alone that ask for it. Backends that are disabled are passed over.
    """
    if isinstance(loaded, CompiledCatalog):
        return _noted(loaded, (), asking=None)
    inside = ("catalog",) if isinstance(loaded.shape.catalog, Catalog) else ()
    found = _noted(loaded.catalog, inside, asking=_who_asks(loaded))
    candidate = None if loaded.rollout is None else loaded.rollout.candidate
    return found if candidate is None else sort_problems([*found, *place_notes(candidate)])


def _who_asks(policy: CompiledPolicy) -> str | None:
    """The first constraint that asks where a model runs."""
    return next((one.name for one in policy.constraints if _FACT in one.require.names), None)


def _noted(catalog: CompiledCatalog, inside: Path, *, asking: str | None) -> list[Problem]:
    found = list(_problems(catalog, asking))
    if not found:
        return []
    document = parse_yaml(catalog.text, catalog.source)
    return sort_problems(place_problem(replace(one, path=(*inside, *one.path)), document) for one in found)


def _problems(catalog: CompiledCatalog, asking: str | None) -> Iterator[Problem]:
    for id, backend in catalog.backends.items():
        if backend.disabled or backend.host is None or backend.kind not in ("ollama", "openai"):
            continue
        path = ("backends", id, "host")
        if (call := callable_instead(backend.host)) is not None:
            message = (
                f"`{backend.host}` is an address to listen at and not this machine: its models count as cloud"
            )
            yield Problem(
                "address-to-listen-at", message, f"to call a server here, write `{call}`", path=path
            )
        elif asking is not None and server_of(backend).may_forward:
            message = (
                f"nobody knows whether models of `{id}` stay on this machine, so `{asking}` may exclude them"
            )
            help = "say `stays: true` if the server does the work itself, `location: cloud` if it does not"
            yield Problem("location-unknown", message, help, path=path)
