"""Verifies a ledger: its rows against its log, and its log against checkpoints that were signed before."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .checkpoints import newest_checkpoint, origin_of
from .comparing import compare
from .comparing_records import count_unproven
from .errors import ProofError
from .proof.checkpoint import SignedCheckpoint
from .proof.keys import with_own_key
from .proof.leaf import Kind
from .proof.note import PublicKey
from .pruned import Pruning, prunings
from .reading_log import Log
from .scope import Fault, Scope

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_FAULTS: Final = 20
"""So many faults are kept, those of the first leaves; all are counted."""

NEWEST: Final = "newest"
"""What the checkpoint beside the ledger is called where one is chosen."""

_BESIDE: Final = "the checkpoint beside the ledger"


class Agreed(NamedTuple):
    """A checkpoint of ``size`` leaves that the log begins with, and the names of the keys that have signed it.

    ``signed_by`` is empty where the log's own key is not known, so that nobody can tell who has.
    """

    name: str
    size: int
    signed_by: tuple[str, ...]


class Verification(NamedTuple):
    """What verifying a ledger has found.

    ``size`` and ``root`` are of its log, ``leaves`` how many it has of each kind. ``covered`` is the size of the
    largest checkpoint that the log begins with and whose signature was checked. ``faults`` are the first of
    ``fault_count``, in the order of the log. Of so many decisions something was ``erased``, which is no fault; nor is
    what was ``pruned``. ``notices`` say what could not be known. The rows of the first ``since`` leaves were not read.
    Of ``unproven`` decisions the rest of the record cannot be compared. ``agreed`` are the checkpoints that the log
    begins with. ``imports`` with ``imported_calls`` have no leaves, and nothing of them is compared.
    """

    origin: str | None
    size: int
    root: bytes
    leaves: Mapping[str, int]
    covered: int
    faults: tuple[Fault, ...]
    fault_count: int
    notices: tuple[str, ...]
    erased: int
    pruned: tuple[Pruning, ...] = ()
    since: int = 0
    unproven: int = 0
    agreed: tuple[Agreed, ...] = ()
    imports: int = 0
    imported_calls: int = 0


def verify_ledger(
    connection: DuckDBPyConnection,
    ledger: Path,
    *,
    given: Mapping[str, SignedCheckpoint],
    keys: Sequence[PublicKey],
    key_folder: Path | None = None,
    since: str | None = None,
    of: str | None = None,
) -> Verification:
    """Compare everything, or the rows of what came after the checkpoint ``since``. See ``Ledger.verify``.

    ``of`` is a condition of ours in SQL on the leaves whose rows are compared, as ``Scope`` takes it.
    """
    origin, faults = origin_of(connection), _Faults()
    if origin is not None:
        keys = with_own_key(keys, key_folder, origin)
    pruned = prunings(connection)
    checkpoints = {**given, **faults.beside(ledger), **faults.kept(pruned)}
    first = 0 if since is None else _size_at(since, checkpoints, origin, keys)
    log = Log(connection, ledger, {one.checkpoint.size for one in checkpoints.values()})
    faults.add(log.read())
    against = [_against(log, origin, name, signed, keys) for name, signed in checkpoints.items()]
    faults.add(fault for one in against for fault in one.faults)
    covered = max((one.covered for one in against), default=0)
    scope = Scope(connection, f"leaf >= {first}" if first else of)
    faults.add(compare(connection, scope))
    notices = [*_who_signed(origin, against), *(text for one in against for text in one.notices)]
    notices += _not_known(bool(given), log.size, covered, against)
    notices += _pruned_by_nobody_known(pruned, covered)
    notices += _unproven(unproven := count_unproven(connection, scope))
    [(erased,)] = connection.execute("SELECT count(DISTINCT decision_id) FROM erasures").fetchall()
    return Verification(
        origin,
        log.size,
        log.frontier.root(),
        _count_leaves(connection),
        covered,
        faults.first(),
        faults.count,
        tuple(notices),
        erased,
        tuple(pruned),
        first,
        unproven,
        tuple(one.agreed for one in against if one.agreed is not None),
        *_count_imported(connection),
    )


def _count_imported(connection: DuckDBPyConnection) -> tuple[int, int]:
    [(imports, calls)] = connection.execute(
        "SELECT (SELECT count(*) FROM imports), (SELECT count(*) FROM imported_attempts)"
    ).fetchall()
    return imports, calls


def _count_leaves(connection: DuckDBPyConnection) -> dict[str, int]:
    sql = "SELECT kind, count(*) FROM log_leaves GROUP BY kind ORDER BY kind"
    counted = connection.execute(sql).fetchall()
    return {Kind(kind).name.lower(): count for kind, count in counted if kind in Kind.__members__.values()}


def _unproven(count: int) -> Iterator[str]:
    if count:
        yield (
            f"of {count:,} decisions a value was erased that had no salt: whether the rest of their records is as it "
            "was cannot be known"
        )


def _size_at(
    since: str, checkpoints: Mapping[str, SignedCheckpoint], origin: str | None, keys: Sequence[PublicKey]
) -> int:
    """The size of a log that the checkpoint of this name has signed. Raises ProofError if its log has not."""
    name = _BESIDE if since == NEWEST else since
    if since.isdecimal():  # the size of one that a pruning has kept
        kept = [name for name, one in checkpoints.items() if str(one.checkpoint.size) == since]
        name = kept[-1] if kept else f"the checkpoint of {int(since):,} leaves"
    found = checkpoints.get(name)
    if found is None:
        raise ProofError(
            f"there is no {name.removeprefix('the ')}", help="sign one: `routewright ledger checkpoint`"
        )
    if not found.is_signed_by_log(keys):
        raise ProofError(
            f"who signed {name} could not be checked, so nothing can be compared since then",
            help=_key_help(origin),
        )
    return found.checkpoint.size


class _Faults:
    """The first faults in the order of the log, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[Fault] = []

    def beside(self, ledger: Path) -> dict[str, SignedCheckpoint]:
        """The checkpoint beside the ledger, if there is one that can be read."""
        try:
            newest = newest_checkpoint(ledger)
        except ProofError as error:
            self.add([Fault(None, str(error))])
            return {}
        return {} if newest is None else {_BESIDE: newest}

    def kept(self, pruned: Iterable[Pruning]) -> dict[str, SignedCheckpoint]:
        """The checkpoints that prunings have kept."""
        found = {}
        for one in pruned:
            try:
                found[f"the checkpoint that {one.name} has kept"] = one.signed
            except ProofError as error:
                self.add(
                    [Fault(one.leaf, f"the checkpoint of {one.name} is not one of what it dropped: {error}")]
                )
        return found

    def add(self, faults: Iterable[Fault]) -> None:
        for fault in faults:
            self.count += 1
            self._kept.append(fault)
            if len(self._kept) > 10 * MOST_FAULTS:
                self._kept = list(self.first())

    def first(self) -> tuple[Fault, ...]:
        def place(fault: Fault) -> int:
            return -1 if fault.leaf is None else fault.leaf

        return tuple(heapq.nsmallest(MOST_FAULTS, self._kept, key=place))


