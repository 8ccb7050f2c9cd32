"""What the program makes by itself can be read by nobody else, whatever the umask; what is there keeps its mode."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from routewright.private_files import create_private, ensure_private, make_private_folder

# A whole life: commands with and without a state store of their own, a writer that is killed, another that finds
# what it left, a file that is damaged, and a question that does not fit into memory.
COMMANDS = """
import sys
from routewright.cli.invoking import run_app
for words in (
    ["demo", "--simulate"],
    ["run", sys.argv[1], "hello", "--simulate"],
    ["run", sys.argv[1], "hello", "--simulate", "--state", "made/state/state.sqlite", "--ledger", "made/l.duckdb"],
    ["quota", sys.argv[1]],
    ["ledger", "tail"],
    ["ledger", "sql", "SELECT count(*) FROM decision_records"],
):
    code = run_app(words)
    assert code == 0, (words, code)
"""

WHILE_OPEN = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from support.ledger_rows import attempt, decision
from routewright.backends.control import StateStore
from routewright.ledger import Ledger
from routewright.ledger.connection import open_for_reading

ledger = Ledger.open("data/routewright/open.duckdb")
dead = os.fork()
if dead == 0:
    writer = ledger.writer()
    writer.add(decision(1), [attempt(1)])
    path = writer._spool.path
    path.write_bytes(path.read_bytes()[:-9])
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(dead, 0)
store = StateStore("data/routewright/state-open.sqlite")
with store.change() as connection:
    connection.execute("DELETE FROM sessions")

def stopped(connection):
    # The write-ahead log has the rows now, and the file has not.
    assert Path("data/routewright/open.duckdb.wal").stat().st_size > 0
    os.kill(os.getpid(), signal.SIGKILL)

writer = ledger.writer()
writer.add(decision(2), [attempt(2)])
if sys.argv[2] == "reading":
    writer.close()
    with open_for_reading(ledger.path, lock_timeout_s=5) as connection:
        connection.execute("SELECT 1").fetchall()
        os.kill(os.getpid(), signal.SIGKILL)
sys.modules["routewright.ledger.ingest"].checkpoint = stopped
writer.close()
"""


def run(folder: Path, code: str, *arguments: str) -> int:
    """With the umask that takes nothing away: what is private then is private with any other."""
    (folder / "tmp").mkdir(exist_ok=True)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ},
        "HOME": str(folder / "home"),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"import os; os.umask(0)\n{code}", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


def modes(folder: Path) -> dict[str, str]:
    """The mode of everything in a folder that was made by the program."""
    return {
        str(path.relative_to(folder)): oct(stat.S_IMODE(path.stat().st_mode))
        for path in sorted(folder.rglob("*"))
        if path != folder / "tmp"
    }


def assert_private(folder: Path, *, at_least: int) -> None:
    found = modes(folder)
    expected = {name: "0o700" if (folder / name).is_dir() else "0o600" for name in found}
    assert found == expected
    assert len(found) >= at_least, "the walk has seen what is made"


def test_what_commands_make_is_private(tmp_path: Path) -> None:
    policy = Path(__file__).parents[1] / "policies" / "hybrid.yaml"
    assert run(tmp_path, COMMANDS, str(policy)) == 0
    assert_private(tmp_path, at_least=9)


@pytest.mark.parametrize("moment", ["reading", "writing"])
def test_what_is_there_only_while_something_is_open_is_private_too(tmp_path: Path, moment: str) -> None:
    assert run(tmp_path, WHILE_OPEN, str(Path(__file__).parent), moment) == -9
    found = set(modes(tmp_path / "data" / "routewright"))
    assert {"open.duckdb", "open.duckdb.spool", "open.duckdb.tmp", "state-open.sqlite-wal"} <= found
    assert ("open.duckdb.wal" in found) == (moment == "writing")
    assert any(name.endswith(".damaged" if moment == "reading" else ".spool") for name in found)
    assert_private(tmp_path, at_least=8)


def test_what_is_there_keeps_its_mode(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    folder.chmod(0o755)
    file.touch()
    file.chmod(0o644)
    make_private_folder(folder)
    make_private_folder(folder / "a" / "b")
    ensure_private(file)
    with pytest.raises(FileExistsError):
        create_private(file)
    with pytest.raises(FileExistsError):
        make_private_folder(file)
    assert modes(tmp_path) == {
        "file": "0o644",
        "folder": "0o755",
        "folder/a": "0o700",
        "folder/a/b": "0o700",
    }
