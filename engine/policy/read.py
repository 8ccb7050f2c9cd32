"""File texts in, shapes out: ``Policy``, ``Catalog``, ``TestFile``, each with the document it came from.

A mistake in a file's shape does not hide the others: it is noted, the part is set aside, and the rest is read
on, so that one run reports everything. Reads no files: who calls brings the text and the name to report.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import PolicyError, Problem
from ..problems import sort_problems
from .catalog import Catalog
from .nodes import Document, parse_yaml
from .recover import set_aside
from .shape import Policy
from .shape_problems import shape_problems
from .testfile import TestFile

__all__ = ["Source", "read_catalog", "read_policy", "read_tests"]

S = TypeVar("S", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Source(Generic[S]):
    """A file's shape, the document it was read from, and what is wrong with it so far.

    Where there are problems, ``shape`` and ``document`` are without the parts that could not be read, and
    ``set_aside`` names those parts, such as ``("chains", "coding")``: nothing is reported for lacking them.
    """

    shape: S
    document: Document
    problems: tuple[Problem, ...] = ()
    set_aside: frozenset[tuple[str | int, ...]] = frozenset()


def read_policy(text: str, source: str) -> Source[Policy]:
    """Return the policy in ``text``, reported as ``source``. Raises PolicyError if nothing can be read."""
    return _read(text, source, Policy)


def read_catalog(text: str, source: str) -> Source[Catalog]:
    """Return the catalog in ``text``, reported as ``source``. Raises PolicyError if nothing can be read."""
    return _read(text, source, Catalog)


def read_tests(text: str, source: str) -> Source[TestFile]:
    """Return the test file in ``text``, reported as ``source``. Raises PolicyError with all its problems."""
    read = _read(text, source, TestFile)
    if read.problems:
        raise PolicyError(read.problems)
    return read


def _read(text: str, source: str, model: type[S]) -> Source[S]:
    document = parse_yaml(text, source)
    if not isinstance(document.root.value, dict):
        problem = Problem("not-a-mapping", "the file must be a mapping of keys to values")
        raise PolicyError([document.place(problem, document.root.start, document.root.end)])
    problems: list[Problem] = list(document.problems)
    aside: set[tuple[str | int, ...]] = set()
    reported = False
    while True:
        try:
            shape = model.model_validate(document.root.plain())
        except ValidationError as error:
            if not reported:
                problems += shape_problems(error, document, model)
                reported = True
            root = set_aside(error, document.root, aside)
            if root is None:
                raise PolicyError(sort_problems(problems)) from None
            document = replace(document, root=root)
            continue
        return Source(shape, document, tuple(sort_problems(problems)), frozenset(aside))
