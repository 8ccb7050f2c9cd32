"""The ledger: stores rows and answers SQL, in one DuckDB file that any DuckDB client can open.

The file is open only while a method runs or one of our writers loads its spool into the tables. Appending is all or
nothing, and appending the same rows again changes nothing. Recorded rows are never updated or deleted.
"""

from __future__ import annotations

import logging
import os
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from routewright.private_files import whole_file

from .appending import append, conflict
from .arrow import load_pyarrow
from .asking import ask
from .background import CLIENT_TIMEOUT_S
from .connection import commit, open_for_reading, open_for_writing
from .errors import BlockedError, BusyError, InputError, LedgerError, NotWrittenError
from .exporting import FORMS, FileForm, form_of, write_rows
from .finding import FoundDecision, find_decision
from .ingest import damage_kept, ingest
from .ledger_file import ShareDone
from .limits import Limits
from .migrate import create_ledger
from .paths import spool_folder
from .proven import ProvenLedger
from .replayed import ReplayedLedger
from .results import Appended, QueryResult, TailRow, Written
from .rows import AttemptRow, DecisionRow, PolicyRow
from .settings import DEFAULTS, LedgerSettings
from .shadows import refuse_shadows
from .snapshot import Snapshot, refuse_snapshot, take_snapshot
from .tailing import Followed, Tail, TailFilter, newest
from .views import make_views
from .writer import LedgerWriter

if TYPE_CHECKING:
    from .importing.importer import Imported
    from .importing.run import ImportReport, Progress
    from .outcomes import Outcome, RecordedOutcomes


_log = logging.getLogger(__name__)

_REST: Final = 4
"""Whoever follows the ledger waits so many times as long as looking took."""

LOCK_TIMEOUT_S: Final = 10.0
"""How long a ledger that another process holds open is waited for."""


