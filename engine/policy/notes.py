"""Notes on backends of a catalog that may be on this machine but do not count as local.

They are valid and not mistakes, but constraints on ``model.location`` exclude their models, which the author may not
have meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ..report import Problem, sort_problems
from .compiled import CompiledCatalog, CompiledPolicy
from .locality import callable_instead
from .reading import place_problem
from .shapes import Catalog, ServerBackend
from .source import Path, parse_yaml

_FACT = "model.location"


def place_notes(loaded: CompiledPolicy | CompiledCatalog) -> list[Problem]:
    """Notes on backends that may be local but do not count as local, each at its place in the YAML.

    Includes those of a rollout's candidate. An unknown location is only noted if the policy asks for it. Disabled
    backends are skipped.
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
        if backend.disabled or not isinstance(backend, ServerBackend) or backend.host is None:
            continue
        path = ("backends", id, "host")
        if (call := callable_instead(backend.host)) is not None:
            message = f"`{backend.host}` is a listen address, not this machine: its models count as cloud"
            yield Problem(
                "address-to-listen-at", message, f"to call a server here, write `{call}`", path=path
            )
        elif asking is not None and backend.server.may_forward:
            message = (
                f"it is unknown whether models of `{id}` run on this machine, so `{asking}` may exclude them"
            )
            help = "say `stays: true` if the server does the work itself, `location: cloud` if it does not"
            yield Problem("location-unknown", message, help, path=path)