class _Against(NamedTuple):
    """What a checkpoint says against the log, or that it agrees."""

    name: str
    faults: tuple[Fault, ...] = ()
    notices: tuple[str, ...] = ()
    agreed: Agreed | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether it agrees, and nobody can tell who has signed it."""
        return self.agreed is not None and not self.agreed.signed_by

    @property
    def covered(self) -> int:
        """It covers so many leaves, if it is right and its log has signed it."""
        return 0 if self.agreed is None or self.is_unknown else self.agreed.size


def _against(
    log: Log, origin: str | None, name: str, signed: SignedCheckpoint, keys: Sequence[PublicKey]
) -> _Against:
    checkpoint = signed.checkpoint
    try:
        by = tuple(one.key.name for one in signed.signed_by(keys)) if signed.is_signed_by_log(keys) else ()
    except ProofError as error:
        return _Against(name, faults=(Fault(None, f"{name} is not genuine: {error}"),))
    wrong: str | None = None
    if checkpoint.origin != origin:
        wrong = f"{name} is of the log `{checkpoint.origin}`, and this one is `{origin or 'without a name'}`"
    elif log.size < checkpoint.size and log.broken:
        said = f"{name} could not be compared: of the log only the first {log.size:,} leaves can be read"
        return _Against(name, notices=(said,))
    elif log.size < checkpoint.size:
        wrong = (
            f"{name} was signed for {checkpoint.size:,} leaves, and the log has {log.size:,}: "
            f"{checkpoint.size - log.size:,} are gone, or an older file was put back"
        )
    elif log.roots[checkpoint.size] != checkpoint.root:
        wrong = f"the first {checkpoint.size:,} leaves of the log are not those that {name} was signed for"
    if wrong is not None:
        return _Against(name, faults=(Fault(None, wrong),))
    return _Against(name, agreed=Agreed(name, checkpoint.size, by))


def _who_signed(origin: str | None, against: Sequence[_Against]) -> Iterator[str]:
    if unknown := [one.name for one in against if one.is_unknown]:
        yield f"who signed {' and '.join(unknown)} could not be checked: {_key_help(origin)}"


def _key_help(origin: str | None) -> str:
    return f"give the key of `{origin}` by `--key`"


def _pruned_by_nobody_known(pruned: Iterable[Pruning], covered: int) -> Iterator[str]:
    for one in pruned:
        if one.leaf is not None and one.leaf >= covered:
            yield (
                f"no checkpoint covers that {one.name} dropped {one.decisions:,} decisions, so whether one who has the "
                "key has done so cannot be known"
            )


def _not_known(given: bool, size: int, covered: int, against: Sequence[_Against]) -> Iterator[str]:
    """What no comparison of what is here could tell."""
    keep = "keep one (`ledger checkpoint -o FILE`), and give it (`--checkpoint FILE`)"
    if not against:
        yield (
            "no checkpoint was signed yet, so whether somebody has changed rows together with the log cannot be "
            f"known: {keep}"
        )
    elif not given:
        yield (
            "no checkpoint was given that is kept elsewhere, so whether somebody has put another file and log in place "
            f"of these cannot be known: {keep}"
        )
    if covered < size and (covered or not any(one.is_unknown for one in against)) and against:
        yield f"no checkpoint covers the newest {size - covered:,} of {size:,} leaves"
