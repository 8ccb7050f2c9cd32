"""``routewright models``: the catalog by capability."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .exit_codes import ExitCode
from .options import Root
from .writer import writer

if TYPE_CHECKING:
    from routewright.engine.policy import CompiledModel


def models(
    policy: Annotated[
        Path | None,
        typer.Argument(
            metavar="POLICY", readable=False, help="The policy or catalog file.  [default: the shipped one]"
        ),
    ] = None,
    capability: Annotated[
        str | None, typer.Option("--capability", "-c", metavar="NAME", help="Only models that have it.")
    ] = None,
    root: Root = None,
    format: Annotated[
        Literal["table", "json"], typer.Option("--format", help="How the models are written.")
    ] = "table",
) -> None:
    """List the models of a catalog, by capability.

    Ends with status 1 when no model that is not disabled has the capability.

    \b
    Example:
      routewright models policies/hybrid.yaml --capability mixture_of_experts
    """
    from routewright.engine.report import suggest
    from routewright.loading import file_kind, load_catalog, load_policy, shipped

    path = policy or shipped("hybrid.yaml")
    catalog = load_catalog(path) if file_kind(path) == "catalog" else load_policy(path, root=root).catalog
    found = [model for model in catalog.models if capability is None or capability in model.capabilities]
    if format == "json":
        import json

        writer.json(json.dumps([_values(model) for model in found], indent=2) + "\n")
    elif found:
        header = ["model", "backend", "location", "operations", "context", "capabilities", "state"]
        writer.table(header, [_row(model) for model in found])
    if capability is not None and not any(model.disabled is None for model in found):
        known = {name for model in catalog.models for name in model.capabilities}
        writer.note(f"no model has the capability `{capability}`")
        writer.note(f"  = help: {suggest(capability, known, label='in the catalog')}")
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _row(model: CompiledModel) -> list[str]:
    return [
        model.id,
        model.backend,
        model.location or "unknown",
        ", ".join(sorted(model.operations)) or "none",
        "unknown" if model.context_length is None else str(model.context_length),
        ", ".join(sorted(model.capabilities)),
        "ready" if model.disabled is None else f"disabled: {model.disabled}",
    ]


def _values(model: CompiledModel) -> dict[str, object]:
    facts = {name.removeprefix("model."): value for name, value in model.facts.items()}
    # Null means unknown; a fact that the catalog leaves out is omitted.
    return {
        **facts,
        "location": model.location,
        "capabilities": sorted(model.capabilities),
        "disabled": model.disabled,
    }
