"""Loads one file of the spool into the tables, many entries in one transaction.

If something cannot be stored, the file is begun again from its writer's mark with few entries in each transaction, so
that nothing else is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from . import version_1
from .connection import commit
from .entries import Entry, decode, decode_all, says_more
from .errors import LedgerError
from .frames import MAX_NUMBER, Damage, Frame, first_frame
from .sequence import Missing, continuing, in_order
from .spool_files import SpoolFile, keep_aside, open_spool_file, writer_of
from .state_as_of import StateAsOf
from .storing import Refused, Rejected, assembler_of, finish, insert, mark, store

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_BATCH: Final = 2_000
"""Entries that are put together and inserted at once: two of most decisions."""

_TOGETHER: Final = 64
"""Entries that are read at once. More would all be alive at the same time, and Python would look through them for
garbage again and again, which takes longer than reading them."""

_BATCH_BYTES: Final = 4 * 1024**2
"""Bytes of entries that are: they take several times that in memory."""

_TRANSACTION_BYTES: Final = 256 * 1024**2
"""Bytes of entries in one transaction. Its memory does not grow with them, but if the process is killed, what it did is
done again."""


class Loading:
    """One ingestion: the open ledger, up to which number each writer's entries are in, and what is put together."""

    def __init__(self, connection: DuckDBPyConnection) -> None:
        self.connection = connection
        self.marks = dict(connection.execute("SELECT writer, entries FROM writers").fetchall())
        self.assembler = assembler_of(connection)

    def load(self, spool: SpoolFile, following: Path | None, done: list[tuple[Path, bool]]) -> int:
        """Commit the entries of a file beyond its writer's mark; return their number.

        A complete file goes into ``done``, with whether it was damaged. ``following`` is the next file, perhaps of the
        same writer. Raises LedgerError for a file of another kind.
        """
        try:
            return self._load(spool, following, done, careful=False)
        except Refused:
            self.connection.execute("ROLLBACK")
            self.assembler = assembler_of(self.connection)
            return self._load(spool, following, done, careful=True)

    def _load(
        self, spool: SpoolFile, following: Path | None, done: list[tuple[Path, bool]], *, careful: bool
    ) -> int:
        damaged_bytes = missing = 0
        marks = self.marks
        batch = _Batch(self, spool.writer, careful=careful)
        for one in _found(spool, marks, following, batch.state):
            if isinstance(one, Damage | Missing) and not (damaged_bytes or missing):
                keep_aside(spool.path)
            if isinstance(one, Damage):
                damaged_bytes += one.size
            elif isinstance(one, Missing):
                missing += one.entries
            else:
                batch.add(one)
        batch.commit()
        missing += _missing_at_end(spool, marks)
        if spool.complete:
            if damaged_bytes or missing:
                self.connection.execute("BEGIN")
                mark(self.connection, spool.writer, marks.get(spool.writer, 0), damaged=damaged_bytes)
                commit(self.connection)
            done.append((spool.path, bool(damaged_bytes or missing)))
        return batch.ingested


class _Batch:
    """Entries of one file on their way into the tables. What it does is lost unless it is committed."""

    def __init__(self, loading: Loading, writer: str, *, careful: bool) -> None:
        self.state = StateAsOf()
        self.ingested = 0
        self._loading, self._writer, self._careful = loading, writer, careful
        self._frames: list[Frame] = []
        self._rejected: list[Rejected] = []
        self._entries = self._bytes = self._uncommitted = self._seen = 0
        self._last: int | None = None  # the number of the last entry that was inserted and is not committed

    def add(self, frame: Frame) -> None:
        """Take one entry in."""
        self._frames.append(frame)
        self._entries += 1
        self._bytes += frame.size
        is_full = self._entries >= _BATCH or self._bytes > _BATCH_BYTES
        if is_full or len(self._frames) == _TOGETHER:
            self._put_together()
        if is_full:
            self._insert()
            if self._uncommitted > _TRANSACTION_BYTES:
                self._commit()

    def commit(self) -> None:
        """Commit what was taken in."""
        if self._frames:
            self._put_together()
        if self._entries:
            self._insert()
        self._commit()

    def _put_together(self) -> None:
        """Give entries to the assembler; what cannot be read is rejected with the reason."""
        take, writer = self._loading.assembler.take, self._writer
        for frame, entry in zip(self._frames, _entries(self._frames), strict=True):
            try:
                if isinstance(entry, LedgerError):
                    raise entry
                self.state.see(entry)
                take(writer, frame.number, entry, self.state)
            except LedgerError as error:
                self._rejected.append(Rejected(writer, frame.number, str(error), *frame.entry))
        self._seen = self._frames[-1].number
        self._frames.clear()

    def _insert(self) -> None:
        connection, assembler = self._loading.connection, self._loading.assembler
        if self._careful:
            store(connection, assembler, {self._writer: self._seen}, self._rejected)
        else:
            if self._last is None:
                connection.execute("BEGIN")
            insert(connection, assembler, self._rejected)
        self.ingested += self._entries
        self._uncommitted += self._bytes
        self._entries = self._bytes = 0
        self._rejected.clear()
        self._last = self._seen

    def _commit(self) -> None:
        if self._last is None:
            return
        if not self._careful:
            finish(self._loading.connection, self._loading.assembler, {self._writer: self._last})
        self._loading.marks[self._writer] = self._last
        self._uncommitted, self._last = 0, None


def _entries(frames: list[Frame]) -> Iterator[Entry | LedgerError]:
    old = version_1.BEGINNING.decode()
    if not any(frame.entry.text.startswith(old) for frame in frames):
        yield from decode_all([frame.entry.text for frame in frames])
        return
    for frame in frames:
        text, record = frame.entry
        try:
            yield version_1.decode(text, record) if text.startswith(old) else decode(text)
        except LedgerError as error:
            yield error


def _missing_at_end(spool: SpoolFile, marks: dict[str, int]) -> int:
    """How many entries a file should have beyond those that were found; its writer's mark then passes them."""
    missing = 0 if spool.last is None else max(0, spool.last - marks.get(spool.writer, 0))
    if missing and spool.last is not None:
        keep_aside(spool.path)
        marks[spool.writer] = spool.last
    return missing


def _found(
    spool: SpoolFile, marks: Mapping[str, int], following: Path | None, state: StateAsOf
) -> Iterator[Frame | Damage | Missing]:
    """What is in a file beyond its writer's mark, and what should be.

    The entries before the mark are shown to ``state``: those after it may name their parts.
    """
    after = marks.get(spool.writer, 0 if spool.is_first else None)

    def scan(start: int | None) -> Iterator[Frame | Damage]:
        for one in spool.frames(start):
            if after is not None and isinstance(one, Frame) and one.number <= after:
                with suppress(LedgerError):  # it has been rejected
                    if says_more(one.entry.text):
                        state.see(decode(one.entry.text))
            yield one

    if spool.complete:
        return in_order(scan, after=after, most=_highest_number(spool, following))
    return continuing(scan, after=after)


def _highest_number(spool: SpoolFile, following: Path | None) -> int:
    """The highest entry number that a complete file can hold."""
    if spool.last is not None:
        return spool.last
    if following is not None and writer_of(following) == spool.writer:
        # One that cannot be opened is reported when its turn comes.
        with suppress(LedgerError), open_spool_file(following) as after:
            first = None if after is None else first_frame(after.descriptor, after.size)
            if first is not None:
                return first.number - 1
    return MAX_NUMBER
