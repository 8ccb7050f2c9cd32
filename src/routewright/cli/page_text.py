"""Writes a report as text: for a terminal, or into a file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from routewright.engine.report import ReportTree, escape_flat, escape_line, render_tree

from .page import Page, Section
from .table import column_lines


class Printer(Protocol):
    """What lines, tables and outlines are written by: the writer of a command, or ``TextOfFile``."""

    def text(self, text: str = "") -> None:
        """Write one line."""

    def heading(self, text: str) -> None:
        """Write a heading."""

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table."""

    def tree(self, tree: ReportTree) -> None:
        """Write an outline."""


def print_page(page: Page, to: Printer) -> None:
    """Write the report, with its details at the end; its notices are left to the caller, as they are no result."""
    to.heading(page.title)
    for line in page.facts:
        to.text(line)
    if page.summary:
        to.text()
    for line in page.summary:
        to.text(line)
    for section in page.sections:
        _print_section(section, to)
    details = [detail for section in page.sections for detail in section.details]
    if details:
        to.text()
        to.heading("Examples")
    for number, detail in enumerate(details):
        if number:
            to.text()
        to.tree(ReportTree(detail.title, [*detail.trees, ReportTree(detail.command)]))


def _print_section(section: Section, to: Printer) -> None:
    to.text()
    to.heading(section.title)
    for line in (section.tells, section.note):
        if line:
            to.text(line)
    if section.shown is not None:
        to.table(section.shown.header, section.shown.rows)
    for line in section.lines:
        to.text(line)


class TextOfFile:
    """Collects the text of a report for a file."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def text(self, text: str = "") -> None:
        """Add one line."""
        self._lines.append(escape_line(text))

    def heading(self, text: str) -> None:
        """Add a heading."""
        self.text(text)

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table, in columns as wide as they need."""
        clean = [list(map(escape_flat, row)) for row in rows]
        self._lines += column_lines(list(map(escape_flat, header)), clean)

    def tree(self, tree: ReportTree) -> None:
        """Add an outline."""
        self._lines.append(render_tree(tree))

    def __str__(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)
