"""Reads test files, and finds what is wrong in one beyond its shape.

Whether the policy knows the names that the cases use is for the runner to say.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...report import PolicyError, Problem, limit_problems
from ..reading.read import Source, read_shape
from ..shapes.testfile import TestFile
from ..source.document import Document
from .report import Report


def read_tests(text: str, source: str) -> Source[TestFile]:
    """Return the test file in ``text``, reported as ``source``. Raises PolicyError with all its problems."""
    read = read_shape(text, source, TestFile)
    problems = limit_problems([*read.problems, *_problems(read.shape, read.document)])
    if problems:
        raise PolicyError(problems)
    return read


def _problems(tests: TestFile, document: Document) -> Iterator[Problem]:
    """Names used twice, cases that expect nothing, and conditions that YAML may have changed."""
    report = Report(document, ())
    names: set[str] = set()
    for number, case in enumerate(tests.cases):
        here = report.at("cases", number)
        if case.name in names:
            here.at("name").add("duplicate-name", f"another of the cases is called `{case.name}`")
        names.add(case.name)
        if not case.expect.model_fields_set and not here.lost("expect"):
            help = "such as outcome, rule, target, fallbacks"
            here.at("expect").add("missing-key", f"case `{case.name}` expects nothing", help, at_key=True)
        if case.expect.every is not None:
            here.at("expect", "every").well_written()
    yield from report.problems
