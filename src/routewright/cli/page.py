"""What a report consists of, whatever form it is written in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from routewright.engine.report import ReportTree

from .shown import Shown


@dataclass(frozen=True, slots=True)
class Detail:
    """What a reader may want to see of one case: outlines, and the command that shows all of it."""

    title: str
    trees: Sequence[ReportTree]
    command: str


@dataclass(frozen=True, slots=True)
class Section:
    """A question and its answer; ``shown`` is None where there is none, and ``note`` says why then.

    ``failed`` is of a question that could not be asked. ``lines`` stand below the table, of which ``bad_rows`` are what
    a reader has to see.
    """

    name: str
    title: str
    tells: str
    shown: Shown | None
    note: str | None = None
    failed: bool = False
    lines: Sequence[str] = ()
    details: Sequence[Detail] = ()
    bad_rows: Collection[int] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """What stands in the report: ``summary`` is the result, ``facts`` are the period and how fresh it is, ``notices``
    what is to be known first."""

    title: str
    facts: Sequence[str]
    notices: Sequence[str]
    sections: Sequence[Section]
    summary: Sequence[str] = ()
