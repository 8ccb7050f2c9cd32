"""Says whether more may wait in a spool folder: a disk is finite, and nothing is dropped in silence."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

_MOST_BYTES: Final = 4 * 1024**3
_SHARE_OF_DISK: Final = 10
_LOOK_AGAIN_BYTES: Final = 16 * 1024**2
_LOOK_AGAIN_S: Final = 1.0


class Room:
    """The room in ``folder`` for what waits there of all writers, of which one asks.

    ``most`` is a number of bytes; without one it is 4 GiB, or a tenth of the disk's free space if that is less. The
    folder is looked at after every 16 MiB, and while it is full once a second.
    """

    def __init__(self, folder: Path, most: int | None, suffix: str) -> None:
        self._folder, self._chosen, self._suffix = folder, most, suffix
        self._looked_at_bytes: int | None = None
        self._looked_at_s = 0.0
        self._others = 0
        self.most = 0

    def is_left(self, own: int) -> bool:
        """Whether more may wait, when ``own`` bytes of the writer who asks do."""
        looked = self._looked_at_bytes
        if looked is None or abs(own - looked) >= _LOOK_AGAIN_BYTES:
            self._look(own)
        elif self._others + own > self.most and time.monotonic() - self._looked_at_s >= _LOOK_AGAIN_S:
            self._look(own)
        return self._others + own <= self.most

    def unasked(self, own: int) -> int:
        """Up to how many bytes of its own a writer need not ask again, which has just heard that there is room."""
        assert self._looked_at_bytes is not None
        return min(self._looked_at_bytes + _LOOK_AGAIN_BYTES, self.most - self._others + 1)

    def waiting(self, own: int) -> int:
        """How many bytes wait, as of the last look."""
        return self._others + own

    def _look(self, own: int) -> None:
        # What the writer who asks has written is among the files; what is in its memory is not.
        waiting = max(own, _bytes_in(self._folder, self._suffix))
        self._others = waiting - own
        self.most = self._chosen or min(_MOST_BYTES, (_free_bytes(self._folder) + waiting) // _SHARE_OF_DISK)
        # Last: another thread that asks meanwhile looks too, and does not take the room for full.
        self._looked_at_bytes, self._looked_at_s = own, time.monotonic()


def _bytes_in(folder: Path, suffix: str) -> int:
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix):
                    try:
                        total += entry.stat().st_size
                    except FileNotFoundError:  # ingested meanwhile
                        continue
    except OSError:  # there is none yet
        return 0
    return total


def _free_bytes(folder: Path) -> int:
    """What an ordinary account may still write on the disk of ``folder``, which may not exist yet."""
    for place in (folder, *folder.parents):
        try:
            found = os.statvfs(place)
        except OSError:
            continue
        return found.f_bavail * found.f_frsize
    return 0