class Ledger(ProvenLedger, ReplayedLedger):
    """A ledger file; get one by ``Ledger.open``. Safe to use from many threads and many processes."""

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        create: bool = True,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        settings: LedgerSettings = DEFAULTS,
    ) -> Ledger:
        """The ledger at ``path``, with its layout brought up to date.

        A missing file is created with its folders; with ``create=False`` it is a LedgerError. So are a file that is not
        a ledger and a ledger of a newer version. A ledger that is open elsewhere is opened all the same, and looked at
        when it is next used. Unacknowledged damage in its spool is logged as a warning.
        """
        ledger = cls(Path(os.path.abspath(path)), lock_timeout_s, settings)
        if not ledger.path.exists():
            if not create:
                raise LedgerError(
                    f"there is no ledger at `{ledger.path}`", help="run a task first, or name another file"
                )
            ledger._is_current = create_ledger(ledger.path)
        try:
            ledger._bring_up_to_date(CLIENT_TIMEOUT_S)
        except BlockedError as error:
            # Like everything to be written to the file, the migration waits; calls continue.
            _log.warning("%s", error)
            ledger._blocked = error
        damage = damage_kept(spool_folder(ledger.path))
        if damage is not None:
            _log.warning("%s", damage)
        return ledger

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to release: the file is closed whenever no method runs."""

    def append(
        self,
        decisions: Sequence[DecisionRow],
        attempts: Sequence[AttemptRow] = (),
        policies: Sequence[PolicyRow] = (),
    ) -> Appended:
        """Write all rows in one transaction; when this returns they are on disk.

        Decisions that the ledger has (by id), attempts that it has (by decision id and number) and policies that it
        has (by digest) are counted and not written again. Raises LedgerError, with nothing written, when a decision is
        there with another record, when an attempt has no decision, when something in the file shadows names of ours,
        and when the file stays open elsewhere.
        """
        self._bring_up_to_date()
        new_decisions = _unique_decisions(decisions)
        ids = [_uuid(row.decision_id) for row in attempts]
        new_attempts = {
            (id, row.attempt.number): row._replace(decision_id=id)
            for id, row in zip(ids, attempts, strict=True)
        }
        with open_for_writing(self._path, lock_timeout_s=self._lock_timeout_s) as connection:
            refuse_snapshot(connection, self._path)
            refuse_shadows(connection)
            connection.execute("BEGIN")
            written = append(connection, new_decisions, list(new_attempts.values()), policies)
            make_views(connection)
            commit(connection)
        given = len(policies) + len(decisions) + len(attempts)
        return Appended(*written, already_there=given - sum(written))

    def writer(self) -> LedgerWriter:
        """A writer of its own for whoever records much: it never waits for the file. Close it in the end."""
        return LedgerWriter(
            self._path,
            self._lock_timeout_s,
            settings=self._settings,
            counts=self._full,
            blocked=self._note_blocked,
        )

    def ingest(self) -> int:
        """Put what writers have left waiting into the tables; how many entries that were.

        ``query`` and ``tail`` do so themselves. Raises LedgerError when the file stays busy or cannot be written:
        then everything still waits.
        """
        return ingest(self._path, lock_timeout_s=self._lock_timeout_s)

    def query(
        self,
        sql: str,
        parameters: Mapping[str, object] | None = None,
        *,
        timezone: str = "UTC",
        interval_text: bool = False,
        max_rows: int | None = Limits.max_rows,
        timeout_s: float = Limits.timeout_s,
        max_memory_mb: int = Limits.max_memory_mb,
        max_disk_mb: int = Limits.max_disk_mb,
        progress: ShareDone | None = None,
    ) -> QueryResult:
        """What one SQL statement gives, at most ``max_rows`` rows of it; None is no limit.

        ``parameters`` are the values for names such as ``$team`` in it, by name without the ``$``. They are bound, and
        never become part of the statement; each has the type that DuckDB gives to its Python type. Times are shown in
        ``timezone``, such as ``Europe/Berlin``, and ``current_date`` and ``date_trunc`` go by it. An INTERVAL is a
        ``timedelta``, in which a month has 30 days; with ``interval_text`` it is text such as ``1 month 2 days``.

        What waits in spools is taken in first; where that cannot be, ``stale`` of the result says why. The statement
        can read the ledger and nothing else: no files, no network, no settings. What does not fit into memory goes to
        disk, beside the ledger, until the statement ends. A MB is 1,000,000 bytes. While it runs, ``progress`` is
        called again and again with the share that is done, from 0 to 1, or None where that is not known; what it raises
        stops the statement.

        Raises LedgerError for anything that is not one reading statement, for a mistake in it (with its place), for
        a parameter without a value or a value without a parameter, and when it takes more than a limit allows: then it
        is stopped. Ctrl-C stops it too.
        """
        limits = Limits(max_rows, timeout_s, max_memory_mb, max_disk_mb)
        stale = self._refresh()
        result = self._read(
            lambda connection: ask(connection, sql, parameters or {}, limits, interval_text=interval_text),
            limits,
            timezone=timezone,
            progress=progress,
        )
        return replace(result, stale=stale, timezone=timezone)

    def export(
        self,
        sql: str,
        file: str | os.PathLike[str],
        parameters: Mapping[str, object] | None = None,
        *,
        form: FileForm | None = None,
        overwrite: bool = False,
        timezone: str = "UTC",
        max_rows: int | None = None,
        timeout_s: float = Limits.timeout_s,
        max_memory_mb: int = Limits.max_memory_mb,
        max_disk_mb: int = Limits.max_disk_mb,
        progress: ShareDone | None = None,
    ) -> Written:
        """Write what one SQL statement gives into a file, which appears whole or not at all, with mode 0600.

        ``form`` is ``csv``, ``json``, ``jsonl``, ``parquet`` or ``arrow`` (which needs the extra ``arrow``), by default
        what the file's name says. Rows are written as they come, so that memory does not grow with them. In Parquet and
        Arrow files a HUGEINT is a decimal of 38 digits, VARIANT and JSON are JSON text, and INTERVAL is text. All else
        is as in ``query``.

        Also raises NotWrittenError when the file is there already and is not to be overwritten, or cannot be written.
        """
        limits = Limits(max_rows, timeout_s, max_memory_mb, max_disk_mb)
        target = Path(file)
        chosen = form or form_of(target)
        if chosen is None:
            raise InputError(
                f"the name of `{target}` does not say what form it has",
                help=f"the forms are {', '.join(FORMS)}",
            )
        if chosen == "arrow":
            load_pyarrow()  # what it takes is not the statement's
        stale = self._refresh()
        try:
            with whole_file(target, replace=overwrite) as draft:
                written = self._read(
                    lambda connection: write_rows(
                        connection, sql, parameters or {}, limits, form=chosen, file=draft
                    ),
                    limits,
                    timezone=timezone,
                    writes=draft if chosen == "parquet" else None,
                    progress=progress,
                )
        except OSError as error:
            raise NotWrittenError(
                f"`{target}` cannot be written: {(error.strerror or str(error)).lower()}"
            ) from error
        return replace(written, stale=stale)

    def tail(self, n: int, where: TailFilter = TailFilter()) -> tuple[TailRow, ...]:  # noqa: B008  # frozen
        """The ``n`` newest decisions that fit, oldest first, each with what came of it.

        What waits in spools is taken in first, where that can be. Ctrl-C stops it.
        """
        self._refresh()
        return self._read(
            lambda connection: tuple(newest(connection, n, where)), Limits(), own_statement=True
        )

    def newest(self, n: int, where: TailFilter = TailFilter()) -> Followed:  # noqa: B008  # frozen
        """What ``tail`` gives, and the decisions whose calls are under way."""
        self._refresh()
        return self._read(Tail(n, where).look, Limits(), own_statement=True)

    def follow(
        self,
        n: int,
        where: TailFilter = TailFilter(),  # noqa: B008  # frozen
        *,
        every_s: float = 1.0,
    ) -> Iterator[Followed]:
        """The ``n`` newest decisions that fit, and then without an end those that come, as often as ``every_s``.

        The ledger is open for moments only, and less often if reading it takes long. While another process keeps it
        open, nothing is given, and ``notices`` says so.
        """
        tail = Tail(n, where)
        while True:
            began = time.monotonic()
            self._refresh()
            try:
                found = self._read(tail.look, Limits(), own_statement=True)
            except BusyError as error:
                self._blocked = error
            else:
                yield found
            time.sleep(max(every_s, _REST * (time.monotonic() - began)))

    def find(self, beginning: str | None = None) -> FoundDecision:
        """The decision whose id is ``beginning``, or begins so; by default the newest.

        It has what was decided, the texts of policy and catalog, and its attempts.

        What waits in spools is taken in first, where that can be. Raises UnknownDecisionError if there is none, or more
        than one.
        """
        self._refresh()
        return self._read(
            lambda connection: find_decision(connection, beginning), Limits(), own_statement=True
        )

    def snapshot(self, path: str | os.PathLike[str]) -> Snapshot:
        """A copy of the ledger at ``path``, for other clients, in place of an earlier snapshot there.

        What waits in spools is taken in first; where that cannot be, ``stale`` of the result says why. The file is
        readable by its owner only, and a missing folder is not made. Raises LedgerError when something else is there,
        when it cannot be written, and when another client keeps writing to the ledger.
        """
        stale = self._refresh()
        return take_snapshot(self._path, Path(path), lock_timeout_s=self._lock_timeout_s, stale=stale)

    def record_outcomes(self, outcomes: Iterable[Outcome]) -> RecordedOutcomes:
        """Record what was found out about answers, all of it or nothing.

        An outcome of the same decision, attempt, model, metric and source supersedes the one before; with the same
        value it is counted as there already. What waits in spools is taken in first. Raises LedgerError, with nothing
        recorded, for an unknown decision, attempt or model and for a value that is none.
        """
        from .outcomes import record_outcomes

        self._refresh()
        return record_outcomes(self._path, self._lock_timeout_s, outcomes)

    def import_file(
        self,
        source: str,
        path: str | os.PathLike[str],
        *,
        name: str | None = None,
        mapping: str | os.PathLike[str] | None = None,
        progress: Progress | None = None,
    ) -> ImportReport:
        """Import what another router has logged; ``docs/importing.md`` lists the sources.

        Calls that are there already change nothing. Rows that cannot be read are counted, and the first of them named
        in the report. ``progress`` is told the bytes read, all bytes of the file, and the rows. Raises LedgerError
        for a file that cannot be read to its end; what was stored before stays. Raises PolicyError for a bad
        ``mapping``.
        """
        from .importing.importer import find_source, import_into

        found, named = find_source(source, None if mapping is None else Path(mapping))
        return import_into(self._path, self._lock_timeout_s, Path(path), found, name or named, progress)

    def imports(self) -> tuple[Imported, ...]:
        """What has been imported, by name; the import that was read last comes last."""
        from .importing.importer import list_imports

        with open_for_reading(
            self._path, lock_timeout_s=self._lock_timeout_s, own_statement=True
        ) as connection:
            return list_imports(connection)

    def remove_import(self, name: str) -> tuple[int, int]:
        """Remove an import whole; how many requests and calls it had. Raises LedgerError if there is none."""
        from .importing.importer import remove_import

        return remove_import(self._path, self._lock_timeout_s, name)


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError as error:
        raise LedgerError(
            f"`{text}` is not a decision id: a UUID was expected; nothing was written"
        ) from error


def _unique_decisions(decisions: Sequence[DecisionRow]) -> dict[str, DecisionRow]:
    unique: dict[str, DecisionRow] = {}
    for row in decisions:
        if _uuid(row.decision_id) != row.decision_id:
            raise LedgerError(
                f"the decision id `{row.decision_id}` is not written as a UUID is; nothing was written",
                help=f"write `{_uuid(row.decision_id)}`: a record's digest covers it as it is written",
            )
        first = unique.setdefault(row.decision_id, row)
        if first.record != row.record:
            raise conflict(row.decision_id)
    return unique
