"""Verifies a ledger: its rows against its log, and its log against checkpoints that were signed before."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .checkpoints import encoded_leaves, log_folder, newest_checkpoint, origin_of
from .comparing import UNPROVEN, Fault, compare, name_of
from .errors import ProofError
from .proof.checkpoint import SignedCheckpoint
from .proof.keys import find_key
from .proof.leaf import Kind, parse_leaf
from .proof.merkle import Frontier, leaf_hashes
from .proof.note import PublicKey, SignatureType
from .proof.tiles import WIDTH, TileFolder

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_FAULTS: Final = 20
"""So many faults are kept, those of the first leaves; all are counted."""

_BESIDE: Final = "the checkpoint beside the ledger"


class Verification(NamedTuple):
    """What verifying a ledger has found.

    ``size`` and ``root`` are of its log, ``leaves`` how many it has of each kind. ``covered`` is the size of the
    largest checkpoint that the log begins with and whose signature was checked. ``faults`` are the first of
    ``fault_count``, in the order of the log. Of so many decisions something was ``erased``, which is no fault.
    ``notices`` say what could not be known.
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


def verify_ledger(
    connection: DuckDBPyConnection,
    ledger: Path,
    *,
    given: Mapping[str, SignedCheckpoint],
    keys: Sequence[PublicKey],
    key_folder: Path | None = None,
) -> Verification:
    """Compare everything. See ``Ledger.verify``."""
    checkpoints, origin = dict(given), origin_of(connection)
    if key_folder is not None and origin is not None:
        own = find_key(key_folder, origin, SignatureType.LOG)
        keys = [*keys, *([] if own is None else [own.public])]
    notices, faults = [], _Faults()
    try:
        if (newest := newest_checkpoint(ledger)) is not None:
            checkpoints[_BESIDE] = newest
    except ProofError as error:
        faults.add([Fault(None, str(error))])
    log = _Log(connection, ledger, {one.checkpoint.size for one in checkpoints.values()})
    faults.add(log.read())
    covered = 0
    for name, signed in checkpoints.items():
        found, said = _against(log, origin, name, signed, keys)
        faults.add(found)
        notices += said
        if not found and not said:
            covered = max(covered, signed.checkpoint.size)
    faults.add(compare(connection))
    notices += _unknown(bool(given), log.size, covered)
    [(erased,)] = connection.execute("SELECT count(DISTINCT decision_id) FROM erasures").fetchall()
    [(unproven,)] = connection.execute(UNPROVEN).fetchall()
    if unproven:
        notices.append(
            f"of {unproven:,} decisions a value was erased that had no salt: whether the rest of their records is as "
            "it was cannot be known"
        )
    leaves = connection.execute(
        "SELECT kind, count(*) FROM log_leaves GROUP BY kind ORDER BY kind"
    ).fetchall()
    return Verification(
        origin,
        log.size,
        log.frontier.root(),
        {Kind(kind).name.lower(): count for kind, count in leaves if kind in Kind.__members__.values()},
        covered,
        faults.first(),
        faults.count,
        tuple(notices),
        erased,
    )


