"""Files in, compiled policies out: the one place that reads policies and catalogs from disk."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from routewright.engine.errors import PolicyError, Problem
from routewright.engine.policy.catalog import Catalog
from routewright.engine.policy.compile import compile_policy
from routewright.engine.policy.compile_catalog import compile_catalog_file
from routewright.engine.policy.compile_rollout import UnfitCandidate
from routewright.engine.policy.compiled import CompiledCatalog, CompiledPolicy
from routewright.engine.policy.names import names_of_models
from routewright.engine.policy.nodes import MAX_FILE_BYTES, parse_yaml
from routewright.engine.policy.read import (
    FileKind,
    Source,
    kind_of,
    read_catalog,
    read_policy,
    read_tests,
    unreadable_catalog,
)
from routewright.engine.policy.shape import Policy
from routewright.engine.policy.shape_problems import shape_problems
from routewright.engine.policy.testfile import TestFile
from routewright.mapping import map_models
from routewright.tasks import Samples

__all__ = ["file_kind", "load_catalog", "load_policy", "load_samples", "load_tests", "read_text", "shipped"]


def load_policy(
    path: str | os.PathLike[str],
    *,
    maps: Mapping[str, str] | None = None,
    hosts: Mapping[str, str] | None = None,
) -> CompiledPolicy:
    """Return the policy in the file at ``path``, compiled against its catalog.

    The catalog's path is relative to the policy's file, and so is that of a rollout's candidate, which is loaded
    with the policy. ``maps`` lets models stand in for others, such as ``{"kimi-k2-cloud": "llamacpp:smollm2"}``,
    and ``hosts`` gives backends other addresses, by id (see ``mapping``); of a policy and its candidate each takes
    what its catalog has. Raises PolicyError with all problems of all files, also for a file that cannot be read or
    is a catalog or a test file, and TaskError for a mapping of what there is not.
    """
    name = os.fspath(path)
    sources = _read(name)
    maps, hosts = maps or {}, hosts or {}
    rollout = sources.policy.shape.rollout
    if rollout is None or not rollout.candidate:
        return sources.compiled(maps, hosts)
    try:
        beside = _sources_of_candidate(name, rollout.candidate)
        theirs, mine = beside.names(), sources.names()
        candidate: CompiledPolicy | UnfitCandidate = beside.compiled(
            {one: target for one, target in maps.items() if one in theirs[0]},
            {one: host for one, host in hosts.items() if one in theirs[1]},
        )
        # What neither has is reported of the policy.
        maps = {one: target for one, target in maps.items() if one in mine[0] or one not in theirs[0]}
        hosts = {one: host for one, host in hosts.items() if one in mine[1] or one not in theirs[1]}
    except _UnfitError as error:
        candidate = error.why
    except PolicyError as error:
        candidate = UnfitCandidate(problems=error.problems)
    return sources.compiled(maps, hosts, candidate)


@dataclass(frozen=True, slots=True)
class _Sources:
    """A policy's file and its catalog's, as they were read."""

    policy: Source[Policy]
    catalog: Source[Catalog] | None

    def compiled(
        self,
        maps: Mapping[str, str],
        hosts: Mapping[str, str],
        candidate: CompiledPolicy | UnfitCandidate | None = None,
    ) -> CompiledPolicy:
        policy, catalog = self.policy, self.catalog
        if maps or hosts:
            policy, catalog = _mapped(policy, catalog, maps, hosts)
        return compile_policy(policy, catalog, candidate=candidate)

    def names(self) -> tuple[Collection[str], Collection[str]]:
        """What maps may name (models, and ``*``), and what hosts may name (backends)."""
        inline = self.policy.shape.catalog
        shape = (
            inline if isinstance(inline, Catalog) else None if self.catalog is None else self.catalog.shape
        )
        return ((), ()) if shape is None else ({*names_of_models(shape), "*"}, set(shape.backends))


class _UnfitError(Exception):
    def __init__(self, why: UnfitCandidate) -> None:
        super().__init__(why.message)
        self.why = why


def _read(name: str) -> _Sources:
    """The sources of a policy's file. Raises PolicyError where the file cannot be read at all."""
    policy = _read_policy(read_text(name), name)
    catalog: Source[Catalog] | None = None
    if isinstance(policy.shape.catalog, str) and policy.shape.catalog:
        catalog = _load_catalog(_beside(name, policy.shape.catalog))
    return _Sources(policy, catalog)


