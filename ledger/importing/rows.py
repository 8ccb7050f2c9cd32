"""Reads the rows of foreign files: CSV, JSON, JSON lines, Parquet and SQLite, told apart by their first bytes.

A file is data: nothing in it becomes SQL or names another file. Memory does not grow with the length of the file.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Literal, NamedTuple

from ..errors import InputError

Format = Literal["csv", "json", "parquet", "sqlite"]

NAMES: Final = {"csv": "CSV", "json": "JSON", "parquet": "Parquet", "sqlite": "SQLite"}

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


class FileRow(NamedTuple):
    """One row: where it is (a line from 1, or a row of a file without lines), and its values by column."""

    place: int
    values: dict[str, Any]


class BadRow(NamedTuple):
    """A row that cannot be read, and why."""

    place: int
    why: str


class PassedOver(NamedTuple):
    """An entry that is no call of a model."""

    place: int


Entry = FileRow | BadRow | PassedOver


class Opened(NamedTuple):
    """A file that is being read; ``raw`` is the file itself, ``binary`` what is in it if it is packed."""

    path: Path
    format: Format
    binary: IO[bytes]
    size: int
    raw: IO[bytes]

    def done(self) -> int:
        """How many bytes of the file have been read."""
        return self.raw.tell()


@contextmanager
def open_file(path: Path) -> Iterator[Opened]:
    """The file at ``path``; raises InputError if it cannot be read. A file that gzip packed is read as what is in
    it.
    """
    try:
        with open(path, "rb") as raw:
            packed = raw.read(4).startswith(_GZIP)
            raw.seek(0)
            binary: IO[bytes] = gzip.open(raw, "rb") if packed else raw  # type: ignore[assignment]  # is one
            start = binary.read(64)
            binary.seek(0)
            found = _format_of(start, path)
            if packed and found in ("parquet", "sqlite"):
                raise InputError(f"`{path}`: {NAMES[found]} inside of gzip cannot be read", help="unpack it")
            yield Opened(path, found, binary, os.fstat(raw.fileno()).st_size, raw)
    except (OSError, EOFError) as error:  # gzip's own errors too
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"`{path}` cannot be read: {reason[:1].lower()}{reason[1:]}") from error


def _format_of(start: bytes, path: Path) -> Format:
    if start.startswith(b"PAR1"):
        return "parquet"
    if start.startswith(b"SQLite format 3\0"):
        return "sqlite"
    if start.startswith(_ZSTD):
        raise InputError(f"`{path}` is packed with Zstandard", help="unpack it first: `zstd -d FILE`")
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"`{path}` is UTF-16", help="convert it to UTF-8: `iconv -f UTF-16 -t UTF-8`")
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return "json" if text[:1] in (b"{", b"[") else "csv"
