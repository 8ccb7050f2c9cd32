"""What the README shows is what the commands print.

``README_UPDATE=1 pytest tests/test_readme.py`` writes the present output into the README.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

_POLICY = re.compile(r"```yaml\n# policy\.yaml\n(.*?)```", re.DOTALL)
_CONSOLE = re.compile(r"```console\n\$ routewright (.*?)\n(.*?)```", re.DOTALL)

_MISTAKES = (
    ("'local'", "'locall'"),
    ("complex_reasoning || context_length > 30000", "complex_resoning || context_length > '30000'"),
    ("use: [large]", "use: [lagre]"),
    ("fallback: [large]", "fallbak: [large]"),
)
"""What is changed in the README's policy to make broken.yaml."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the README's policy, and a copy with mistakes."""
    found = _POLICY.search(README.read_text())
    assert found is not None
    policy = found[1]
    (tmp_path / "policy.yaml").write_text(policy)
    for right, wrong in _MISTAKES:
        assert right in policy
        policy = policy.replace(right, wrong)
    (tmp_path / "broken.yaml").write_text(policy)
    return tmp_path


def _run(command: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", "from routewright.cli import main; main()", *command.split()],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1", "XDG_DATA_HOME": str(folder), "COLUMNS": "100"},
        check=False,
    )
    return done.stdout + done.stderr


def test_the_readme_shows_what_its_commands_print(folder: Path) -> None:
    text = README.read_text()
    commands = _CONSOLE.findall(text)
    assert len(commands) == 2
    fresh = _CONSOLE.sub(lambda m: f"```console\n$ routewright {m[1]}\n{_run(m[1], folder)}```", text)
    if os.environ.get("README_UPDATE"):
        README.write_text(fresh)
    assert fresh == text


def test_the_readme_s_other_commands_work_on_the_shipped_policy(folder: Path) -> None:
    block = re.findall(r"```sh\n(routewright .*?)```", README.read_text(), re.DOTALL)
    (commands,) = block
    for line in commands.strip().splitlines():
        done = subprocess.run(
            f"{sys.executable} -c 'from routewright.cli import main; main()' {line.removeprefix('routewright ')}",
            shell=True,
            cwd=ROOT,
            capture_output=True,
            text=True,
            env={**os.environ, "XDG_DATA_HOME": str(folder)},
            check=False,
        )
        assert (done.returncode, done.stdout != "") == (0, True), done.stderr


def test_every_page_that_the_readme_names_is_there() -> None:
    pages = re.findall(r"\]\(((?:docs|policies)/[^)]+|[A-Z]+\.md)\)", README.read_text())
    assert pages
    assert [page for page in pages if not (ROOT / page).exists()] == []
