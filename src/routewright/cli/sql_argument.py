"""A command whose argument is SQL, which may begin with a comment and then looks like an option."""

from __future__ import annotations

from typing import Any

from typer import Context
from typer.core import TyperCommand


class SqlCommand(TyperCommand):
    """Takes an argument such as ``-- by day\\nSELECT …`` for SQL; no option has a blank before its ``=``."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """The arguments that are left, with SQL after a ``--`` of its own."""
        sql = [one for one in args if _is_comment(one)] if "--" not in args else []
        others = [one for one in args if one not in sql]
        rest: Any = super().parse_args(ctx, [*others, "--", *sql] if sql else others)
        return list(rest)


def _is_comment(argument: str) -> bool:
    return argument.startswith("--") and any(map(str.isspace, argument.partition("=")[0]))