class _Faults:
    """The first faults in the order of the log, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self._kept: list[Fault] = []

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


class _Log:
    """The leaves, read once: the root at each of ``sizes``, and where they differ from the tiles."""

    def __init__(self, connection: DuckDBPyConnection, ledger: Path, sizes: Iterable[int]) -> None:
        self.frontier = Frontier()
        self.roots = {0: self.frontier.root()}
        self.broken = False
        self._connection, self._ledger = connection, ledger
        self._sizes = sorted(sizes)

    @property
    def size(self) -> int:
        return self.frontier.size

    def read(self) -> Iterator[Fault]:
        tiles = _Tiles(self._ledger)
        differs: int | None = None
        try:
            for leaves in encoded_leaves(self._connection):
                hashes = leaf_hashes(leaves)
                if differs is None and (at := tiles.difference(self.size, hashes)) is not None:
                    differs = self.size + at
                    yield _other_leaf(differs, leaves[at], tiles.size)
                self._extend(hashes)
        except ProofError as error:
            self.broken = True
            yield Fault(self.size, str(error))

    def _extend(self, hashes: Sequence[bytes]) -> None:
        first = self.size
        for size in [one for one in self._sizes if first < one < first + len(hashes)]:
            self.frontier.extend(hashes[self.size - first : size - first])
            self.roots[size] = self.frontier.root()
        self.frontier.extend(hashes[self.size - first :])
        self.roots[self.size] = self.frontier.root()


class _Tiles:
    """The hashes of leaves that tiles hold, as far as the newest checkpoint goes."""

    def __init__(self, ledger: Path) -> None:
        self._tiles = TileFolder(log_folder(ledger))
        try:
            newest = newest_checkpoint(ledger)
        except ProofError:  # is reported by whoever verifies it
            newest = None
        self.size = 0 if newest is None else newest.checkpoint.size

    def difference(self, first: int, hashes: Sequence[bytes]) -> int | None:
        """The first of ``hashes``, those of the leaves from ``first`` on, that is not in its tile.

        Raises ProofError for a tile that is missing.
        """
        for start in range(first - first % WIDTH, min(first + len(hashes), self.size), WIDTH):
            width = min(WIDTH, self.size - start)
            tile = self._tiles.hashes(0, start // WIDTH, width)
            for at in range(max(start, first), min(start + width, first + len(hashes))):
                if tile[at - start] != hashes[at - first]:
                    return at - first
        return None


def _other_leaf(leaf: int, encoded: bytes, size: int) -> Fault:
    made = parse_leaf(encoded)
    id = f"{made.id.hex()[:8]}-{made.id.hex()[8:12]}-{made.id.hex()[12:16]}-{made.id.hex()[16:20]}-{made.id.hex()[20:]}"
    return Fault(
        leaf,
        f"leaf {leaf:,} of the log, of {name_of(made.kind, id, made.number)}, is not the one that was there when the "
        f"checkpoint of {size:,} leaves was signed",
    )


def _against(
    log: _Log, origin: str | None, name: str, signed: SignedCheckpoint, keys: Sequence[PublicKey]
) -> tuple[list[Fault], list[str]]:
    """What a checkpoint says against the log, and what about it could not be known."""
    checkpoint = signed.checkpoint
    try:
        is_known = signed.is_signed_by_log(keys)
    except ProofError as error:
        return [Fault(None, f"{name} is not genuine: {error}")], []
    wrong: str | None = None
    if checkpoint.origin != origin:
        wrong = f"{name} is of the log `{checkpoint.origin}`, and this one is `{origin or 'without a name'}`"
    elif log.size < checkpoint.size and log.broken:
        return [], [
            f"{name} could not be compared: of the log only the first {log.size:,} leaves can be read"
        ]
    elif log.size < checkpoint.size:
        wrong = (
            f"{name} was signed for {checkpoint.size:,} leaves, and the log has {log.size:,}: "
            f"{checkpoint.size - log.size:,} are gone, or an older file was put back"
        )
    elif log.roots[checkpoint.size] != checkpoint.root:
        wrong = f"the first {checkpoint.size:,} leaves of the log are not those that {name} was signed for"
    if wrong is not None:
        return [Fault(None, wrong)], []
    if not is_known:
        return [], [f"who signed {name} could not be checked: give the key of `{origin}` by `--key`"]
    return [], []


def _unknown(given: bool, size: int, covered: int) -> Iterator[str]:
    """What no comparison of what is here could tell."""
    if not given:
        yield (
            "no checkpoint was given that is kept elsewhere, so whether somebody has put another file and log in place "
            "of these cannot be known: keep one (`ledger checkpoint -o FILE`), and give it (`--checkpoint FILE`)"
        )
    if size > covered:
        yield f"no checkpoint covers the newest {size - covered:,} of {size:,} leaves"
