"""What the pages of the documentation show is what happens; ``PAGES_UPDATE=1`` writes the present output into them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.page_run import PageRun
from support.pages import PAGES, blocks


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_shows_what_happens(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = CommandLine(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name, value in command.environment().items():
        monkeypatch.setenv(name, value)
    fresh = PageRun(page, command).run()
    if os.environ.get("PAGES_UPDATE"):
        page.write_text(fresh, encoding="utf-8")
    assert fresh == page.read_text(encoding="utf-8")


def test_every_block_is_read() -> None:
    for page in PAGES:
        fences = re.findall(r"^```\w", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(blocks(page)) >= len(fences), page.name
