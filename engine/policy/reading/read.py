"""Reads the texts of files as shapes: ``Policy``, ``Catalog``, ``TestFile``, each with its document.

A mistake in a file's shape does not hide the others: it is noted, the part is set aside, and the rest is read
on, so that one run reports everything. Reads no files: who calls brings the text and the name to report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from ...report import PolicyError, Problem, limit_problems
from ..shapes.catalog import Catalog
from ..shapes.policy import Policy
from ..source.document import Document, Node, Path, SourceText
from ..source.nodes import parse_yaml
from .recover import set_aside
from .respell import respell
from .shape_problems import empty_value, shape_problems

FileKind = Literal["policy", "catalog", "tests", "samples", "prompts", "question", "mapping"]

_BEGIN: Final = "such a file begins with `routewright: 1`"

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Source(Generic[S]):
    """A file's shape, the document it was read from, and what is wrong with it so far.

    Where there are problems, ``shape`` and ``document`` are without the parts that could not be read. The
    nodes of the document remember what they are without (``Node.lost``): nothing is reported for lacking it.
    """

    shape: S
    document: Document
    problems: tuple[Problem, ...] = ()


def read_policy(text: str, source: str) -> Source[Policy]:
    """Return the policy in ``text``, reported as ``source``. Raises PolicyError if nothing can be read."""
    return read_shape(text, source, Policy)


def read_catalog(text: str, source: str) -> Source[Catalog]:
    """Return the catalog in ``text``, reported as ``source``.

    Never raises: of a catalog that cannot be read at all, the source has problems and no models, so that they
    can be reported together with those of the policy.
    """
    try:
        return read_shape(text, source, Catalog)
    except PolicyError as error:
        return unreadable_catalog(source, error.problems, text=text)


def unreadable_catalog(source: str, problems: Sequence[Problem], *, text: str = "") -> Source[Catalog]:
    """A catalog of which nothing could be read but what is wrong with it."""
    nothing = Catalog.model_construct(routewright=1, backends={}, models={})
    return Source(nothing, Document(SourceText(text, source), Node({}, 0, 0)), tuple(problems))


_KIND_BY_KEY: Final[Mapping[str, FileKind]] = {
    "calls": "mapping",  # which may have features too
    "rules": "policy",
    "features": "policy",
    "cases": "tests",
    "models": "catalog",
    "backends": "catalog",
    "prompts": "prompts",
    "sql": "question",
}
"""What each key at the top of a file says of its kind; the first that is there counts."""


def kind_of(text: str) -> FileKind:
    """What a file is, by its keys at the top; one that cannot be told is taken for a policy."""
    try:
        root = parse_yaml(text, "").root
    except PolicyError:
        return "policy"
    if root.children.keys() == {"tasks"}:  # other tools have files with this key too, beside others
        return "samples"
    found = (kind for key, kind in _KIND_BY_KEY.items() if key in root.children)
    return next(found, "policy")


def read_shape(text: str, source: str, model: type[S]) -> Source[S]:
    """The file as ``model``, as far as it fits, with its problems. Raises PolicyError when nothing of it does."""
    document = parse_yaml(text, source)
    if not isinstance(document.root.value, dict):
        problem = Problem("not-a-mapping", "the file must be a mapping of keys to values")
        raise PolicyError([document.place(problem, document.root.start, document.root.end)])
    keys = document.root.children.keys()
    if keys and not document.problems and not keys & model.model_fields.keys():
        # One problem, instead of one for each unknown and each missing key of a foreign file.
        problem = Problem("foreign-file", "the file has no key of a policy, a catalog or a test file", _BEGIN)
        raise PolicyError([document.place(problem, document.root.start, document.root.start + 1)])
    read, document, problems = _read(document, model)
    problems = [*document.problems, *problems, *_empty_values(document)]
    return Source(read, document, tuple(limit_problems(problems)))


def _read(document: Document, model: type[S]) -> tuple[S, Document, list[Problem]]:
    """What of the document fits the model, the document without the rest, and what is wrong with that."""
    problems: list[Problem] = []
    # What YAML could not make sense of has been reported; that it does not fit is no news.
    known = {(problem.line, problem.column) for problem in document.problems}
    read = _fitted(document, model)
    if isinstance(read, ValidationError):
        problems += shape_problems(read, document, model)
        respelled = respell(read, document, model)
        if respelled.keys:
            document = replace(document, root=respelled.root)
            read = _fitted(document, model)
        if respelled.keys and isinstance(read, ValidationError):
            problems += filter(respelled.is_inside, shape_problems(read, document, model))
    problems = [one for one in problems if (one.line, one.column) not in known]
    while isinstance(read, ValidationError):
        root = set_aside(read, document.root)
        if root is None:
            raise PolicyError(limit_problems([*document.problems, *problems])) from None
        document = replace(document, root=root)
        read = _fitted(document, model)
    return read, document, problems


def _fitted(document: Document, model: type[S]) -> S | ValidationError:
    try:
        return model.model_validate(document.root.plain())
    except ValidationError as error:
        return error


def _empty_values(document: Document) -> Iterator[Problem]:
    """A key without a value: in a policy it would be as good as left out, in silence. Each counts as lost."""
    todo: list[tuple[Path, Node]] = [((), document.root)]
    while todo:
        path, node = todo.pop()
        for step, child in node.children.items():
            below = (*path, step)
            if child.value is None and not _may_be_empty(below):
                node.lost |= {step}
                yield empty_value(below, document)
            todo.append((below, child))


def _may_be_empty(path: Path) -> bool:
    """The features of a case: there an empty value says that the value is unknown."""
    return len(path) == 5 and path[0] == "cases" and path[2:4] == ("task", "features")
