"""Tests in several processes at once are reported as if one had run them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from support import side_by_side
from support.pages import ROOT

CONFTEST = (
    f"import sys\nsys.path.append({str(ROOT / 'tests')!r})\npytest_plugins = ['support.side_by_side']\n"
)

PLAIN = """\
import pytest

@pytest.fixture
def torn():
    yield
    raise ValueError("in the end")

def test_passes(tmp_path): (tmp_path / "file").touch()
def test_fails(): print("what it printed"); assert 1 == 2
def test_is_torn(torn): pass
@pytest.mark.skip(reason="not here")
def test_is_skipped(): pass
"""

KILLED = """\
import os, pathlib, signal
def test_passes(): pass
def test_is_killed(): pathlib.Path("killed").touch(); os.kill(os.getpid(), signal.SIGKILL)
def test_is_not_run(): pass
"""

WAITING = """\
import pathlib, time
def test_waits(snapshot):
    while not pathlib.Path("killed").exists(): time.sleep(0.01)
def test_passes(): pass
"""
"""It stays in the first process, which takes no other file before its last test: another takes what is killed."""


def test_whatever_comes_of_a_test_in_another_process_is_told(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_a.py").write_text(WAITING)
    (tmp_path / "test_b.py").write_text(KILLED)
    for number in range(3):
        (tmp_path / f"test_c{number}.py").write_text(PLAIN)
    words = [sys.executable, *"-m pytest -q -p no:cacheprovider --processes 3".split()]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 1
    assert re.search(r"4 failed, 9 passed, 3 skipped, 3 errors in", done.stdout), done.stdout
    assert "test_b.py::test_is_killed - the process that ran it ended with status -9\n" in done.stdout
    assert "1 tests were not run: the process that had taken them is gone" in done.stdout
    assert done.stdout.count("\nwhat it printed\n") == 3


def test_the_files_that_are_begun_first_are_there() -> None:
    assert [name for name in side_by_side.LONGEST if not (ROOT / name).is_file()] == []
