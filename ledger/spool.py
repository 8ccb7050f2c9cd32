"""Writes the spool files of one writer, which hold rows until they are in the ledger's tables.

What has been written survives the death of the process; a loss of power only once it is synced (``power``), and with
``none`` it is not even written at once.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from routewright.private_files import create_private, make_private_folder

from .entries import EntryEncoder
from .errors import FullError, LedgerError
from .frames import MAGIC, encode_frame
from .group_sync import GroupSync, put_names_on_disk, put_on_disk
from .room import Room
from .rows import LedgerEntry
from .settings import DEFAULTS, LedgerSettings
from .spool_files import SUFFIX, SpoolFile, remove

_log = logging.getLogger(__name__)

_PROBE: Final = b"\xff" * 65_536
"""Written and taken back to see whether there is room again: longer than most entries, and never read as one."""
_DRAFT: Final = ".new"
"""How a file's name ends until its writer has locked it."""
_MOST_BUFFERED: Final = 1024**2
"""What a spool that need not survive its process keeps in memory."""


class Spool:
    """The files of one writer in ``folder``: one that is written, and those before it. Safe in many threads.

    ``in_flight`` holds the ids of decisions that have begun and not ended, ``file`` is the number of the file that is
    written, from 0.
    """

    def __init__(self, folder: Path, settings: LedgerSettings = DEFAULTS) -> None:
        self.writer = uuid.uuid4().hex
        self.in_flight: set[str] = set()
        self._folder = folder
        most = settings.room_mib
        self._room = Room(folder, None if most is None else most * 1024**2, SUFFIX)
        self._lock = threading.Lock()
        self._encoder = EntryEncoder()
        self._file: int | None = None
        self._size = 0
        self._full: dict[
            Path, tuple[int, int, int]
        ] = {}  # the others: descriptor, size and last number of each
        self._full_bytes = 0
        self._roomy_bytes = 0  # up to this many there is room without another look
        self._number = 0
        self.file = 0
        self._refused = False  # whether the last write failed
        self._durability = settings.durability
        self._buffer = bytearray()  # entries that are not written yet
        self._unsynced: set[Path] = set()
        self._is_named = True  # whether the names of all files are on the disk
        self._group = GroupSync(self._begin_sync)

    @property
    def path(self) -> Path:
        """The file that is written, or will be."""
        return self._folder / f"{self.writer}.{self.file:08d}{SUFFIX}"

    @property
    def waiting_bytes(self) -> int:
        """The size of all entries that have not been removed."""
        return max(0, self._size - len(MAGIC)) + len(self._buffer) + self._full_bytes

    @property
    def is_full(self) -> bool:
        """Whether so much waits in the folder that nothing more is taken."""
        if self._size + self._full_bytes < self._roomy_bytes:  # every call asks several times
            return False
        waiting = self.waiting_bytes
        is_left = self._room.is_left(waiting)
        self._roomy_bytes = self._room.unasked(waiting) if is_left else 0
        return not is_left

    @property
    def filling(self) -> str:
        """How much waits in the folder, and of how much."""
        waiting, most = self._room.waiting(self.waiting_bytes), self._room.most
        return f"{waiting // 1024**2} MiB wait in `{self._folder}`, of at most {most // 1024**2}"

    def add(self, *entries: LedgerEntry, beyond: bool = False) -> int:
        """Write entries, all at once; the number of the last.

        Raises LedgerError if one is not valid text or the disk is full, and FullError if too much waits; then none is
        written.
        ``beyond`` writes however much waits: for entries that only say how something ended.
        """
        encoder, in_flight = self._encoder, self.in_flight
        with self._lock:
            if not beyond and self.is_full:
                raise self._refusal()
            number, frames, begun, ended = self._number, [], [], []
            try:
                for entry in entries:
                    number += 1
                    frames.append(encode_frame(number, encoder.encode(self.file, entry)))
                    decision, _, _, intents, end = entry
                    if end is not None:
                        ended.append(end.decision_id)
                    elif decision is not None and intents:
                        begun.append(decision.record.row.id)
                # Before they are written, as their writer must not seem to be gone afterwards.
                in_flight.update(begun)
                data = b"".join(frames)
                if self._durability == "none" and self._file is not None:
                    self._keep(data)
                else:
                    self._put(data)
            except LedgerError:
                in_flight.difference_update(begun)
                encoder.forget()
                raise
            in_flight.difference_update(ended)
            self._number = number
        return number

    def settle(self) -> None:
        """Return once what has been written is as durable as the settings say.

        Raises LedgerError if the disk does not take it; it may be there all the same.
        """
        if self._durability != "power":
            return
        try:
            self._group.wait_for(self._number)
        except OSError as error:
            raise LedgerError(
                f"what was written to `{self._folder}` may not survive a loss of power: {error.strerror}"
            ) from error

    def flush(self) -> None:
        """Write what is kept in memory. Raises LedgerError when it cannot be: then it stays there."""
        with self._lock:
            self._flush()

    def prepare(self) -> None:
        """Make the file, if there is none. Raises LedgerError where an entry could not be written now.

        Who asks before a call that costs money does not pay for what cannot be recorded. After a refusal it is tried
        with as many bytes as an entry may have.
        """
        if self._file is not None and not self._refused and not self.is_full:
            return
        with self._lock:
            if self.is_full:
                raise self._refusal()
            if self._file is None or self._refused:
                self._put(_PROBE if self._refused else b"")
                if self._refused:
                    self._size -= len(_PROBE)
                    self._cut()
                self._refused = False

    def turn(self, *, last: bool = False) -> None:
        """Begin another file with the next entry, so that those before are complete.

        While decisions are in flight the file is made at once, unless nothing more is to be written (``last``). Raises
        LedgerError when it cannot be: then the files before must stay, and it is tried again the next time.
        """
        with self._lock:
            self._flush()
            if last or self._size > len(MAGIC):
                self._turn()
            # INVARIANT: with decisions in flight there is always a file that this writer has locked.
            if self.in_flight and not last and self._file is None:
                self._put(b"")

    def owns(self, path: Path) -> bool:
        """Whether a file is one of this writer's."""
        return path.name.startswith(f"{self.writer}.")

    def full(self) -> list[Path]:
        """The complete files, in order."""
        with self._lock:
            return list(self._full)

    @contextmanager
    def open(self, path: Path) -> Iterator[SpoolFile | None]:
        """A complete file, even if somebody has deleted it in the meantime; None for one that was removed here."""
        with self._lock:
            found = self._full.get(path)
            # Another thread may remove the file and close its descriptor while it is read here.
            descriptor = None if found is None else os.dup(found[0])
        if found is None or descriptor is None:
            yield None
            return
        try:
            # After its size there may be half a frame that could not be truncated.
            size = max(found[1], os.fstat(descriptor).st_size)
            yield SpoolFile(path, descriptor, size, True, found[2])
        finally:
            os.close(descriptor)

    def remove(self, path: Path, *, damaged: bool = False) -> None:
        """Remove a complete file, whose entries are in the tables; what is ``damaged`` is kept aside."""
        with self._lock:
            found = self._full.pop(path, None)
            if found is not None:
                self._full_bytes -= found[1]
                self._roomy_bytes = 0
                remove(path, damaged=damaged)
                os.close(found[0])

    def abandon(self) -> None:
        """Close all files, and leave those with entries to whoever opens the ledger next."""
        with self._lock:
            try:
                self._flush()
            except LedgerError as error:
                _log.warning("%d bytes that were recorded are lost: %s", len(self._buffer), error)
            if self._size == len(MAGIC) and not self.in_flight:
                self.path.unlink(missing_ok=True)
            self._turn()
            self.disown()

    def disown(self) -> None:
        """Close all files in a child of the process, where the lock may be held by a thread that is not there."""
        for file in (self._file, *(found[0] for found in self._full.values())):
            if file is not None:
                os.close(file)
        self._file, self._full, self._full_bytes = None, {}, 0
        self._buffer.clear()

    def _refusal(self) -> FullError:
        return FullError(
            f"{self.filling}; nothing was written",
            help="the ledger cannot be written as fast, or not at all: see what holds it open",
        )

    def _turn(self) -> None:
        if self._file is not None:
            self._full[self.path] = (self._file, self._size, self._number)
            self._full_bytes += self._size
            self._file, self._size = None, 0
            self.file += 1

    def _create(self) -> int:
        make_private_folder(self._folder)
        draft = self.path.with_suffix(_DRAFT)
        file = create_private(draft, os.O_RDWR | os.O_APPEND)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.write(file, MAGIC) < len(MAGIC):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            # Only now, so that whoever finds the file can tell by its lock whether its writer lives.
            draft.rename(self.path)
        except BaseException:
            draft.unlink(missing_ok=True)
            os.close(file)
            raise
        self._size = len(MAGIC)
        self._is_named = False
        return file

    def _keep(self, frames: bytes) -> None:
        if len(self._buffer) + len(frames) > _MOST_BUFFERED:
            self._flush()
        self._buffer += frames

    def _flush(self) -> None:
        if self._buffer:
            self._put(self._buffer)
            self._buffer.clear()

    def _put(self, data: bytes | bytearray) -> None:
        try:
            if self._file is None:
                self._file = self._create()
            if self._durability == "power" and data:
                self._unsynced.add(self.path)
            if os.write(self._file, data) < len(data):
                raise OSError(errno.ENOSPC, "the disk is full")
        except OSError as error:
            self._refused = True
            self._cut()
            raise LedgerError(
                f"`{self.path}` cannot be written: {error.strerror}; nothing was kept"
            ) from error
        self._size += len(data)

    def _begin_sync(self) -> tuple[int, Callable[[], None]]:
        """The number of the last entry, and what puts all up to it onto the disk. Raises OSError."""
        with self._lock:
            # Another thread may remove a file meanwhile; what is removed is in the tables, and they are on the disk.
            held = {path: found[0] for path, found in self._full.items()}
            if self._file is not None:
                held[self.path] = self._file
            files = [os.dup(held[path]) for path in self._unsynced if path in held]
            named, number = self._is_named, self._number
            self._unsynced, self._is_named = set(), True

        def sync() -> None:
            try:
                for file in files:
                    put_on_disk(file)
                if not named:
                    put_names_on_disk(self._folder)
            except OSError:
                with self._lock:
                    # What the system has failed to write once it may take for written later.
                    self._refused = True
                    self._turn()
                raise
            finally:
                for file in files:
                    os.close(file)

        return number, sync

    def _cut(self) -> None:
        """Take back half a frame: what comes after it could not be read."""
        if self._file is not None:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                if self._buffer:  # it refers to what is said in this file alone
                    _log.warning("%d bytes that were recorded are lost", len(self._buffer))
                    self._buffer.clear()
                self._turn()
