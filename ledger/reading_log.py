"""Reads the log of a ledger once: its roots at some sizes, and where its leaves differ from the tiles beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .checkpoints import encoded_leaves, log_folder, newest_checkpoint
from .comparing import name_of
from .errors import ProofError
from .proof.leaf import parse_leaf
from .proof.merkle import Frontier, leaf_hashes
from .proof.tiles import WIDTH, TileFolder
from .scope import Fault

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


class Log:
    """The leaves, read once: the root at each of ``sizes``, and where they differ from the tiles."""

    def __init__(self, connection: DuckDBPyConnection, ledger: Path, sizes: Iterable[int]) -> None:
        self.frontier = Frontier()
        self.roots = {0: self.frontier.root()}
        self.broken = False
        self._connection, self._ledger = connection, ledger
        self._sizes = sorted(sizes)

    @property
    def size(self) -> int:
        """How many leaves have been read."""
        return self.frontier.size

    def read(self) -> Iterator[Fault]:
        """Read the leaves; gives what is not as it was, of leaves that differ from their tiles the first alone."""
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
