"""What a ledger can prove, and what goes from it on record: checkpoints, receipts, erasing, pruning."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from routewright.private_files import whole_file

from .errors import NotWrittenError
from .finding import find_decision
from .ledger_file import LedgerFile
from .limits import Limits

if TYPE_CHECKING:
    from .erasing import Erased, ToErase
    from .proof.checkpoint import SignedCheckpoint
    from .proof.note import PublicKey
    from .pruning import Pruned
    from .verifying import Verification


class ProvenLedger(LedgerFile):
    """A ledger whose rows have a log: see ``docs/verifying.md``."""

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
        one of them, ``newest`` for the one beside the ledger, or the size of one that a pruning has kept: then rows
        that came before it are not read. What waits in spools is taken in first. Raises LedgerError for a file that
        cannot be read, and ProofError if there is no such checkpoint, or its log has not signed it.
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

    def prove(self, beginning: str, *, attempt: int | None = None, outcome: str | None = None) -> str:
        """The receipt of the decision whose id begins so, which ``check_receipt`` checks without the ledger.

        With ``attempt`` it is that of an attempt, by its number; with ``outcome`` that of an outcome, by its metric or
        the beginning of its id. Raises UnknownDecisionError as ``find`` does, InputError where there is none, or more
        than one, and ProofError where no checkpoint covers it, and where it is not as it was recorded.
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
