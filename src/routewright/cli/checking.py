"""Checks one file of each kind, and reports what is wrong with it or what there is to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from routewright.engine.policy import CompiledPolicy, limit_notes, place_notes
from routewright.engine.report import PolicyError, sort_problems
from routewright.loading import (
    file_kind,
    load_catalog,
    load_policy,
    load_prompts,
    load_samples,
    load_tests,
    permission_notes,
    user_permissions,
)

from .check_rollout import rollout_lines, rollout_values

if TYPE_CHECKING:
    from routewright.engine.policy import CompiledCatalog, FileKind
    from routewright.engine.report import Problem


@dataclass(frozen=True, slots=True)
class FileReport:
    """What was found in a file: problems, or what it holds.

    ``notes`` are keys and variables that the file may not use here, and servers here that do not count as local;
    ``more`` is for JSON only.
    """

    what: str = ""
    disabled: Sequence[str] = ()
    unenforced: Sequence[str] = ()
    more: Mapping[str, object] = field(default_factory=dict)
    rollout: Sequence[str] = ()
    notes: Sequence[Problem] = ()
    problems: Sequence[Problem] = ()
    kind: FileKind = "policy"

    def values(self, path: Path) -> dict[str, object]:
        """The report for JSON."""
        if self.problems:
            return {self.kind: str(path), "problems": list(map(_values, self.problems))}
        return {
            self.kind: str(path),
            "problems": [],
            "not_carried_out": list(self.unenforced),
            **({"notes": list(map(_values, self.notes))} if self.notes else {}),
            **self.more,
        }


def check_file(path: Path, root: Path | None) -> FileReport:
    """What there is to report of a file, by its kind."""
    kind: FileKind = "policy"
    try:
        kind = file_kind(path)
        return replace(_CHECKS[kind](path, root), kind=kind)
    except PolicyError as error:
        return FileReport(problems=error.problems, kind=kind)


def _check_policy(path: Path, root: Path | None) -> FileReport:
    policy = load_policy(path, root=root)
    what = [_counted(policy.rules, "rule"), _counted(policy.catalog.models, "model"), policy.digest]
    said = rollout_values(policy)
    more = {} if said is None else {"rollout": said}
    return FileReport(
        ", ".join(what), policy.disabled, policy.unenforced, more, rollout_lines(policy), _notes(policy)
    )


def _check_catalog(path: Path, root: Path | None) -> FileReport:
    catalog = load_catalog(path)
    what = [_counted(catalog.backends, "backend"), _counted(catalog.models, "model"), catalog.digest]
    disabled = [f"model {model.id}" for model in catalog.models if model.shape.disabled]
    disabled += [f"backend {id}" for id, backend in catalog.backends.items() if backend.disabled]
    return FileReport(", ".join(["a catalog", *what]), disabled, notes=_notes(catalog))


def _check_tests(path: Path, root: Path | None) -> FileReport:
    tests, policy = load_tests(path, root=root)
    what = f"a test file, {_counted(tests.cases, 'case')} for {policy.source}, not run"
    return FileReport(what, more={"policy": policy.source}, notes=_notes(policy))


def _check_samples(path: Path, root: Path | None) -> FileReport:
    return FileReport(f"a file of samples, {_counted(load_samples(path).tasks, 'task')}")


def _check_prompts(path: Path, root: Path | None) -> FileReport:
    return FileReport(f"a file of prompts, for {_counted(load_prompts(path).by_name, 'step')}")


def _notes(loaded: CompiledPolicy | CompiledCatalog) -> Sequence[Problem]:
    bounds = limit_notes(loaded) if isinstance(loaded, CompiledPolicy) else []
    return sort_problems([*permission_notes(loaded, user_permissions()), *place_notes(loaded), *bounds])


def _counted(things: Sized, one: str) -> str:
    return f"{len(things)} {one}{'' if len(things) == 1 else 's'}"


_CHECKS: Mapping[FileKind, Callable[[Path, Path | None], FileReport]] = {
    "policy": _check_policy,
    "catalog": _check_catalog,
    "tests": _check_tests,
    "samples": _check_samples,
    "prompts": _check_prompts,
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
