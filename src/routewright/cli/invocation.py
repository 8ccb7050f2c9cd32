"""How this process was started, as words that start it again: for commands that are shown to be copied."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command_line(*arguments: str) -> str:
    """A command that works as it is typed, in the working directory."""
    return " ".join([started_as(), *map(_quoted, arguments)])


def started_as() -> str:
    """``routewright`` where that is this program, else its path, else the interpreter with ``-m``."""
    script = Path(sys.argv[0]) if sys.argv else Path()
    on_path = shutil.which("routewright")
    # Another environment's `routewright` may be first on the path.
    if on_path is not None and Path(os.path.abspath(on_path)).parent == Path(sys.executable).parent:
        return "routewright"
    if script.name == "routewright" and script.is_file():
        return shlex.quote(str(script))
    return f"{shlex.quote(sys.executable)} -m routewright"


def _quoted(text: str) -> str:
    """For a shell; in double quotes where that does, as they are easier to read and to change."""
    quoted = shlex.quote(text)
    return f'"{text}"' if quoted != text and not set(text) & set('"$`\\!') else quoted
