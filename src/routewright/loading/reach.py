"""Decides which files a policy, catalog or test file may name, and opens only those.

A file that the caller names may be anywhere. The files that it names must be under a root, with symbolic links
resolved on both sides: a policy from somebody else must not make Routewright read and show files of this machine.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from routewright.engine.report import Problem, TaskError

ROOT_VARIABLE: Final = "ROUTEWRIGHT_ROOT"
"""The environment variable that names the root if the caller does not."""

SHIPPED_FOLDER: Final = Path(__file__).parents[1] / "policies"
"""The folder of the policies and catalogs that come with Routewright."""

_HOW: Final = f"choose a folder that holds both files with --root, {ROOT_VARIABLE}, or `root=` in Python"

_RELATIVE: Final = "its path is relative to this file"

# O_PATH: a folder that may be traversed need not be readable. Linux only.
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW
# O_NONBLOCK: opening a FIFO that replaced the file would wait for a writer.
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY

# Their files look ordinary, but the kernel generates them when they are read.
_OF_THE_KERNEL: Final = ("/proc", "/sys")


class UnreachableError(Exception):
    """A named file cannot be used; ``problem`` has no place yet, since it belongs where the file is named."""

    def __init__(self, code: str, message: str, help: str) -> None:
        super().__init__(message)
        self.problem = Problem(code, message, help)


@dataclass(frozen=True, slots=True)
class Root:
    """A folder with symbolic links resolved, and why it is the root."""

    folder: str
    because: str

    def find(self, path: str, written: str, what: str) -> str:
        """The file at ``path`` with symbolic links resolved. Accesses no file outside the root.

        ``written`` is the path as the naming file spells it, and ``what`` says what it should be, such as ``catalog``.
        Raises UnreachableError for a file outside the root.
        """
        try:
            real = os.path.realpath(path)
            outside = os.path.commonpath([real, self.folder]) != self.folder
        except ValueError:  # a NUL or a lone surrogate, which no file name has
            raise _missing(what, written) from None
        if outside:
            leads_to = "" if real == written else f" is `{real}`, which"
            raise UnreachableError(
                "outside-root",
                f"the {what} `{written}`{leads_to} is not under the root `{self.folder}`",
                f"the root is {self.because}; {_HOW}",
            )
        return real

    def read(self, real: str, written: str, what: str, *, limit: int) -> bytes:
        """At most ``limit`` bytes of the file at ``real``. Never blocks.

        Raises UnreachableError if it does not exist, is not an ordinary file, or may not be read.
        """
        try:
            with os.fdopen(self._opened(real), "rb") as file:
                return file.read(limit)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise _missing(what, written) from None
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise UnreachableError(
                f"missing-{what}", f"the {what} `{written}` could not be read: {reason}", _RELATIVE
            ) from None

    def _opened(self, real: str) -> int:
        """A descriptor of the file itself. A symbolic link that replaced a part of the path is not followed."""
        *folders, name = os.path.relpath(real, self.folder).split(os.sep)
        at = os.open(self.folder, _FOLDER)
        try:
            for folder in folders:
                inner = os.open(folder, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
            # Checked before opening, since opening a device may have effects, and again on the open descriptor.
            _check_ordinary(os.stat(name, dir_fd=at, follow_symlinks=False))
            file = os.open(name, _FILE, dir_fd=at)
        finally:
            os.close(at)
        try:
            _check_ordinary(os.fstat(file))
        except OSError:
            os.close(file)
            raise
        return file


def root_for(named: str, given: str | os.PathLike[str] | Root | None = None) -> Root:
    """The root for a file that the caller names: ``given``, else $ROUTEWRIGHT_ROOT, else one derived from its location.

    That is the nearest folder above it that holds ``.git``, else its own folder. Files that come with Routewright may
    name only each other, whatever is given. Raises TaskError for a root that is not a folder.
    """
    if isinstance(given, Root):
        return given
    own = os.path.realpath(os.path.dirname(named) or os.curdir)
    if own == os.path.realpath(SHIPPED_FOLDER):
        return Root(own, "the folder of what comes with Routewright")
    if given is not None:
        return _chosen(os.fspath(given), "what the caller chose")
    if told := os.environ.get(ROOT_VARIABLE):
        return _chosen(told, f"what {ROOT_VARIABLE} says")
    for folder in (own, *map(str, Path(own).parents)):
        if os.path.lexists(os.path.join(folder, ".git")):
            return Root(folder, "the nearest folder that holds `.git`")
    return Root(own, "the folder of the file that was named")


def _chosen(folder: str, because: str) -> Root:
    if not os.path.isdir(folder):
        raise TaskError(
            f"the root `{folder}` is not a folder",
            help=f"it is {because}; name the folder that holds the policies",
        )
    return Root(os.path.realpath(folder), because)


def _missing(what: str, written: str) -> UnreachableError:
    return UnreachableError(f"missing-{what}", f"the {what} `{written}` could not be read", _RELATIVE)


def _check_ordinary(found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError
    made_up = {os.stat(place).st_dev for place in _OF_THE_KERNEL if os.path.ismount(place)}
    if not stat.S_ISREG(found.st_mode) or found.st_dev in made_up:
        raise OSError(errno.EINVAL, "it is not an ordinary file")
