"""Runs the blocks of code on a page of the documentation as a reader would, from top to bottom.

- A block whose first line is ``# NAME`` is a file of that name. ``policy.yaml`` of the README and, as in a
  checkout, ``policies``, ``tests`` and ``.venv`` are there from the beginning. Where a page names the server of
  ``lab_server``, it is there.
- ``console``: after each ``$ command`` stands what it prints; ``…`` stands for any text, and a line of its own for any
  lines.
- ``sh``: commands that end with status 0. In the comment ``<!-- run … -->`` are commands that a reader need not see.
- ``python`` with ``>>>``: examples, all in one namespace. Without: what it imports from Routewright must exist.
- ``sql``: a question that ``ledger sql`` answers as it is pasted; ``json`` and ``toml``: must parse.
- The comment ``<!-- not run: why -->`` before a block says that a test cannot run it.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from routewright.ledger import Ledger

from .command_line import CommandLine, Ended
from .lab_server import LAB_URL, lab_server
from .pages import BLOCK, ROOT, Block, block_of, blocks

_SHELL_SIGNS = frozenset("|<>&;()")


class PageRun:
    """A page that is run in the folder of ``command``, which should be the working directory."""

    def __init__(self, page: Path, command: CommandLine) -> None:
        self.page, self._command, self._namespace = page, command, dict[str, Any]()
        self._lab = LAB_URL
        shutil.copytree(ROOT / "policies", command.folder / "policies")
        (command.folder / "tests").symlink_to(ROOT / "tests")
        (command.folder / ".venv").symlink_to(sys.prefix)
        for block in blocks(ROOT / "README.md"):
            if block.file is not None:
                command.write(block.file, block.text)

    def run(self) -> str:
        """Run every block. Returns the page's text with the output that commands have now."""
        text = self.page.read_text(encoding="utf-8")
        with ExitStack() as stack:
            if LAB_URL in text:
                self._lab = stack.enter_context(lab_server())
            return BLOCK.sub(lambda found: found[0].replace(*self._run(block_of(found))), text)

    def _run(self, block: Block) -> tuple[str, str]:
        """Run a block. Returns its text as it is and as it should be."""
        if block.mark.startswith("not run"):
            assert block.mark.startswith("not run: "), f"say why it is not run: {block.text}"
        elif block.file is not None:
            (self._command.folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            self._command.write(block.file, block.text.replace(LAB_URL, self._lab))
        elif block.language == "console":
            return block.text, re.sub(
                r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", self._show, block.text, flags=re.MULTILINE
            )
        elif block.language in _RUNNERS:
            _RUNNERS[block.language](self, block.text)
        return block.text, block.text

    def _show(self, found: re.Match[str]) -> str:
        ended = self._execute(found[1])
        said = ended.out + ended.err
        return found[0] if _matches(found[2], said) else f"$ {found[1]}\n{said}"

    def shell(self, text: str) -> None:
        """Run lines of a shell, each of which has to end with status 0."""
        # A here-document has lines of its own, so its block is one script.
        lines = [f"set -e\n{text}"] if "<<" in text else text.replace("\\\n", " ").splitlines()
        for line in lines:
            ended = self._execute(line)
            assert ended.code == 0, f"{line}\n{ended.out}{ended.err}"

    def _execute(self, line: str) -> Ended:
        """Run a line of a shell: in this process where it is a single command of ours, which takes much less time."""
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
        if (
            words[:1] == ["routewright"]
            and "$" not in line
            and not any(set(w) <= _SHELL_SIGNS for w in words if w)
        ):
            return self._command(*words[1:])
        if words[:1] == ["python"] and len(words) == 2 and words[1].endswith(".py"):
            return self._program(words[1])
        environment = self._command.environment()
        environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
        done = subprocess.run(
            line, shell=True, cwd=self._command.folder, env=environment, capture_output=True, text=True
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def _program(self, file: str) -> Ended:
        """What a program prints; in this process, which has everything loaded already."""
        with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
            runpy.run_path(str(self._command.folder / file), run_name="__main__")
        return Ended(0, out.getvalue(), err.getvalue())

    def _python(self, text: str) -> None:
        if ">>>" not in text:
            _check_imports(text)
            return
        test = doctest.DocTestParser().get_doctest(text, self._namespace, self.page.name, None, 0)
        told: list[str] = []
        results = doctest.DocTestRunner(optionflags=doctest.FAIL_FAST).run(
            test, out=told.append, clear_globs=False
        )
        assert results.failed == 0, "".join(told)
        self._namespace = test.globs

    def _sql(self, text: str) -> None:
        Ledger.open(self._command.ledger)  # empty where nothing before the question has run a task
        ended = self._command("ledger", "sql", text)
        assert ended.code == 0, f"{text}\n{ended.err}"


_RUNNERS: dict[str, Callable[[PageRun, str], object]] = {
    "sh": PageRun.shell,
    "python": PageRun._python,
    "sql": PageRun._sql,
    "json": lambda _, text: json.loads(text),
    "toml": lambda _, text: tomllib.loads(text),
}


def _matches(shown: str, said: str) -> bool:
    pattern = re.escape(shown).replace("…\\\n", "(?:.*\n)*?").replace("…", ".*")
    return re.fullmatch(pattern, said) is not None


def _check_imports(code: str) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("routewright"):
            home = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(home, alias.name)] == []
