"""Creates files and folders that only their owner can read, whatever the umask of the process."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_FILE, _FOLDER = 0o600, 0o700


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
