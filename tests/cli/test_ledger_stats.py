"""``ledger stats`` and ``ledger report``: the metrics at a glance, and the page with all questions."""

from __future__ import annotations

import json
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.ledger_rows import attempt, decision, policy
from support.new_ledgers import new_ledger
from test_hostile_texts import HOSTILE
from test_terminal import ESCAPES, on_terminal

from routewright.cli.page import Page, Section
from routewright.cli.report import _ASKED
from routewright.cli.report_page import page_html
from routewright.cli.shown import Drawn, Point, Scale, Shown, shown, unit_text
from routewright.ledger import QueryResult, shipped_questions


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A ledger with three simulated runs, one of which fell back."""
    command = CommandLine(tmp_path_factory.mktemp("stats"))
    run = ("run", "policy.yaml", "hello", "--simulate", "--tag", "team=search")
    for more in ([], ["-f", "complex_reasoning=true"], ["--fail", "small=overloaded"]):
        assert command(*run, *more).code == 0
    return command


def test_the_metrics_are_shown_together(command: CommandLine) -> None:
    ended = command("ledger", "stats", "--simulated")
    assert (ended.code, ended.err) == (0, "")
    first, second, *rest = ended.out.splitlines()
    assert first.startswith("simulated work since 20") and first.endswith(" UTC, by model")
    assert second == "3 decisions, 3 answered, 0 not answered, 0 without a model to go to; 1 fell back"
    assert [line for line in rest if line.endswith("?")] == [
        shipped_questions()[name].shape.question for name in ("latency", "success", "fallbacks", "cost")
    ]
    rows = [line.split() for line in rest]
    assert ["small", "2", "1", "0", "1", "0", "50.0", "%"] in rows
    assert ["large", "2", "2", "0", "0", "0", "100.0", "%"] in rows
    assert ["small", "2", "1", "0", "50.0", "%"] in rows


def test_json_has_the_rows_of_each_metric(command: CommandLine) -> None:
    told = json.loads(command("ledger", "stats", "--simulated", "--by", "team", "--format", "json").out)
    assert (told["by"], told["simulated"]) == ("team", True)
    assert told["success"] == [
        {"by": "search", "calls": 4, "ok": 3, "partial": 0, "failed": 1, "lost": 0, "success_rate": 0.75}
    ]
    assert told["daily"][-1]["decisions"] == 3


def test_on_a_terminal_of_80_columns_every_table_has_its_bars(command: CommandLine) -> None:
    seen = ESCAPES.sub("", on_terminal(command, "ledger", "stats", "--simulated", columns=80))
    assert max(map(len, seen.splitlines())) <= 80
    assert seen.count("████████████") == 4 - 1, seen  # nothing is known of what it cost


def test_nothing_to_show_is_said_with_the_next_step(command: CommandLine, tmp_path: Path) -> None:
    new = new_ledger(tmp_path / "empty.duckdb")
    stats = ("ledger", "stats", "--ledger", str(new.path))
    empty = command(*stats)
    assert (empty.code, len(empty.out.splitlines())) == (0, 1)
    assert empty.err == "the ledger has no real work: run a task first\n"
    calls = tmp_path / "calls.jsonl"
    calls.write_text('{"id": "a", "model": "big"}\n')
    new.import_file("calls", calls, name="results")
    for asked in (stats, ("ledger", "ask", "cost", "--ledger", str(new.path))):
        [_, told] = command(*asked).err.splitlines()
        assert (
            told.startswith("1 imported request is not counted: ") and " ledger ask imported-models " in told
        )
    new.append([decision(1)], [attempt(1, simulated=False)], [policy()])
    assert command(*stats).err.startswith("nothing was decided in this time; look further back:\n")


# --- units -------------------------------------------------------------------------------------------------


def test_times_of_one_answer_have_one_unit() -> None:
    def told(*times: float | None) -> list[str]:
        result = QueryResult(
            ("by", "calls", "p50_ms", "p95_ms", "p99_ms", "streamed", "first_token_ms"),
            (),
            (("m", 1200, *times, 0, None),),
            False,
        )
        made = shown(shipped_questions()["latency"], result, {"by": "team"})
        assert made.header == ["team", "calls", "p50", "p95", "p99", "streamed", "first token"]
        return made.rows[0][1:5]

    assert told(850.4, 9_999.0, None) == ["1,200", "850 ms", "9,999 ms", ""]
    assert told(850.4, 10_000.0, 123_456.0) == ["1,200", "0.85 s", "10.0 s", "123.5 s"]


def test_amounts_of_one_answer_have_as_many_decimals() -> None:
    def told(*amounts: str | None) -> list[str]:
        rows = tuple(("m", 1, 0, None if one is None else Decimal(one), 0, 0) for one in amounts)
        columns = ("by", "calls", "no_answer", "known_cost_usd", "unknown", "at_least")
        made = shown(shipped_questions()["cost"], QueryResult(columns, (), rows, False), {"by": "team"})
        assert made.header[3] == "known cost USD"
        return [row[3] for row in made.rows]

    assert told("1234.5", "2", None) == ["1,234.50", "2.00", ""]
    assert told("0.000725", "0", "12.345") == ["0.000725", "0", "12.345000"]
    assert told("0.142377", "0.5") == ["0.142377", "0.500000"]
    assert told("0.25", "1234.5", "0.1234567891") == ["0.250000", "1,234.500000", "0.123457"]


def test_a_number_keeps_six_decimals() -> None:
    numbers = (0.0, 1.0, 0.142377, -1234567.5, 2 / 3, 0.00001234567)
    told = ["0", "1", "0.142377", "-1,234,567.5", "0.666667", "1.235e-05"]
    assert [unit_text(one, "number", Scale()) for one in numbers] == told


# --- the page ----------------------------------------------------------------------------------------------


class Parsed(HTMLParser):
    """A page taken apart; every element has to be closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))
        self.open += [] if tag == "meta" else [tag]

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.texts.append(data)


