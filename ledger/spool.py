"""Entries in, bytes of a file out, and back: where rows wait until they are in the ledger's tables.

Each writer has files of its own beside the ledger. A frame in it is written by one call and has a number, its
length and a checksum, so that a file that was cut anywhere still gives every frame before the cut. What has been
written survives the death of the process, not a loss of power.

A writer holds a lock on its files for as long as it lives: who gets that lock knows that nothing more will come.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import threading
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from routewright.private_files import create_private, make_private_folder

from .errors import LedgerError
from .writing import Entry

__all__ = ["MAX_SPOOL_BYTES", "Spool", "SpoolFile", "orphaned", "read_spool", "remove", "spool_files"]

MAX_SPOOL_BYTES: Final = 256 * 1024**2
"""What one writer lets wait. Beyond it, entries are refused: a disk is finite, and nothing is dropped in silence."""

_MAGIC: Final = b"routewright spool 1\n"
_HEAD: Final = struct.Struct("<IIQI?")
"""Length of what follows the checksum, checksum, number, length of what stands beside the record, has a record."""
_CHECKED: Final = 8
"""Where that begins which the checksum is of."""
_PROBE: Final = b"\xff" * 65_536
"""Written and taken back to see whether there is room again: longer than most entries, and never read as one."""
_SUFFIX: Final = ".spool"


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """What a file held when it was read. ``damaged`` is how many bytes at its end are no whole frame."""

    writer: str
    path: Path
    damaged: int
    _data: bytes
    _frames: tuple[tuple[int, int, int, int], ...]

    @property
    def last(self) -> int:
        """The number of the last frame; 0 for none."""
        return self._frames[-1][0] if self._frames else 0

    def entries(self, *, after: int) -> Iterator[tuple[int, Entry]]:
        """The entries with a number above ``after``, in order; those of one writer count from 1 without gaps."""
        for number, start, middle, end in self._frames:
            if number > after:
                record = None if middle > end else self._data[middle:end].decode()
                yield number, Entry(self._data[start : min(middle, end)].decode(), record)


class Spool:
    """The files of one writer in ``folder``: one that is written, and those before it. Safe in many threads."""

    def __init__(self, folder: Path) -> None:
        self.writer = uuid.uuid4().hex
        self._folder = folder
        self._lock = threading.Lock()
        self._file: int | None = None
        self._size = 0
        self._full: dict[Path, tuple[int, int]] = {}  # the others: what holds each one's lock, and its size
        self._full_bytes = 0
        self._number = 0
        self._files = 0
        self._refused = False  # whether the last write failed

    @property
    def path(self) -> Path:
        """The file that is written, or will be."""
        return self._folder / f"{self.writer}.{self._files:08d}{_SUFFIX}"

    @property
    def file(self) -> int:
        """The number of that file, from 0."""
        return self._files

    @property
    def waiting_bytes(self) -> int:
        """The size of all that has not been removed."""
        return self._size + self._full_bytes

    def add(self, *entries: Entry) -> int:
        """Write entries, all at once; the number of the last.

        Raises LedgerError, with none of them written, when one is no text or the disk takes no more.
        """
        encoded = [_encoded(entry) for entry in entries]
        with self._lock:
            self._check_size()
            number = self._number
            pieces: list[bytes] = []
            for beside, record in encoded:
                number += 1
                body = struct.pack("<QI?", number, len(beside), record is not None) + beside + (record or b"")
                pieces += (struct.pack("<II", len(body), zlib.crc32(body)), body)
            self._write(b"".join(pieces))
            self._number = number
        return number

    def prepare(self) -> None:
        """Make the file, if there is none. Raises LedgerError where an entry could not be written now.

        Who asks before a call that costs money does not pay for what cannot be recorded. After a refusal it is tried
        with as many bytes as an entry may have.
        """
        if self._file is not None and not self._refused and self.waiting_bytes <= MAX_SPOOL_BYTES:
            return
        with self._lock:
            self._check_size()
            if self._file is None or self._refused:
                self._write(_PROBE if self._refused else b"")
                if self._refused:
                    self._size -= len(_PROBE)
                    self._cut()
                self._refused = False

    def turn(self) -> None:
        """Begin another file with the next entry, so that those before are complete."""
        with self._lock:
            self._turn()

    def owns(self, path: Path) -> bool:
        """Whether a file is one of this writer's."""
        return path.name.startswith(f"{self.writer}.")

    def full(self) -> list[Path]:
        """The complete files, in order."""
        with self._lock:
            return list(self._full)

    def read(self, path: Path) -> SpoolFile:
        """What a complete file holds, also where somebody has deleted it meanwhile; nothing of a removed one."""
        with self._lock:
            file, size = self._full.get(path, (None, 0))
            return _taken_apart(path, b"" if file is None else _contents(file, size))

    def remove(self, path: Path, *, damaged: bool = False) -> None:
        """Remove a complete file, whose entries are in the tables; what is ``damaged`` is kept aside."""
        with self._lock:
            file, size = self._full.pop(path, (None, 0))
            if file is not None:
                self._full_bytes -= size
                remove(path, damaged=damaged)
                os.close(file)

    def abandon(self) -> None:
        """Close all files, and leave them to whoever opens the ledger next."""
        with self._lock:
            self._turn()
            self.disown()

    def disown(self) -> None:
        """Close all files in a child of the process, where the lock may be held by a thread that is not there."""
        for file in (self._file, *(file for file, _ in self._full.values())):
            if file is not None:
                os.close(file)
        self._file, self._full, self._full_bytes = None, {}, 0

    def _check_size(self) -> None:
        if self.waiting_bytes > MAX_SPOOL_BYTES:
            raise LedgerError(
                f"{MAX_SPOOL_BYTES // 1024**2} MiB wait in `{self._folder}`; nothing was written",
                help="the ledger cannot be written as fast, or not at all: see what holds it open",
            )

    def _turn(self) -> None:
        if self._file is not None:
            self._full[self.path] = (self._file, self._size)
            self._full_bytes += self._size
            self._file, self._size = None, 0
            self._files += 1

    def _create(self) -> int:
        make_private_folder(self._folder)
        file = create_private(self.path, os.O_RDWR | os.O_APPEND)
        try:
            # Nobody looks at a file that is still empty, so nobody else has this lock.
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(file, _MAGIC) < len(_MAGIC):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except BaseException:
            # Frames in a file that does not begin as a spool could not be read.
            self.path.unlink(missing_ok=True)
            os.close(file)
            raise
        self._size = len(_MAGIC)
        return file

    def _write(self, frame: bytes) -> None:
        try:
            if self._file is None:
                self._file = self._create()
            written = os.write(self._file, frame)
        except OSError as error:
            self._refused = True
            self._cut()
            raise LedgerError(
                f"`{self.path}` cannot be written: {error.strerror}; nothing was kept"
            ) from error
        if written < len(frame):
            self._refused = True
            self._cut()
            raise LedgerError(f"`{self.path}` cannot be written: the disk is full; nothing was kept")
        self._size += written

    def _cut(self) -> None:
        """Take back half a frame: what comes after it could not be read."""
        if self._file is not None:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._turn()


