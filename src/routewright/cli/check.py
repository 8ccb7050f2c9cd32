"""``routewright check``: all problems of policies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .exit_codes import ExitCode
from .writer import writer

if TYPE_CHECKING:
    from routewright.engine.errors import Problem

__all__ = ["check"]


def check(
    policies: Annotated[
        list[Path], typer.Argument(metavar="POLICY", readable=False, help="The policy files.")
    ],
    format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How problems are written.")
    ] = "text",
) -> None:
    """Show all problems of policies.

    Those of their catalogs too, each with its place. What a policy says but Routewright does not carry
    out yet is listed for every policy without problems.

    \b
    Example:
      routewright check policies/hybrid.yaml
    """
    from routewright.engine.errors import PolicyError
    from routewright.engine.problems import render_problems
    from routewright.loading import load_policy

    results: list[dict[str, object]] = []
    failed = False
    for path in policies:
        try:
            policy = load_policy(path)
        except PolicyError as error:
            failed = True
            results.append({"policy": str(path), "problems": [_values(p) for p in error.problems]})
            if format == "text":
                count = len(error.problems)
                writer.text(render_problems(error.problems))
                writer.text(f"{path}: {count} problem{'' if count == 1 else 's'}")
            continue
        results.append({"policy": str(path), "problems": [], "not_carried_out": list(policy.unenforced)})
        if format == "text":
            rules, models = len(policy.rules), len(policy.catalog.models)
            writer.text(f"{path}: ok, {rules} rules, {models} models, {policy.digest}")
            for disabled in policy.disabled:
                writer.text(f"  disabled: {disabled}")
            for part in policy.unenforced:
                writer.text(f"  not carried out yet: {part}")
    if format == "json":
        import json

        writer.raw(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if failed:
        raise typer.Exit(ExitCode.INVALID_POLICY)


def _values(problem: Problem) -> dict[str, object]:
    return {
        "code": problem.code,
        "message": problem.message,
        "help": problem.help,
        "file": problem.source,
        "line": problem.line,
        "column": problem.column,
        "width": problem.width,
    }