def test_the_page_is_whole_and_needs_nothing_else(command: CommandLine) -> None:
    ended = command("ledger", "report", "-o", "page.html", "--simulated", "--title", "Our week")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    text = (command.folder / "page.html").read_text(encoding="utf-8")
    page = Parsed(text)
    assert text.startswith("<!DOCTYPE html>\n")
    assert {tag for tag, _ in page.found} & {"script", "img", "link", "iframe", "object"} == set()
    for _, attributes in page.found:
        assert not {"src", "style"} & attributes.keys() and not any(
            name.startswith("on") for name in attributes
        )
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text and "@import" not in text and "http" not in text.replace("http-equiv", "")
    sections = [attributes["id"] for tag, attributes in page.found if tag == "section"]
    links = [attributes["href"] for tag, attributes in page.found if tag == "a"]
    assert links == [f"#{one}" for one in sections] and len(set(sections)) == len(sections) == len(_ASKED)
    assert page.texts[0] == page.texts[1] == "Our week"
    assert "prefers-color-scheme: dark" in text and "@media print" in text and "width=device-width" in text


def test_every_number_of_a_chart_is_in_its_table() -> None:
    points = [Point("a", 2.0, "2 ms"), Point("b", None, "unknown"), Point("c", 1.0, "1 ms")]
    table = Shown(["what", "took"], [["a", "2 ms"], ["b", ""], ["c", "1 ms"]], [])
    for kind in ("bars", "line"):
        section = Section("x", "X?", "", Shown(table.header, table.rows, [Drawn(kind, "took", {"": points})]))
        page = Parsed(page_html(Page("t", [], [], [section])))
        drawn = [attributes for tag, attributes in page.found if tag == "rect"]
        sizes = [one["width" if kind == "bars" else "height"] for one in drawn]
        assert sizes == (["100.00%", "0.00%", "50.00%"] if kind == "bars" else ["100.00%", "50.00%"])
        assert [page.texts.count(text) >= 1 for text in ("2 ms", "1 ms", "took")] == [True] * 3


def test_no_text_of_a_page_is_markup(command: CommandLine) -> None:
    cells = [[HOSTILE, "<script>alert(1)</script>"]]
    chart = Drawn("bars", HOSTILE, {"": [Point(HOSTILE, 1.0, HOSTILE)]})
    made = Shown(["</td>", '"><b>'], cells, [chart, Drawn("line", HOSTILE, {HOSTILE: chart.points[""]})])
    section = Section('x" onload="y', HOSTILE, HOSTILE, made, HOSTILE)
    text = page_html(Page(HOSTILE, [HOSTILE], [HOSTILE], [section]))
    page = Parsed(text)
    assert {tag for tag, _ in page.found} & {"script", "b"} == set()
    assert not any(name.startswith("on") for _, attributes in page.found for name in attributes)
    assert {char for char in text if not char.isprintable()} == {"\n"}
    assert "<script>alert(1)</script>" in page.texts


def test_a_file_is_replaced_only_with_force(command: CommandLine) -> None:
    command.write("kept.html", "mine")
    refused = command("ledger", "report", "-o", "kept.html")
    assert refused.code == 2 and refused.err.startswith("error: `kept.html` is there already\n")
    assert (command.folder / "kept.html").read_text() == "mine"
    nowhere = command("ledger", "report", "-o", "none/page.html")
    assert (nowhere.code, nowhere.err) == (
        2,
        "error: there is no folder `none`\n",
    )
    bad = command("ledger", "report", "-o", "page2.html", "--since", "moon")
    assert bad.code == 2 and not (command.folder / "page2.html").exists()


def test_own_questions_are_on_the_page_and_one_that_fails_says_why(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.cli.report._ASKED", ())
    folder = command.folder / "own" / "questions"
    folder.mkdir(parents=True)
    file = "routewright: 1\nquestion: {}\ntells: t\nsql: SELECT {}\n"
    (folder / "one.yaml").write_text(file.format("Own one?", "1 AS one"))
    (folder / "two.yaml").write_text(file.format("Own two?", "nothing"))
    (folder / "bad.yaml").write_text("routewright: 1\nsql: SELECT 1\n")
    ended = command("ledger", "report", "-o", "own.html", "--policy", "own/policy.yaml")
    assert ended.code == 0
    page = Parsed((command.folder / "own.html").read_text(encoding="utf-8"))
    assert "Own one?" in page.texts and "Own two?" in page.texts
    assert [text for text in page.texts if text.startswith("not asked: ")] == [
        "not asked: the file needs the key `question`",
        "not asked: referenced column `nothing` was not found because the FROM clause is missing",
    ]
    assert ended.err == "2 questions could not be asked, as the page says: bad, two\n"
    assert "3 simulated decisions are not counted: ask with --simulated" in page.texts