def _encoded(entry: Entry) -> tuple[bytes, bytes | None]:
    try:
        return entry.beside.encode(), None if entry.record is None else entry.record.encode()
    except UnicodeEncodeError as error:
        raise LedgerError(
            f"a row holds what the ledger cannot store: {error.reason}; nothing was written"
        ) from error


def spool_files(folder: Path) -> list[Path]:
    """The files in which something waits: those of one writer in the order in which they were written."""
    found = []
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        try:
            if path.stat().st_size > len(_MAGIC):
                found.append(path)
        except FileNotFoundError:
            # Removed meanwhile: whoever did so has put its entries into the tables.
            continue
        except OSError:
            found.append(path)  # who reads it says why that cannot be
    return found


def read_spool(path: Path) -> SpoolFile:
    """Every whole frame of a file. Raises LedgerError for a file of another kind, or one that cannot be read."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise LedgerError(f"`{path}` cannot be read: {error.strerror}") from error
    return _taken_apart(path, data)


def _contents(file: int, size: int) -> bytes:
    """All of an open file, what stands behind ``size`` included."""
    size = max(size, os.fstat(file).st_size)
    pieces = []
    at = 0
    while at < size and (piece := os.pread(file, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def remove(path: Path, *, damaged: bool) -> None:
    """Remove a file whose entries are in the tables; what is ``damaged`` is kept aside."""
    if damaged:
        with suppress(FileNotFoundError):
            path.replace(path.with_suffix(".damaged"))
    else:
        path.unlink(missing_ok=True)


def _taken_apart(path: Path, data: bytes) -> SpoolFile:
    if not data.startswith(_MAGIC[: len(data)]):
        raise LedgerError(f"`{path}` is no spool of a ledger; left it as it is", help="move it away")
    frames = []
    at = len(_MAGIC)
    while at + _HEAD.size <= len(data):
        length, checksum, number, beside, has_record = _HEAD.unpack_from(data, at)
        start, end = at + _HEAD.size, at + _CHECKED + length
        if end > len(data) or zlib.crc32(memoryview(data)[at + _CHECKED : end]) != checksum:
            break
        # Without a record, it begins behind the frame's end.
        frames.append((number, start, start + beside if has_record else end + 1, end))
        at = end
    return SpoolFile(path.name.partition(".")[0], path, max(0, len(data) - at), data, tuple(frames))


@contextmanager
def orphaned(path: Path) -> Iterator[bool]:
    """Whether the writer of a file is gone; then nobody else can find that out at the same time."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    except OSError as error:
        raise LedgerError(f"`{path}` cannot be read: {error.strerror}") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(file)
