"""Checks one file of each kind, and reports what is wrong with it or what there is to know."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import typer

from routewright.engine.policy import (
    CompiledCatalog,
    CompiledPolicy,
    FileKind,
    key_notes,
    limit_notes,
    place_notes,
    quota_notes,
    step_notes,
    waits_by_default,
)
from routewright.engine.report import (
    PolicyError,
    Problem,
    TaskError,
    duration_text,
    render_problem,
    render_problems,
    sort_problems,
)
from routewright.ledger import LedgerError, check_statement, read_mapping
from routewright.loading import (
    file_kind,
    load_catalog,
    load_policy,
    load_prompts,
    load_question,
    load_samples,
    load_tests,
    permission_notes,
    read_text,
    routewright_files,
    user_permissions,
)

from .check_rollout import rollout_report
from .exit_codes import ExitCode
from .writer import counted, writer


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
    defaults: Mapping[str, int] = field(default_factory=dict)
    """Limits on time that the engine sets, in milliseconds."""

    def values(self, path: Path) -> dict[str, object]:
        """The report for JSON."""
        if self.problems:
            return {self.kind: str(path), "problems": list(map(_values, self.problems))}
        return {
            self.kind: str(path),
            "problems": [],
            "not_carried_out": list(self.unenforced),
            **({"notes": list(map(_values, self.notes))} if self.notes else {}),
            **({"defaults_ms": dict(self.defaults)} if self.defaults else {}),
            **self.more,
        }


def check_and_print(files: Sequence[Path], root: Path | None, format: Literal["text", "json"]) -> None:
    """Print what there is to report of each file. Raises typer.Exit if one has problems."""
    reports = [(path, _report(path, root)) for path in _files(files)]
    if format == "json":
        writer.json_value([report.values(path) for path, report in reports])
    else:
        for path, report in reports:
            _print(path, report)
    if any(report.problems for _, report in reports):
        raise typer.Exit(ExitCode.INVALID_POLICY)


def _files(named: Sequence[Path]) -> Iterator[Path]:
    """The files that are named, and those in folders. Raises TaskError for a folder without any."""
    for path in named:
        if not path.is_dir():
            yield path
            continue
        found = list(routewright_files(path))
        if not found:
            raise TaskError(
                f"no policy, catalog or test file in `{path}`",
                help="such a file begins with `routewright: 1`",
            )
        yield from found


def _print(path: Path, report: FileReport) -> None:
    if report.problems:
        writer.problems(render_problems(report.problems))
        writer.text(f"{path}: {counted(len(report.problems), 'problem')}")
        return
    writer.text(f"{path}: ok, {report.what}")
    for line in report.rollout:
        writer.text(f"  {line}")
    for disabled in report.disabled:
        writer.text(f"  disabled: {disabled}")
    for part in report.unenforced:
        writer.text(f"  not supported yet: {part}")
    if report.defaults:
        waits = ", ".join(f"{name} {duration_text(ms)}" for name, ms in report.defaults.items())
        writer.text(f"  limits by default: {waits}")
    for note in report.notes:
        writer.problems(render_problem(note, kind="note"))


def _report(path: Path, root: Path | None) -> FileReport:
    """What there is to report of a file, by its kind."""
    kind: FileKind = "policy"
    try:
        kind = file_kind(path)
        return replace(_CHECKS[kind](path, root), kind=kind)
    except PolicyError as error:
        return FileReport(problems=error.problems, kind=kind)


def _check_policy(path: Path, root: Path | None) -> FileReport:
    policy = load_policy(path, root=root)
    what = [counted(len(policy.rules), "rule"), counted(len(policy.catalog.models), "model"), policy.digest]
    more, lines = rollout_report(policy)
    report = FileReport(", ".join(what), policy.disabled, policy.unenforced, more, lines, _notes(policy))
    return replace(report, defaults=waits_by_default(policy))


def _check_catalog(path: Path, root: Path | None) -> FileReport:
    catalog = load_catalog(path)
    what = [counted(len(catalog.backends), "backend"), counted(len(catalog.models), "model"), catalog.digest]
    disabled = [f"model {model.id}" for model in catalog.models if model.shape.disabled]
    disabled += [f"backend {id}" for id, backend in catalog.backends.items() if backend.disabled]
    return FileReport(", ".join(["a catalog", *what]), disabled, notes=_notes(catalog))


def _check_tests(path: Path, root: Path | None) -> FileReport:
    tests, policy = load_tests(path, root=root)
    what = f"a test file, {counted(len(tests.cases), 'case')} for {policy.source}, not run"
    return FileReport(what, more={"policy": policy.source}, notes=_notes(policy))


def _check_samples(path: Path, root: Path | None) -> FileReport:
    return FileReport(f"a file of samples, {counted(len(load_samples(path).tasks), 'task')}")


def _check_prompts(path: Path, root: Path | None) -> FileReport:
    return FileReport(f"a file of prompts, for {counted(len(load_prompts(path).by_name), 'step')}")


def _check_question(path: Path, root: Path | None) -> FileReport:
    question = load_question(path)
    try:
        check_statement(question)
    except LedgerError as error:
        unplaced = Problem("bad-statement", str(error), error.help, source=str(path))
        raise PolicyError([error.problem or unplaced]) from None
    return FileReport(f"a question, {counted(len(question.shape.parameters), 'parameter')}, not asked")


def _check_mapping(path: Path, root: Path | None) -> FileReport:
    source, _ = read_mapping(read_text(str(path)), str(path))
    return FileReport(
        f"a mapping of an import, {counted(len(source.plan.calls), 'call')} for each row, not read"
    )


def _notes(loaded: CompiledPolicy | CompiledCatalog) -> Sequence[Problem]:
    of_rules = (
        [*limit_notes(loaded), *step_notes(loaded), *quota_notes(loaded), *key_notes(loaded)]
        if isinstance(loaded, CompiledPolicy)
        else []
    )
    return sort_problems([*permission_notes(loaded, user_permissions()), *place_notes(loaded), *of_rules])


_CHECKS: Mapping[FileKind, Callable[[Path, Path | None], FileReport]] = {
    "policy": _check_policy,
    "catalog": _check_catalog,
    "tests": _check_tests,
    "samples": _check_samples,
    "prompts": _check_prompts,
    "question": _check_question,
    "mapping": _check_mapping,
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