def _sources_of_candidate(name: str, file: str) -> _Sources:
    path = _beside(name, file)
    if not os.path.isfile(path):
        message = f"the candidate `{file}` could not be read"
        raise _UnfitError(UnfitCandidate("missing-candidate", message, "its path is relative to this file"))
    if os.path.samefile(path, name):
        message = f"the candidate `{file}` is this policy itself"
        raise _UnfitError(UnfitCandidate("own-candidate", message, "name a file of its own"))
    return _read(path)


def _beside(name: str, file: str) -> str:
    """A path that a file gives relative to itself."""
    return os.path.normpath(os.path.join(os.path.dirname(name), file))


def load_catalog(path: str | os.PathLike[str]) -> CompiledCatalog:
    """Return the catalog in the file at ``path``, by itself. Raises PolicyError with all its problems."""
    name = os.fspath(path)
    return compile_catalog_file(read_catalog(read_text(name), name))


def file_kind(path: str | os.PathLike[str]) -> FileKind:
    """What the file at ``path`` is, by its keys. Raises PolicyError for one that cannot be read."""
    return kind_of(read_text(os.fspath(path)))


def load_tests(path: str | os.PathLike[str]) -> tuple[TestFile, str]:
    """Return the cases in the file at ``path``, and the path of the policy they are for. Raises PolicyError."""
    name = os.fspath(path)
    tests = read_tests(read_text(name), name).shape
    return tests, _beside(name, tests.policy)


def load_samples(path: str | os.PathLike[str]) -> Samples:
    """Return the sample tasks in the file at ``path``. Raises PolicyError."""
    name = os.fspath(path)
    document = parse_yaml(read_text(name), name)
    try:
        return Samples.model_validate(document.root.plain())
    except ValidationError as error:
        raise PolicyError(shape_problems(error, document, Samples)) from None


def _mapped(
    policy: Source[Policy],
    catalog: Source[Catalog] | None,
    maps: Mapping[str, str],
    hosts: Mapping[str, str],
) -> tuple[Source[Policy], Source[Catalog] | None]:
    """The sources with the catalog mapped; as they are where they have problems to be reported first."""
    inline = policy.shape.catalog
    if catalog is not None and not catalog.problems:
        text = map_models(catalog.document.root.plain(), catalog.shape, maps, hosts)
        return policy, read_catalog(text, f"{catalog.document.source} (mapped)")
    if isinstance(inline, Catalog) and not policy.problems:
        plain = policy.document.root.plain()
        plain["catalog"] = json.loads(map_models(plain["catalog"], inline, maps, hosts))
        return read_policy(json.dumps(plain, ensure_ascii=False), f"{policy.document.source} (mapped)"), None
    return policy, catalog


def read_text(path: str) -> str:
    """The text of a file. Raises PolicyError when it cannot be read, is too large or is not UTF-8."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        message = f"cannot read the file: {(error.strerror or str(error)).lower()}"
        raise PolicyError([Problem("unreadable-file", message, source=path)]) from None
    if len(content) > MAX_FILE_BYTES:
        message = f"the file is larger than {MAX_FILE_BYTES // 1024} KiB"
        raise PolicyError([Problem("file-too-large", message, source=path)])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = "the file is not UTF-8 text"
        raise PolicyError([Problem("not-utf-8", message, source=path, line=line, column=1)]) from None


def shipped(name: str) -> Path:
    """The path of a file that comes with Routewright, such as ``hybrid.yaml``."""
    return Path(__file__).parent / "policies" / name


_OTHER_FILES: Mapping[FileKind, tuple[str, str]] = {
    "catalog": (
        "a catalog",
        "name a policy that uses it, by `catalog:`; `check` and `models` take catalogs too",
    ),
    "tests": ("a file of policy tests", "name the policy that it is for; `check` takes test files too"),
}


def _read_policy(text: str, name: str) -> Source[Policy]:
    """The policy in ``text``; what is another kind of file is told as that, and not by what it lacks as a policy."""
    problems: Sequence[Problem]
    try:
        policy = read_policy(text, name)
        problems = policy.problems
    except PolicyError as error:
        policy, problems = None, error.problems
    if problems and (kind := kind_of(text)) != "policy":
        what, help = _OTHER_FILES[kind]
        raise PolicyError([Problem("not-a-policy", f"this is {what}, not a policy", help=help, source=name)])
    if policy is None:
        raise PolicyError(problems)
    return policy


def _load_catalog(path: str) -> Source[Catalog] | None:
    """The catalog, or None where the policy has to report that there is none."""
    if not os.path.isfile(path):
        return None
    try:
        return read_catalog(read_text(path), path)
    except PolicyError as error:
        return unreadable_catalog(path, error.problems)
