"""``routewright check``: all problems of policies, catalogs and the files beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .exit_codes import ExitCode
from .options import Root, TextFormat
from .writer import writer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .checking import FileReport


def check(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE", readable=False, help="Policies, catalogs, test files; or folders that hold them."
        ),
    ],
    format: TextFormat = "text",
    root: Root = None,
) -> None:
    """Show all problems of policies and of the files beside them.

    The content tells the kind of a file: policy, catalog, tests, samples or prompts. Of a folder, all such files in it
    and below are checked, and other YAML files are passed over. A policy is checked with its catalog, a test file with
    its policy.

    For a file without problems, check lists what Routewright does not support yet, the keys and variables that the
    file may not use on this machine, and the servers on this machine whose models do not count as local. Exits with
    status 3 if there are problems.

    \b
    Example:
      routewright check policies/hybrid.yaml
      routewright check policies
    """
    import json

    from .checking import check_file

    reports = [(path, check_file(path, root)) for path in _files(files)]
    if format == "json":
        values = [report.values(path) for path, report in reports]
        writer.json(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    else:
        for path, report in reports:
            _print(path, report)
    if any(report.problems for _, report in reports):
        raise typer.Exit(ExitCode.INVALID_POLICY)


def _files(named: Sequence[Path]) -> Iterator[Path]:
    """The files that are named, and those in folders. Raises TaskError for a folder without any."""
    from routewright.engine.report import TaskError
    from routewright.loading import routewright_files

    for path in named:
        if not path.is_dir():
            yield path
            continue
        found = list(routewright_files(path))
        if not found:
            raise TaskError(
                f"`{path}` holds no file of Routewright's", help="such a file begins with `routewright: 1`"
            )
        yield from found


def _print(path: Path, report: FileReport) -> None:
    from routewright.engine.report import render_problem, render_problems

    if report.problems:
        count = len(report.problems)
        writer.problems(render_problems(report.problems))
        writer.text(f"{path}: {count} problem{'' if count == 1 else 's'}")
        return
    writer.text(f"{path}: ok, {report.what}")
    for line in report.rollout:
        writer.text(f"  {line}")
    for disabled in report.disabled:
        writer.text(f"  disabled: {disabled}")
    for part in report.unenforced:
        writer.text(f"  not supported yet: {part}")
    for note in report.notes:
        writer.problems(render_problem(note, kind="note"))
