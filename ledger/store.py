"""The ledger: stores rows and answers SQL, in one DuckDB file that any DuckDB client can open.

The file is open only while a method runs or one of our writers loads its spool into the tables. Appending is all or
nothing, and appending the same rows again changes nothing. Recorded rows are never updated or deleted.
"""

from __future__ import annotations

import logging
import math
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

from routewright.private_files import whole_file

from .appending import append, conflict
from .arrow import load_pyarrow
from .asking import MOST_COUNTED, ask, count_rejected
from .background import CLIENT_TIMEOUT_S
from .connection import commit, open_for_reading, open_for_writing
from .errors import BlockedError, BusyError, InputError, LedgerError, NotWrittenError
from .exporting import FORMS, FileForm, form_of, write_rows
from .finding import FoundDecision, find_decision
from .ingest import damage_kept, ingest
from .limits import Limits
from .migrate import apply_migrations, create_ledger, latest_version, layout_version
from .paths import ERASING, spool_folder
from .replay.selecting import ALL_REAL, Selection
from .results import Appended, QueryResult, TailRow, Written
from .rows import AttemptRow, DecisionRow, PolicyRow
from .settings import DEFAULTS, LedgerSettings
from .shadows import refuse_shadows
from .snapshot import Snapshot, refuse_snapshot, take_snapshot
from .stoppable import Running, run_stoppably
from .tailing import Followed, Tail, TailFilter, newest
from .views import make_views
from .writer import FullCounts, LedgerWriter

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from routewright.engine.policy import CompiledPolicy

    from .canaries import JudgedCanary
    from .erasing import Erased, ToErase
    from .importing.importer import Imported
    from .importing.run import ImportReport, Progress
    from .outcomes import Outcome, RecordedOutcomes
    from .proof.checkpoint import SignedCheckpoint
    from .proof.note import PublicKey
    from .pruning import Pruned
    from .replay.again import SelfReport
    from .replay.report import ReplayReport
    from .verifying import Verification


T = TypeVar("T")
ShareDone = Callable[[float | None], None]

_log = logging.getLogger(__name__)

_REST: Final = 4
"""Whoever follows the ledger waits so many times as long as looking took."""

REPLAY_TIMEOUT_S: Final = 3600.0
"""How long a replay may take."""

LOCK_TIMEOUT_S: Final = 10.0
"""How long a ledger that another process holds open is waited for."""


