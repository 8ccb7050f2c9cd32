"""The format of a spool file: encodes entries as frames, and finds the whole frames in any bytes.

A frame is a length, a checksum of what follows, a number, and the texts of one entry. A file begins with a line that
names its kind. After damage, the next frame is found by the bytes that every entry begins with, so only the damaged
frames are lost. A valid entry cannot contain a frame: a frame's number has a zero byte, and JSON has none.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple
from zlib import crc32

from .entries import BEGINNING
from .errors import LedgerError
from .version_1 import BEGINNING as BEGINNING_1

MAGIC: Final = b"routewright spool 2\n"
_MAGIC_1: Final = b"routewright spool 1\n"
"""How files of earlier versions begin, whose records stand beside the rest of an entry."""

MAX_FRAME_BYTES: Final = 64 * 1024**2
"""A longer entry is refused when it is added; a greater length in a file is damage and is not read."""

_HEAD: Final = struct.Struct("<IIQIB")
"""Length of what follows the checksum, checksum, number, length of the text besides the record, has a record."""
_CHECKED: Final = 8
"""Where the checksummed bytes begin."""
_BODY: Final = struct.Struct("<QI?")
"""The fields of the head that the checksum covers."""
_BODY_BYTES: Final = _BODY.size
_MAX_TEXT_BYTES: Final = MAX_FRAME_BYTES - _BODY_BYTES
_pack_head, _pack_body = _HEAD.pack, _BODY.pack
MAX_NUMBER: Final = 2**63 - 1
"""The highest number that the ledger's tables can hold."""

_BEGINNINGS: Final = (BEGINNING, BEGINNING_1)
_FRAMES: Final = 64 * 1024
"""Whole frames are read in pieces of this size."""
_PIECE: Final = 1024**2
"""Damaged parts are searched in pieces of this size."""


class Texts(NamedTuple):
    """The text of an entry; in files of earlier versions, the text of a record beside it."""

    text: str
    record: str | None


class Frame(NamedTuple):
    """One entry and its number; ``at`` is the offset of the frame, and ``size`` its length in bytes."""

    number: int
    entry: Texts
    at: int
    size: int


class Damage(NamedTuple):
    """A run of bytes that are not part of a whole frame."""

    size: int


def encode_frame(number: int, text: bytes) -> bytes:
    """An entry's text as a frame. Raises LedgerError if it is too long for one."""
    size = len(text)
    if size > _MAX_TEXT_BYTES:
        raise LedgerError(f"a row has more than {MAX_FRAME_BYTES // 1024**2} MiB; nothing was written")
    checksum = crc32(text, crc32(_pack_body(number, size, False)))
    return _pack_head(_BODY_BYTES + size, checksum, number, size, False) + text


def find_frames(file: int, size: int, start: int | None = None) -> Iterator[Frame | Damage]:
    """The whole frames among the first ``size`` bytes of an open file, in order, and the damage between them.

    ``start`` is the offset of a frame; without it the whole file is searched.

    A partial frame at the end is damage, and so is what the disk cannot read. Only one frame and one piece are in
    memory at a time, and holes of a sparse file are skipped.
    """
    if start is None:
        start = len(MAGIC) if begins_as_spool(file, size) else 0
    at = good = start
    read = _Pieces(file).read
    while at < size:
        found = _frame_at(read, at, size)
        if found is None:
            at = _next_beginning(file, at + _HEAD.size + 1, size)
            continue
        if at > good:
            yield Damage(at - good)
        at = good = found.at + found.size
        yield found
    if size > good:
        yield Damage(size - good)


def begins_as_spool(file: int, size: int) -> bool:
    """Whether a file of ``size`` bytes begins as a spool does."""
    return _read(file, len(MAGIC), 0) in (MAGIC[:size], _MAGIC_1[:size])


def first_frame(file: int, size: int) -> Frame | None:
    """The first whole frame, if there is one."""
    return next((found for found in find_frames(file, size) if isinstance(found, Frame)), None)


class _Pieces:
    """Reads a file from its beginning to its end in pieces that hold many frames."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._at = 0
        self._bytes = b""

    def read(self, size: int, at: int) -> bytes:
        """As ``_read``."""
        begin = at - self._at
        if 0 <= begin and begin + size <= len(self._bytes):
            return self._bytes[begin : begin + size]
        self._at, self._bytes = at, _read(self._file, max(size, _FRAMES), at)
        # Where a part of a piece cannot be read, what comes before it can, by itself.
        return self._bytes[:size] if len(self._bytes) >= size else _read(self._file, size, at)


def _frame_at(read: Callable[[int, int], bytes], at: int, size: int) -> Frame | None:
    """The frame that begins at ``at``; None if the bytes there are not a whole frame."""
    head = read(_HEAD.size, at)
    if len(head) < _HEAD.size:
        return None
    length, checksum, number, metadata, has_record = _HEAD.unpack(head)
    texts = length - _BODY_BYTES
    end = at + _CHECKED + length
    if (
        not 0 <= texts <= MAX_FRAME_BYTES
        or end > size
        or has_record > 1
        or (metadata > texts if has_record else metadata != texts)
        or not 1 <= number <= MAX_NUMBER
    ):
        return None
    data = read(texts, at + _HEAD.size)
    if len(data) < texts or crc32(data, crc32(head[_CHECKED:])) != checksum:
        return None
    try:
        entry = Texts(data[:metadata].decode(), data[metadata:].decode() if has_record else None)
    except UnicodeDecodeError:
        return None
    return Frame(number, entry, at, end - at)


def _next_beginning(file: int, at: int, size: int) -> int:
    """The next offset at which a frame may begin whose entry begins at ``at`` or later; ``size`` if there is none."""
    while (at := _skip_hole(file, at, size)) < size:
        wanted = min(_PIECE, size - at)
        piece = _read(file, wanted, at)
        positions = [found for one in _BEGINNINGS if (found := piece.find(one)) >= 0]
        if positions:
            return at + min(positions) - _HEAD.size
        if at + wanted == size:
            break
        at += wanted - max(map(len, _BEGINNINGS)) + 1
    return size


def _read(file: int, size: int, at: int) -> bytes:
    """Bytes of the file; fewer if the file has become shorter, none if the disk cannot read them."""
    try:
        return os.pread(file, size, at)
    except OSError:
        return b""


def _skip_hole(file: int, at: int, size: int) -> int:
    if at >= size:
        return size
    try:
        return os.lseek(file, at, os.SEEK_DATA)
    except OSError as error:
        # ENXIO: only a hole is left. Any other error: the file system does not report holes, so there are none to skip.
        return size if error.errno == errno.ENXIO else at
