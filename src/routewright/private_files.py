"""Creates files and folders that only their owner can read, whatever the umask of the process."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILE, _FOLDER = 0o600, 0o700

_unfinished: set[Path] = set()


def make_private_folder(path: Path) -> None:
    """Create a folder and its missing parents with mode 0700; an existing folder keeps its mode.

    Raises OSError if that fails.
    """
    if path.is_dir():
        return
    missing = [path]
    while not (parent := missing[-1].parent).exists() and parent != missing[-1]:
        missing.append(parent)
    for folder in reversed(missing):
        try:
            os.mkdir(folder, _FOLDER)
        except FileExistsError:
            if not folder.is_dir():
                raise


def create_private(path: Path, flags: int = os.O_WRONLY) -> int:
    """The descriptor of a new file with mode 0600. Raises FileExistsError if the file exists, or another OSError."""
    return os.open(path, flags | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE)


def ensure_private(path: Path) -> None:
    """Create an empty file with mode 0600 for a library that would use the umask; an existing file is left unchanged.

    Raises OSError if that fails.
    """
    with suppress(FileExistsError):
        os.close(create_private(path))


@contextmanager
def whole_file(path: Path, *, replace: bool) -> Iterator[Path]:
    """Where the block writes a file that is then at ``path``, with mode 0600: all of it, or none if an error is raised.

    It is written in a folder of its own beside ``path``. A file that is there is replaced if ``replace`` says so.
    Raises FileExistsError if it does not, or if something else than a file is there, and other OSErrors.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not (replace and path.is_file()):
        raise FileExistsError(errno.EEXIST, "it is there already", str(path))
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:100]}."))
    _unfinished.add(folder)
    try:
        draft = folder / "draft"
        yield draft
        draft.chmod(_FILE)
        if replace or not _linked(draft, path):
            draft.replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        _unfinished.discard(folder)


def _linked(draft: Path, path: Path) -> bool:
    """Whether the file is there under its name now, and replaces none; not every file system can do that."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:
        return False
    return True


def remove_unfinished() -> None:
    """Remove what is being written by ``whole_file``: the process ends."""
    for folder in tuple(_unfinished):
        shutil.rmtree(folder, ignore_errors=True)