class Ledger:
    """A ledger file; get one by ``Ledger.open``. Safe to use from many threads and many processes."""

    def __init__(self, path: Path, lock_timeout_s: float, settings: LedgerSettings = DEFAULTS) -> None:
        self._path = path
        self._lock_timeout_s = lock_timeout_s
        self._settings = settings
        self._full = FullCounts()
        self._blocked: LedgerError | None = None
        self._rejected = 0
        self._is_current = False

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

    def _bring_up_to_date(self, client_timeout_s: float | None = None) -> None:
        """Apply the migrations that the file lacks, unless that was done before."""
        if self._is_current:
            return
        lock_timeout_s = self._lock_timeout_s
        with open_for_reading(
            self._path, lock_timeout_s=lock_timeout_s, client_timeout_s=client_timeout_s, own_statement=True
        ) as connection:
            current = layout_version(connection, self._path) == latest_version()
        if not current:
            with open_for_writing(
                self._path, lock_timeout_s=lock_timeout_s, client_timeout_s=client_timeout_s
            ) as connection:
                refuse_shadows(connection)
                apply_migrations(connection, self._path)
        self._is_current = True

    @property
    def path(self) -> Path:
        """The file, as an absolute path."""
        return self._path

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

    def replay(
        self,
        candidate: CompiledPolicy | None,
        selection: Selection | None = None,
        *,
        assume: Sequence[str] = (),
        each: bool = False,
        examples: int = 3,
        consequences: bool = True,
        timeout_s: float = REPLAY_TIMEOUT_S,
        max_memory_mb: int = Limits.max_memory_mb,
        max_disk_mb: int = Limits.max_disk_mb,
        progress: ShareDone | None = None,
    ) -> ReplayReport:
        """What ``candidate`` would have made of the decisions that are recorded, with the facts of then.

        Without a candidate each is made again by the policy that decided it. ``assume`` says what is to be otherwise
        than it was, such as ``glm-4.5=down`` or ``price:kimi-k2-cloud*2``; all of it holds at once, and with ``each``
        the report also counts what comes of each by itself.

        By default all that were executed and real are decided again. The report has up to ``examples`` decisions of
        each change, and unless ``consequences`` is false what would have come of it. What waits in spools is taken in
        first. ``progress`` and limits are as in ``query``.

        Raises LedgerError for a condition of the selection that is none, and when it takes more than a limit allows;
        AssumptionError for an assumption that cannot be read or fits no policy.
        """
        from .replay.assumptions import parse_assumption
        from .replay.replaying import replay

        assumptions = [parse_assumption(text) for text in assume]
        self._refresh()
        limits = Limits(None, timeout_s, max_memory_mb, max_disk_mb)
        return self._read(
            lambda connection: replay(
                connection,
                candidate,
                selection or ALL_REAL,
                assumptions,
                each=each,
                examples=examples,
                with_consequences=consequences,
            ),
            limits,
            own_statement=True,
            progress=progress,
        )

    def replay_self(
        self,
        selection: Selection | None = None,
        *,
        timeout_s: float = REPLAY_TIMEOUT_S,
        max_memory_mb: int = Limits.max_memory_mb,
        max_disk_mb: int = Limits.max_disk_mb,
        progress: ShareDone | None = None,
    ) -> SelfReport:
        """Compare every recorded decision with what its own policy makes of the recorded facts now.

        Each policy is compiled from the text that the ledger keeps under its digest. All else is as in ``replay``.
        """
        from .replay.again import decide_again

        self._refresh()
        limits = Limits(None, timeout_s, max_memory_mb, max_disk_mb)
        return self._read(
            lambda connection: decide_again(connection, selection or ALL_REAL),
            limits,
            own_statement=True,
            progress=progress,
        )

    def judge_canary(self, policy: CompiledPolicy, *, since_us: int = 0) -> JudgedCanary:
        """Judge the canary of ``policy`` under its own ``abort_when`` and ``promote_when``, as often as you like.

        What counts are the real decisions of this policy and candidate from ``since_us`` on (microseconds since 1970,
        UTC) that chance gave to either arm. What waits in spools is taken in first. Raises ValueError for a policy
        without a canary, and LedgerError as ``query`` does.
        """
        from .canaries import judge_canary

        self._refresh()
        return self._read(
            lambda connection: judge_canary(connection, policy, since_us=since_us),
            Limits(),
            own_statement=True,
        )

    def snapshot(self, path: str | os.PathLike[str]) -> Snapshot:
        """A copy of the ledger at ``path``, for other clients, in place of an earlier snapshot there.

        What waits in spools is taken in first; where that cannot be, ``stale`` of the result says why. The file is
        readable by its owner only, and a missing folder is not made. Raises LedgerError when something else is there,
        when it cannot be written, and when another client keeps writing to the ledger.
        """
        stale = self._refresh()
        return take_snapshot(self._path, Path(path), lock_timeout_s=self._lock_timeout_s, stale=stale)

    def sign_checkpoint(self, keys: str | os.PathLike[str], *, origin: str | None = None) -> SignedCheckpoint:
        """Sign what the log of the ledger is now, with its key in the folder ``keys``, which is made if there is none.

        What waits in spools is taken in first. The checkpoint is kept beside the ledger, with the tiles of the log;
        keep a copy elsewhere. ``origin`` names the log, the first time. Raises ProofError, with nothing signed, for
        another name later, for a key that others may use, and where the log does not begin with what was signed before.
        """
        from .checkpoints import sign_checkpoint

        self._refresh()
        return sign_checkpoint(self._path, self._lock_timeout_s, keys=Path(keys), origin=origin)

    def verify(
        self,
        checkpoints: Mapping[str, SignedCheckpoint] | None = None,
        *,
        keys: Sequence[PublicKey] = (),
        key_folder: str | os.PathLike[str] | None = None,
        since: str | None = None,
    ) -> Verification:
        """Compare all rows with the log, and the log with the checkpoint beside it and those that are given.

        ``checkpoints`` were kept elsewhere; their names are for the messages. Their signatures are checked with
        ``keys``, and with the key of this log in the folder of signing keys, if it is there. ``since`` is the name of
        one of them, or ``newest`` for the one beside the ledger: then rows that came before it are not read. What waits
        in spools is taken in first. Raises LedgerError for a file that cannot be read, and ProofError if there is no
        such checkpoint, or its log has not signed it.
        """
        from .verifying import verify_ledger

        self._refresh()
        folder = None if key_folder is None else Path(key_folder)
        return self._read(
            lambda connection: verify_ledger(
                connection,
                self._path,
                given=checkpoints or {},
                keys=keys,
                key_folder=folder,
                since=since,
            ),
            Limits(timeout_s=math.inf),
            own_statement=True,
        )

    def export_log(
        self,
        file: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        timeout_s: float = math.inf,
    ) -> int:
        """Write the log and what its leaves are made of into a file; return how many leaves that are.

        ``docs/verifying.md`` defines its lines of JSON, from which another program can verify the ledger. The file
        appears whole or not at all, with mode 0600. Raises NotWrittenError as ``export`` does, and ProofError for a log
        in which a leaf is missing.
        """
        from .exporting_log import write_log

        self._refresh()
        try:
            with whole_file(Path(file), replace=overwrite) as draft:
                return self._read(
                    lambda connection: write_log(connection, draft),
                    Limits(timeout_s=timeout_s),
                    own_statement=True,
                )
        except OSError as error:
            raise NotWrittenError(
                f"`{file}` cannot be written: {(error.strerror or str(error)).lower()}"
            ) from error

    def erase(self, what: ToErase) -> Erased:
        """Erase values of features, or whole decisions, from the tables and from every byte of the ledger's files.

        What waits in spools is taken in first. The file is rewritten, which takes its room once more for a while;
        nobody else can open it meanwhile. That something was erased is a row of ``erasures``, with a leaf in the log.
        Copies that were made before are not touched. Raises LedgerError, with nothing erased, for a condition or an id
        that is none. Where it is cut short later, ``notices`` say so, and ``finish_erasing`` completes it.
        """
        from .rewriting import erase_from

        self._bring_up_to_date()
        return erase_from(self._path, self._lock_timeout_s, what)

    def would_erase(self, what: ToErase) -> Erased:
        """What ``erase`` would erase. Nothing changes."""
        from .rewriting import would_erase

        self._refresh()
        return would_erase(self._path, self._lock_timeout_s, what)

    def finish_erasing(self) -> None:
        """Rewrite the ledger's files once more, without what was erased or pruned from its tables."""
        from .rewriting import rewritten

        self._bring_up_to_date()
        with rewritten(self._path, self._lock_timeout_s):
            pass

    def prune(
        self,
        before: date,
        keys: str | os.PathLike[str],
        *,
        origin: str | None = None,
        reason: str | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Pruned:
        """Drop all that was decided before ``before``, the first day of a month in UTC, from every byte of the files.

        Gone are decisions with their attempts and outcomes, what only their records need, and what was imported of that
        time; texts of policies stay. First a checkpoint is signed with the key in the folder ``keys``, as by
        ``sign_checkpoint``, and what goes is compared with the log. The checkpoint is kept in the table ``prunings``,
        and the leaves stay in the log, so that older checkpoints and receipts remain valid. Another one is signed when
        it is done. The file is rewritten as by ``erase``. ``tell`` hears what is being done.

        Raises LedgerError for another day and for a month that has not begun, ProofError as ``sign_checkpoint`` does,
        and where something of what would go is not as it was recorded: then nothing was pruned.
        """
        from .pruning_files import prune_from

        self._bring_up_to_date()
        return prune_from(
            self._path,
            self._lock_timeout_s,
            before,
            keys=Path(keys),
            origin=origin,
            reason=reason,
            tell=tell,
        )

    def would_prune(self, before: date) -> Pruned:
        """What ``prune`` would prune. Nothing changes. Raises LedgerError as ``prune`` does."""
        from .pruning_files import would_prune

        self._refresh()
        return would_prune(self._path, self._lock_timeout_s, before)

    def prove(self, beginning: str, *, attempt: int | None = None, outcome: str | None = None) -> str:
        """The receipt of the decision whose id begins so, which ``check_receipt`` checks without the ledger.

        With ``attempt`` it is that of an attempt, by its number; with ``outcome`` that of an outcome, by its metric or
        the beginning of its id. Raises UnknownDecisionError as ``find`` does, and ProofError where no checkpoint covers
        it, where it is not as it was recorded, and where there is none, or more than one.
        """
        from .receipts import prove

        self._refresh()
        return self._read(
            lambda connection: prove(
                connection,
                self._path,
                find_decision(connection, beginning).decision_id,
                attempt=attempt,
                outcome=outcome,
            ),
            Limits(),
            own_statement=True,
        )

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

    def notices(self) -> tuple[str, ...]:
        """Notices for the ledger's user: why recorded rows still wait, rejected entries, damage.

        The number of rejected entries is the one that the last ``query`` or ``tail`` found. Damage is reported until
        somebody has deleted or moved the files that are kept.
        """
        waiting = self._waiting_text()
        found = (
            waiting,
            _full_text(self._full),
            _rejected_text(self._rejected),
            damage_kept(spool_folder(self._path)),
            _unfinished_text(spool_folder(self._path)),
        )
        return tuple(notice for notice in found if notice is not None)

    def _read(
        self,
        work: Callable[[DuckDBPyConnection], T],
        limits: Limits,
        *,
        timezone: str = "UTC",
        writes: Path | None = None,
        own_statement: bool = False,
        progress: ShareDone | None = None,
    ) -> T:
        """What ``work`` gives on a connection that reads, within limits."""

        def opened(running: Running) -> tuple[T, int]:
            with open_for_reading(
                self._path,
                lock_timeout_s=self._lock_timeout_s,
                limits=limits,
                timezone=timezone,
                writes=writes,
                own_statement=own_statement,
            ) as connection:
                running.begin(connection)
                return work(connection), count_rejected(connection)

        def watch(running: Running) -> None:
            if running.seconds > limits.timeout_s:
                raise limits.too_long()
            if running.grown_bytes > limits.max_memory_mb * 1e6:
                raise limits.too_much_memory()
            if progress is not None and running.has_begun:
                progress(running.done_share)

        given, self._rejected = run_stoppably(opened, watch)
        return given

    def _refresh(self) -> str | None:
        """Why something may still wait in spools; None when nothing does.

        Raises LedgerError for what turns out to be no ledger, or one of a newer version.
        """
        try:
            self._bring_up_to_date(CLIENT_TIMEOUT_S)
            ingest(self._path, lock_timeout_s=self._lock_timeout_s, client_timeout_s=CLIENT_TIMEOUT_S)
        except LedgerError as error:
            if not self._is_current and not isinstance(error, BlockedError):
                raise
            _log.warning("the newest decisions may be missing: %s", error)
            self._blocked = error
            return str(error)
        self._blocked = None
        return None

    def _note_blocked(self, error: LedgerError) -> None:
        self._blocked = error

    def _waiting_text(self) -> str | None:
        """The notice about rows that wait."""
        match self._blocked:
            case None:
                return None
            case BusyError(holder=holder):
                return (
                    f"the newest decisions wait in `{spool_folder(self._path)}`, where they are safe, while {holder} "
                    "holds the ledger open; let other clients open a copy (`routewright ledger snapshot FILE`)"
                )
            case error:
                return f"the newest decisions may be missing: {error}"


def _unfinished_text(folder: Path) -> str | None:
    """The notice about erasing or pruning that was cut short."""
    if not (folder / ERASING).exists():
        return None
    return (
        "erasing or pruning was cut short, and what was to go may still be in the ledger's files: "
        "`routewright ledger erase --finish` completes it"
    )


def _full_text(counts: FullCounts) -> str | None:
    """The notice about what found the spool full."""
    found = {"was refused": counts.refused, "waited for room": counts.blocked}
    said = [f"{what} {'once' if n == 1 else f'{n:,} times'}" for what, n in found.items() if n]
    return f"the spool was full: recording {' and '.join(said)}" if said else None


def _rejected_text(count: int) -> str | None:
    """The notice about rejected entries: anyone who counts decisions must know that some are missing."""
    if not count:
        return None
    number = f"more than {MOST_COUNTED:,}" if count > MOST_COUNTED else f"{count:,}"
    entries = "1 entry" if count == 1 else f"{number} entries"
    return (
        f"{entries} could not be stored as rows, and no table but `rejected` has them: ask"
        ' `routewright ledger sql "SELECT writer, entry, error FROM rejected"`'
    )


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
