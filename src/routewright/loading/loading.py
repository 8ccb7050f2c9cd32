"""Reads policies, catalogs and test files from disk and compiles them. Nothing else reads them.

A file that the caller names may be anywhere. A file that such a file names must be under the root (see ``reach``), and
none of its lines or values is shown unless it has the key ``routewright``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel

from routewright.engine.policy import (
    MAX_FILE_BYTES,
    Catalog,
    CompiledCatalog,
    CompiledPolicy,
    FileKind,
    Policy,
    Source,
    TestFile,
    UnfitCandidate,
    compile_catalog_file,
    compile_policy,
    kind_of,
    names_of_models,
    parse_yaml,
    place_problem,
    read_catalog,
    read_policy,
    read_tests,
    unreadable_catalog,
)
from routewright.engine.report import PolicyError, Problem

from .mapping import map_models
from .reach import SHIPPED_FOLDER, Root, UnreachableError, root_for

S = TypeVar("S", bound=BaseModel)

Maps = Mapping[str, str | None]
Declared = Mapping[str, Mapping[str, Any]]

# The key at the top of every Routewright file, as usually written: found even if the rest cannot be parsed.
_OURS: Final = re.compile(r"""^["']?routewright["']?[ \t]*:""", re.MULTILINE)


def load_policy(
    path: str | os.PathLike[str],
    *,
    maps: Maps | None = None,
    declared: Declared | None = None,
    root: str | os.PathLike[str] | Root | None = None,
) -> CompiledPolicy:
    """Return the policy in the file at ``path``, compiled against its catalog.

    The catalog's path is relative to the policy's file, and so is that of a rollout's candidate, which is loaded
    with the policy. Both must be under ``root``: by default $ROUTEWRIGHT_ROOT, else the nearest folder above
    ``path`` that holds ``.git``, else its own folder. ``maps`` replaces models, as in ``{"kimi-k2-cloud":
    "llamacpp:smollm2"}``, and ``declared`` replaces keys of backends, by id (see ``mapping``); policy and candidate
    each use the entries that their catalog knows. Raises PolicyError with all problems of all files, also for a file
    that cannot be read or is a catalog or a test file, and TaskError for an unknown model or backend in a mapping, or
    a root that is not a folder.
    """
    name = os.fspath(path)
    under = root_for(name, root)
    return _load(_sources(read_text(name), name, under), os.path.realpath(name), maps or {}, declared or {})


def _load(sources: _Sources, real: str, maps: Maps, declared: Declared) -> CompiledPolicy:
    """The policy of ``sources``, read from the file ``real``, compiled with the candidate of its rollout."""
    rollout = sources.policy.shape.rollout
    if rollout is None or not rollout.candidate:
        return sources.compiled(maps, declared)
    try:
        beside = _sources_of_candidate(sources, real, rollout.candidate)
        theirs, mine = beside.names(), sources.names()
        candidate: CompiledPolicy | UnfitCandidate = beside.compiled(
            {one: target for one, target in maps.items() if one in theirs[0]},
            {one: keys for one, keys in declared.items() if one in theirs[1]},
        )
        # What neither has is reported of the policy.
        maps = {one: target for one, target in maps.items() if one in mine[0] or one not in theirs[0]}
        declared = {one: keys for one, keys in declared.items() if one in mine[1] or one not in theirs[1]}
    except UnreachableError as error:
        candidate = UnfitCandidate(error.problem.code, error.problem.message, error.problem.help)
    except PolicyError as error:
        candidate = UnfitCandidate(problems=error.problems)
    return sources.compiled(maps, declared, candidate)


@dataclass(frozen=True, slots=True)
class _Sources:
    """A policy's file and its catalog's, as read, and the root of all files that they name."""

    policy: Source[Policy]
    catalog: Source[Catalog] | None
    root: Root

    def compiled(
        self,
        maps: Maps,
        declared: Declared,
        candidate: CompiledPolicy | UnfitCandidate | None = None,
    ) -> CompiledPolicy:
        policy, catalog = self.policy, self.catalog
        if maps or declared:
            policy, catalog = _mapped(policy, catalog, maps, declared)
        return compile_policy(policy, catalog, candidate=candidate)

    def names(self) -> tuple[Collection[str], Collection[str]]:
        """The models, and ``*``, that maps may name, and the backends."""
        inline = self.policy.shape.catalog
        shape = (
            inline if isinstance(inline, Catalog) else None if self.catalog is None else self.catalog.shape
        )
        return ((), ()) if shape is None else ({*names_of_models(shape), "*"}, set(shape.backends))


def _sources(text: str, name: str, root: Root) -> _Sources:
    """The sources of the policy in ``text``. Raises PolicyError if the policy cannot be parsed at all."""
    policy = _read_policy(text, name)
    file = policy.shape.catalog
    if not isinstance(file, str) or not file or "catalog" in policy.document.root.lost:
        return _Sources(policy, None, root)
    path = _beside(name, file)
    try:
        _, text = _reached(path, file, "catalog", root)
        catalog = read_catalog(text, path)
    except UnreachableError as error:
        return _Sources(_noted(policy, error, "catalog"), None, root)
    except PolicyError as error:
        catalog = unreadable_catalog(path, error.problems)
    if catalog.problems and kind_of(text) == "tests":
        refused = UnreachableError(
            "not-a-catalog", f"the catalog `{file}` is a file of policy tests", _NAME_IT
        )
        return _Sources(_noted(policy, refused, "catalog"), None, root)
    return _Sources(policy, catalog, root)


def _sources_of_candidate(sources: _Sources, real: str, file: str) -> _Sources:
    """The sources of a rollout's candidate. Raises UnreachableError and PolicyError."""
    path = _beside(sources.policy.document.source, file)
    found, text = _reached(path, file, "candidate", sources.root)
    if found == real:
        raise UnreachableError(
            "own-candidate", f"the candidate `{file}` is this policy itself", "name a file of its own"
        )
    return _sources(text, path, sources.root)


_NAME_IT: Final = "its lines are not shown; to see them, run `routewright check` on the file itself"


def _reached(
    path: str, written: str, what: Literal["catalog", "candidate", "policy"], root: Root
) -> tuple[str, str]:
    """The real path and the text of a file that another file names.

    Raises UnreachableError for one that is not to be read or is not one of Routewright's, and PolicyError for one
    that is too large or is not UTF-8.
    """
    real = root.find(path, written, what)
    text = _text_of(root.read(real, written, what, limit=MAX_FILE_BYTES + 1), path)
    if not is_ours(text, path):
        message = f"the {what} `{written}` has no key `routewright`, so it is not a Routewright file"
        raise UnreachableError(f"not-a-{what}", message, _NAME_IT)
    return real, text


def is_ours(text: str, name: str) -> bool:
    """Whether a text claims to be a policy, a catalog or a test file; nothing of any other text is shown."""
    if _OURS.search(text) is not None:
        return True
    try:
        return "routewright" in parse_yaml(text, name).root.children  # written as JSON, for example
    except PolicyError:
        return False


def _noted(source: Source[S], error: UnreachableError, *path: str) -> Source[S]:
    """The naming source, with the problem of the named file reported at ``path``."""
    problem = place_problem(replace(error.problem, path=path), source.document)
    return replace(source, problems=(*source.problems, problem))


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


def load_tests(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | Root | None = None
) -> tuple[TestFile, CompiledPolicy]:
    """Return the cases in the file at ``path``, and the policy that the file names.

    The policy, and the files that it names, must be under ``root``, as for ``load_policy``. Raises PolicyError.
    """
    name = os.fspath(path)
    under = root_for(name, root)
    tests = read_tests(read_text(name), name)
    file = tests.shape.policy
    beside = _beside(name, file)
    try:
        real, text = _reached(beside, file, "policy", under)
    except UnreachableError as error:
        raise PolicyError(_noted(tests, error, "policy").problems) from None
    return tests.shape, _load(_sources(text, beside, under), real, {}, {})


def _mapped(
    policy: Source[Policy],
    catalog: Source[Catalog] | None,
    maps: Maps,
    declared: Declared,
) -> tuple[Source[Policy], Source[Catalog] | None]:
    """The sources with the catalog mapped; as they are where they have problems to be reported first."""
    inline = policy.shape.catalog
    if catalog is not None and not catalog.problems:
        text = map_models(catalog.document.root.plain(), catalog.shape, maps, declared)
        return policy, read_catalog(text, f"{catalog.document.source} (mapped)")
    if isinstance(inline, Catalog) and not policy.problems:
        plain = policy.document.root.plain()
        plain["catalog"] = json.loads(map_models(plain["catalog"], inline, maps, declared))
        return read_policy(json.dumps(plain, ensure_ascii=False), f"{policy.document.source} (mapped)"), None
    return policy, catalog


def read_text(path: str) -> str:
    """The text of a file. Raises PolicyError when it cannot be read, is too large or is not UTF-8."""
    try:
        with open(path, "rb") as file:
            return _text_of(file.read(MAX_FILE_BYTES + 1), path)
    except OSError as error:
        message = f"cannot read the file: {(error.strerror or str(error)).lower()}"
        help = "`check` takes folders" if os.path.isdir(path) else None
        raise PolicyError([Problem("unreadable-file", message, help, source=path)]) from None


def _text_of(content: bytes, path: str) -> str:
    """The bytes of a file as text. Raises PolicyError if they are too many or not UTF-8."""
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
    return SHIPPED_FOLDER / name


_OTHER_FILES: Mapping[FileKind, tuple[str, str]] = {
    "catalog": (
        "a catalog",
        "name a policy that uses it, by `catalog:`; `check` and `models` take catalogs too",
    ),
    "samples": ("a file of sample tasks", "name the policy that decides them; `check` takes samples too"),
    "prompts": ("a file of prompts of steps", "name a policy; `check` takes prompts too"),
    "question": ("a saved question", "ask it by `routewright ledger ask`; `check` takes questions too"),
    "mapping": (
        "a mapping of an import",
        "name it by `routewright ledger import table FILE --map`; `check` takes mappings too",
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
