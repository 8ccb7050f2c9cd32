"""What the pages of the documentation show is what happens; ``PAGES_UPDATE=1`` writes the present output into them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.page_run import PageRun
from support.pages import PAGES, ROOT, blocks

FILES = {
    "screen.png": b"\x89PNG\r\n\x1a\n",
    "question.sql": b"SELECT $team, $n",
    "spend.csv": b"request_id,startTime,model,spend\na,2026-01-01T00:00:00Z,small,0.1\n",
    "results.jsonl": b'{"model": "small"}\n',
    "results.yaml": b"routewright: 1\ncalls: [{model: model}]\n",
}
"""The files that examples of the help name."""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    """Commands in a folder of their own, which is the working directory of the test too."""
    command = CommandLine(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in command.environment().items():
        monkeypatch.setenv(name, value)
    return command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_happens(page: Path, command: CommandLine) -> None:
    fresh = PageRun(page, command).run()
    if os.environ.get("PAGES_UPDATE"):
        page.write_text(fresh, encoding="utf-8")
    assert fresh == page.read_text(encoding="utf-8")


def test_examples_of_the_help_that_call_no_model_run(command: CommandLine) -> None:
    page = ROOT / "docs" / "cli.md"
    examples = re.findall(r"^    ((?:routewright|echo) .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    # Nor any that needs the id of a decision, or a policy with a canary.
    calling = re.compile(
        r"routewright (demo|health|rollout|ledger (erase|outcome|prove|verify --receipt|witness)|"
        r"run (?!.*--simulate))"
    )
    quiet = [example for example in examples if not calling.match(example)]
    assert len(quiet) >= 10
    for file, content in FILES.items():
        command.write(file, content)
    PageRun(page, command).shell("\n".join(quiet))


def test_every_block_is_read() -> None:
    for page in PAGES:
        fences = re.findall(r"^```\w", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(blocks(page)) >= len(fences), page.name
