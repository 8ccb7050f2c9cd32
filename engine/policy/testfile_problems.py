"""A test file's shape in, what is wrong with it beyond its shape out. Whether the policy knows the names that
the cases use is for the runner to say."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import Problem
from .document import Document
from .report import Report
from .testfile import TestFile

__all__ = ["problems_of_tests"]


def problems_of_tests(tests: TestFile, document: Document) -> Iterator[Problem]:
    """Names used twice, cases that expect nothing, and conditions that YAML may have changed."""
    report = Report(document, ())
    names: set[str] = set()
    for number, case in enumerate(tests.cases):
        path = ("cases", number)
        if case.name in names:
            report.add("duplicate-name", f"another of the cases is called `{case.name}`", (*path, "name"))
        names.add(case.name)
        if not case.expect.model_fields_set and not report.lost((*path, "expect")):
            help = "such as outcome, rule, target, fallbacks"
            report.add(
                "missing-key", f"case `{case.name}` expects nothing", (*path, "expect"), help, at_key=True
            )
        if case.expect.every is not None:
            report.well_written((*path, "expect", "every"))
    yield from report.problems
