"""Writes what is generated: the JSON Schemas beside the policies, and the generated parts of the docs.

    python docs/generate.py           write the files that differ
    python docs/generate.py --check   write nothing; name the files that differ and exit 1 if there are any

The same bytes come out on every platform and in every terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

HELP_WIDTH = 100

_CLI_PAGE_HEAD = """\
# Command line

What `routewright COMMAND --help` says, for each command. This page is generated: `make generate`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is out of date")
    check = parser.parse_args().check
    _settle_terminal()
    stale = {
        path: text
        for path, text in generated().items()
        if not path.exists() or path.read_bytes() != text.encode("utf-8")
    }
    for path, text in stale.items():
        if not check:
            path.write_bytes(text.encode("utf-8"))
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}")
    if check and stale:
        print("run: make generate", file=sys.stderr)
        return 1
    return 0


def generated() -> dict[Path, str]:
    """Every generated file with the whole text that it should have, in a fixed order."""
    from complaint_tables import complaint_tables
    from condition_tables import condition_tables
    from import_tables import import_tables
    from key_tables import with_tables
    from ledger_layout import with_layout
    from marks import filled
    from outcome_tables import outcome_tables
    from record_tables import record_tables
    from rooms import rooms

    from routewright.cli import app
    from routewright.engine.policy.shapes.json_schema import SCHEMAS, json_schema

    texts = {ROOT / "policies" / f"{kind}.schema.json": _json(json_schema(kind)) for kind in SCHEMAS}
    for name in ("policies.md", "testing-policies.md"):
        page = ROOT / "docs" / name
        texts[page] = with_tables(page.read_text(encoding="utf-8"))
    parts: dict[str, dict[str, Iterable[str]]] = {
        "architecture.md": {"rooms": rooms()},
        "backends.md": {"services": _services(), **complaint_tables()},
        "conditions.md": condition_tables(),
        "executing.md": outcome_tables(),
        "decisions.md": record_tables(),
        "importing.md": import_tables(),
    }
    for name, lines in parts.items():
        page = ROOT / "docs" / name
        texts[page] = filled(page.read_text(encoding="utf-8"), lines)
    ledger_page = ROOT / "docs" / "ledger.md"
    texts[ledger_page] = with_layout(ledger_page.read_text(encoding="utf-8"))
    return texts | {ROOT / "docs" / "cli.md": cli_page(app)}


def _services() -> Iterator[str]:
    from routewright.loading.permissions import SERVICES

    yield "| variable | host |"
    yield "| --- | --- |"
    yield from (f"| `{variable}` | `{host}` |" for variable, host in SERVICES.items())


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def cli_page(app: Any) -> str:
    """The help of every command of a typer app that is not hidden, groups before their commands."""
    from typer.testing import CliRunner

    parts = [_CLI_PAGE_HEAD]
    for path in _command_paths(app):
        result = CliRunner().invoke(app, [*path, "--help"], prog_name="routewright")
        if result.exit_code:
            raise RuntimeError(f"`routewright {' '.join(path)} --help` failed") from result.exception
        text = "\n".join(line.rstrip() for line in result.output.splitlines()).strip("\n")
        if str(Path.home()) in text and Path.home() != Path("/"):
            raise RuntimeError(f"the help of `routewright {' '.join(path)}` names this machine's home folder")
        title = " ".join(("routewright", *path))
        parts.append(f"## {title}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def _command_paths(app: Any) -> Iterator[tuple[str, ...]]:
    """The words that lead to each command, in the order of the app; the app itself is ``()``."""
    from typer.main import get_command

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield path
        for name, child in getattr(command, "commands", {}).items():
            if not child.hidden:
                yield from walk(child, (*path, name))

    return walk(get_command(app), ())


def _settle_terminal() -> None:
    """Make help look the same everywhere; typer and rich read these when they are imported."""
    for name in ("FORCE_COLOR", "PY_COLORS", "CLICOLOR_FORCE", "GITHUB_ACTIONS", "TTY_COMPATIBLE"):
        os.environ.pop(name, None)
    os.environ.update(
        COLUMNS=str(HELP_WIDTH), TERMINAL_WIDTH=str(HELP_WIDTH), NO_COLOR="1", TERM="dumb", LANG="C.UTF-8"
    )


if __name__ == "__main__":
    sys.exit(main())
