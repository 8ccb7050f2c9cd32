"""What people see of a question's answer: titles and cells with their units, and what its chart draws."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from routewright.ledger import Chart, QueryResult, Question, QuestionError, Unit, to_table

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_ID_LENGTH = 18
"""The time in milliseconds and 12 more bits."""

_SECONDS_FROM_MS = 10_000
"""If one time of an answer is as long, all are told in seconds."""


class Point(NamedTuple):
    """What is drawn of a row: its label, its number where that is known, and the number as people read it."""

    label: str
    number: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A chart of some ``kind``: its points by series; a single series has the name ``""``."""

    kind: str
    title: str
    points: dict[str, list[Point]]

    @property
    def all_points(self) -> list[Point]:
        """The points of all series, in the order of the rows."""
        return [point for series in self.points.values() for point in series]


def highest(points: Sequence[Point]) -> Point | None:
    """The point with the largest number, if any has one."""
    known = [point for point in points if point.number is not None]
    return max(known, key=lambda point: point.number or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class Shown:
    """An answer as a table, and what its chart draws."""

    header: list[str]
    rows: list[list[str]]
    charts: list[Drawn]


def shown(question: Question, result: QueryResult, values: Mapping[str, object]) -> Shown:
    """The answer to a question that was asked with ``values``.

    A column that is named like a parameter with a choice is titled by the value: ``by`` becomes ``model``. Raises
    QuestionError if the answer lacks a column that the question's units or chart name.
    """
    for name in question.shape.units:
        if not name.endswith("*") and name not in result.columns:
            raise _lacks(question, "units", name)
    units = [_unit(question, name) for name in result.columns]
    header, rows = to_table(result)
    scale = _scale(units, result)
    cells = [
        [_cell(value, unit, text, scale) for value, unit, text in zip(row, units, texts, strict=True)]
        for row, texts in zip(result.rows, rows, strict=True)
    ]
    chosen = {name: str(values[name]) for name, one in question.shape.parameters.items() if one.one_of}
    titles = [chosen.get(name) or _title(name, unit) for name, unit in zip(header, units, strict=True)]
    chart = question.shape.chart
    columns = [] if chart is None else _charted(question, chart, result)
    drawn = [] if chart is None else [_drawn(chart, result, cells, titles, index) for index in columns]
    return Shown(titles, cells, drawn)


def short_id(text: str) -> str:
    """The beginning of a decision's id, which nearly always tells it from all others; other text as it is."""
    return text[:_ID_LENGTH] if _ID.fullmatch(text) else text


@dataclass(frozen=True, slots=True)
class Scale:
    """How the numbers of one answer are written, so that they can be compared: times in seconds or in milliseconds, and
    money with so many decimals that the least amount shows three digits, and that up to six decimals are all there."""

    seconds: bool = False
    places: int = 2


def unit_text(value: float | Decimal, unit: Unit, scale: Scale) -> str:
    """A number with its unit.

    >>> unit_text(850.4, "ms", Scale()), unit_text(850.4, "ms", Scale(seconds=True))
    ('850 ms', '0.85 s')
    """
    match unit:
        case "ms":
            seconds = float(value) / 1000
            return f"{seconds:,.{2 if abs(seconds) < 10 else 1}f} s" if scale.seconds else f"{value:,.0f} ms"
        case "percent":
            return f"{value * 100:.1f} %"
        case "points":
            return f"{value * 100:+.1f} points"
        case "count":
            return f"{value:,.0f}"
        case "money":
            return f"{value:,.{scale.places}f}" if value else "0"
        case "number":
            tiny = 0 < abs(float(value)) < 0.001
            return f"{value:.4g}" if tiny else f"{value:,.6f}".rstrip("0").rstrip(".")


def _scale(units: Sequence[Unit | None], result: QueryResult) -> Scale:
    found: dict[Unit | None, list[float]] = {}
    for row in result.rows:
        for value, unit in zip(row, units, strict=True):
            if (number := _number(value)) is not None:
                found.setdefault(unit, []).append(abs(number))
    amounts = [amount for amount in found.get("money", ()) if amount]
    least = min(amounts, default=1.0)
    places = 2
    if least < 1:
        digits = max(len(f"{amount:.6f}".rstrip("0").partition(".")[2]) for amount in amounts)
        places = max(2, digits, min(9, 2 - math.floor(math.log10(least))))
    return Scale(max(found.get("ms", ()), default=0.0) >= _SECONDS_FROM_MS, places)


def _unit(question: Question, column: str) -> Unit | None:
    for name, unit in question.shape.units.items():
        if column == name or (name.endswith("*") and column.startswith(name[:-1])):
            return unit
    return None


def _title(column: str, unit: Unit | None) -> str:
    """The name of a column without the unit that its cells have."""
    if unit == "money":
        name, _, currency = column.rpartition("_")
        return (
            f"{name.replace('_', ' ')} {currency.upper()}"
            if name and len(currency) == 3
            else column.replace("_", " ")
        )
    name = column.removesuffix("_ms") if unit == "ms" else column
    return name.replace("_", " ")


def _cell(value: object, unit: Unit | None, text: str, scale: Scale) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds").removesuffix("+00:00")
    if unit is None or _number(value) is None or not isinstance(value, int | float | Decimal):
        return text
    return unit_text(value, unit, scale)


def _charted(question: Question, chart: Chart, result: QueryResult) -> list[int]:
    for name in (*chart.labels, *([] if chart.series is None else [chart.series])):
        if name not in result.columns:
            raise _lacks(question, "chart", name)
    found = [result.columns.index(name) for name in chart.columns(result.columns)]
    if not found:
        raise _lacks(question, "chart", chart.value)
    return [index for index in found if any(_number(row[index]) is not None for row in result.rows)]


def _lacks(question: Question, key: str, name: str) -> QuestionError:
    return QuestionError(
        f"`{key}` of `{question.name}` names the column `{name}`, which the statement does not give",
        help=f"change `{key}` in {question.source}",
    )


def _drawn(
    chart: Chart,
    result: QueryResult,
    cells: Sequence[Sequence[str]],
    titles: Sequence[str],
    index: int,
) -> Drawn:
    labels = [result.columns.index(name) for name in chart.labels]
    series = None if chart.series is None else result.columns.index(chart.series)
    points: dict[str, list[Point]] = {}
    for row, texts in zip(result.rows, cells, strict=True):
        name = "" if series is None else texts[series]
        points.setdefault(name, []).append(
            Point(
                ", ".join(texts[one] or "-" for one in labels), _number(row[index]), texts[index] or "unknown"
            )
        )
    return Drawn(chart.kind, titles[index], points)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    return float(value) if math.isfinite(value) else None
