"""``routewright check``: all problems of policies, catalogs and test files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from .exit_codes import ExitCode
from .options import Root
from .writer import writer

if TYPE_CHECKING:
    from routewright.engine.policy import CompiledCatalog, CompiledPolicy, FileKind
    from routewright.engine.report import Problem


def check(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="POLICY", readable=False, help="The policy files; catalogs, test files."),
    ],
    format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="How problems are written.")
    ] = "text",
    root: Root = None,
) -> None:
    """Show all problems of policies.

    Problems of their catalogs are included, each with its place. For a file without problems, check lists what
    Routewright does not support yet, the keys and variables that the file may not use on this machine, and the servers
    on this machine whose models do not count as local. A catalog is checked alone, a test file together with its
    policy.

    \b
    Example:
      routewright check policies/hybrid.yaml
    """
    from routewright.engine.report import PolicyError, render_problem, render_problems
    from routewright.loading import file_kind

    results: list[dict[str, object]] = []
    failed = False
    for path in files:
        kind: FileKind = "policy"
        try:
            kind = file_kind(path)
            told = _CHECKS[kind](path, root)
        except PolicyError as error:
            failed = True
            results.append({kind: str(path), "problems": [_values(p) for p in error.problems]})
            if format == "text":
                count = len(error.problems)
                writer.problems(render_problems(error.problems))
                writer.text(f"{path}: {count} problem{'' if count == 1 else 's'}")
            continue
        results.append(
            {
                kind: str(path),
                "problems": [],
                "not_carried_out": list(told.unenforced),
                **({"notes": [_values(note) for note in told.notes]} if told.notes else {}),
                **told.more,
            }
        )
        if format == "text":
            writer.text(f"{path}: ok, {told.what}")
            for line in told.rollout:
                writer.text(f"  {line}")
            for disabled in told.disabled:
                writer.text(f"  disabled: {disabled}")
            for part in told.unenforced:
                writer.text(f"  not supported yet: {part}")
            for note in told.notes:
                writer.problems(render_problem(note, kind="note"))
    if format == "json":
        import json

        writer.json(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if failed:
        raise typer.Exit(ExitCode.INVALID_POLICY)


@dataclass(frozen=True, slots=True)
class _Told:
    """The report on a file without problems; ``more`` is for JSON only.

    ``notes`` are keys and variables that the file may not use here, and servers here that do not count as local.
    """

    what: str
    disabled: Sequence[str] = ()
    unenforced: Sequence[str] = ()
    more: Mapping[str, object] = field(default_factory=dict)
    rollout: Sequence[str] = ()
    notes: Sequence[Problem] = ()


def _check_policy(path: Path, root: Path | None) -> _Told:
    from routewright.loading import load_policy

    from .check_rollout import rollout_lines, rollout_values

    policy = load_policy(path, root=root)
    what = [_counted(policy.rules, "rule"), _counted(policy.catalog.models, "model"), policy.digest]
    said = rollout_values(policy)
    more = {} if said is None else {"rollout": said}
    return _Told(
        ", ".join(what), policy.disabled, policy.unenforced, more, rollout_lines(policy), _notes(policy)
    )


def _check_catalog(path: Path, root: Path | None) -> _Told:
    from routewright.loading import load_catalog

    catalog = load_catalog(path)
    what = [_counted(catalog.backends, "backend"), _counted(catalog.models, "model"), catalog.digest]
    disabled = [f"model {model.id}" for model in catalog.models if model.shape.disabled]
    disabled += [f"backend {id}" for id, backend in catalog.backends.items() if backend.disabled]
    return _Told(", ".join(["a catalog", *what]), disabled, notes=_notes(catalog))


def _check_tests(path: Path, root: Path | None) -> _Told:
    from routewright.loading import load_tests

    tests, policy = load_tests(path, root=root)
    what = f"a test file, {_counted(tests.cases, 'case')} for {policy.source}, not run"
    return _Told(what, more={"policy": policy.source}, notes=_notes(policy))


def _notes(loaded: CompiledPolicy | CompiledCatalog) -> Sequence[Problem]:
    from routewright.engine.policy import CompiledPolicy, limit_notes, place_notes
    from routewright.engine.report import sort_problems
    from routewright.loading import permission_notes, user_permissions

    bounds = limit_notes(loaded) if isinstance(loaded, CompiledPolicy) else []
    return sort_problems([*permission_notes(loaded, user_permissions()), *place_notes(loaded), *bounds])


def _counted(things: Sized, one: str) -> str:
    return f"{len(things)} {one}{'' if len(things) == 1 else 's'}"


_CHECKS: Mapping[FileKind, Callable[[Path, Path | None], _Told]] = {
    "policy": _check_policy,
    "catalog": _check_catalog,
    "tests": _check_tests,
}


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
