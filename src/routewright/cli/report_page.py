"""Writes answers as one page of HTML that needs nothing else: no script, no network, charts in SVG.

Every text is escaped, and every chart has its numbers in the table below it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from routewright.engine.report import ReportTree, escape_line

from .page import Detail, Page, Section
from .shown import Drawn, Point, Shown, highest, short_id
from .table import numeric_columns

_MOST_BARS = 20
"""A chart of more bars is no overview; the table has them all."""

_LONG = 30
"""A cell of more characters is wrapped; shorter ones stay on a line, and a table that is too wide can be scrolled."""

_CODE = re.compile(r"`([^`]+)`")

_MOST_ROWS = 200
"""So many rows of a table are on the page, which says how many more there are."""

_STYLE_FILE = Path(__file__).with_suffix(".css")

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page_html(page: Page) -> str:
    """The page as a whole document."""
    title, style = _text(page.title), _STYLE_FILE.read_text(encoding="utf-8")
    head = (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    )
    links = "".join(f'<li><a href="#{_text(one.name)}">{_text(one.title)}</a></li>' for one in page.sections)
    top = [
        f"<header>\n<h1>{title}</h1>",
        *(f'<p class="first">{_text(line)}</p>' for line in page.summary),
        *(f'<p class="soft">{_text(fact)}</p>' for fact in page.facts),
        *(f'<p class="notice">{_text(notice)}</p>' for notice in page.notices),
        f"<nav><ul>{links}</ul></nav>\n</header>\n<main>",
    ]
    body = [line for section in page.sections for line in _section(section)]
    return head + "\n".join([*top, *body, "</main>\n</body>\n</html>\n"])


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{_text(section.name)}">\n<h2>{_text(section.title)}</h2>'
    if section.tells:
        yield f'<p class="soft">{_prose(section.tells)}</p>'
    if section.note is not None:
        yield f"<p>{_text(section.note)}</p>"
    if section.shown is not None:
        for chart in section.shown.charts:
            yield _chart(chart)
        yield from _table(section.shown, section.bad_rows)
    for line in section.lines:
        yield f"<p>{_prose(line)}</p>"
    for detail in section.details:
        yield _detail(detail)
    yield "</section>"


def _detail(detail: Detail) -> str:
    trees = "".join(f"<li>{_branch(tree)}</li>" for tree in detail.trees)
    return (
        f"<details>\n<summary>{_text(detail.title)}</summary>\n<ul>{trees}</ul>\n"
        f"<p><code>{_text(detail.command)}</code></p>\n</details>"
    )


def _branch(tree: ReportTree) -> str:
    below = "".join(f"<li>{_branch(child)}</li>" for child in tree.children)
    return _text(tree.label) + (f"<ul>{below}</ul>" if below else "")


def _prose(text: str) -> str:
    """Text of ours, in which names of commands are in backticks."""
    return _CODE.sub(r"<code>\1</code>", _text(text))


def _chart(chart: Drawn) -> str:
    if chart.kind == "line":
        return "".join(_days(chart, name) for name in chart.points)
    points = chart.all_points
    more = f", the first {_MOST_BARS} of {len(points)}" if len(points) > _MOST_BARS else ""
    points = points[:_MOST_BARS]
    rows = "".join(_bar(point, _share(point, points)) for point in points)
    return f'<figure>\n<figcaption>{_text(chart.title + more)}</figcaption>\n<div class="bars">{rows}</div>\n</figure>'


def _share(point: Point, points: Sequence[Point]) -> float:
    """How much of the largest number of ``points`` this one is."""
    most = highest(points)
    if point.number is None or most is None or not most.number or most.number < 0:
        return 0.0
    return max(point.number, 0.0) / most.number


def _bar(point: Point, share: float) -> str:
    return (
        f"<span>{_text(point.label)}</span>"
        f'<svg role="img" aria-label="{_text(f"{point.label}: {point.text}")}">'
        f'<rect width="{share:.2%}" height="100%" rx="2"/></svg>'
        f'<span class="number">{_text(point.text)}</span>'
    )


def _days(chart: Drawn, name: str) -> str:
    points = chart.points[name]
    step = 100 / len(points)
    drawn = "".join(
        f'<rect x="{(index + 0.1) * step:.3f}%" y="{1 - share:.2%}" width="{0.8 * step:.3f}%" height="{share:.2%}">'
        f"<title>{_text(f'{point.label}: {point.text}')}</title></rect>"
        for index, point in enumerate(points)
        if (share := _share(point, points)) > 0
    )
    most = highest(points)
    first, last = _text(points[0].label), _text(points[-1].label)
    caption = f"{chart.title}{f' of {name}' if name else ''}{f', at most {most.text}' if most else ''}"
    return (
        f'<figure>\n<figcaption>{_text(caption)}</figcaption>\n<div class="days">'
        f'<svg role="img" aria-label="{_text(caption)}">{drawn}</svg></div>\n'
        f'<div class="ends"><span>{first}</span><span>{last}</span></div>\n</figure>'
    )


def _table(shown: Shown, bad_rows: Collection[int] = ()) -> Iterator[str]:
    right = [' class="number"' if one else "" for one in numeric_columns(shown.header, shown.rows)]
    yield '<div class="wide"><table>\n<thead><tr>'
    yield "".join(f"<th{side}>{_text(name)}</th>" for name, side in zip(shown.header, right, strict=True))
    yield "</tr></thead>\n<tbody>"
    for at, row in enumerate(shown.rows[:_MOST_ROWS]):
        cells = "".join(_cell(cell, side) for cell, side in zip(row, right, strict=True))
        yield f"<tr{' class=bad' if at in bad_rows else ''}>{cells}</tr>"
    yield "</tbody></table></div>"
    if (more := len(shown.rows) - _MOST_ROWS) > 0:
        yield f'<p class="soft">and {more:,} more rows</p>'


def _cell(cell: str, side: str) -> str:
    if (short := short_id(cell)) != cell:
        return f'<td title="{_text(cell)}">{_text(short)}</td>'
    return f"<td{side or (' class=long' if len(cell) > _LONG else '')}>{_text(cell)}</td>"


def _text(text: str) -> str:
    """Text for HTML, also inside an attribute; invisible characters are shown as escapes."""
    return html.escape(escape_line(text))
