"""``routewright schema``: JSON Schemas for editors."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from .writer import writer


def schema(
    kind: Annotated[
        Literal["policy", "catalog", "test"], typer.Argument(metavar="KIND", help="Which kind of file.")
    ],
) -> None:
    """Print the JSON Schema of a kind of file.

    Editors complete and check a file whose first line names it:

    \b
      # yaml-language-server: $schema=policy.schema.json

    \b
    Example:
      routewright schema policy > policy.schema.json
    """
    import json

    from routewright.engine.policy import catalog_schema, policy_schema, test_schema

    make = {"policy": policy_schema, "catalog": catalog_schema, "test": test_schema}[kind]
    writer.json(json.dumps(make(), indent=2, ensure_ascii=False) + "\n")
