"""The hashes of a log as files of 256, which any web server can serve (https://c2sp.org/tlog-tiles).

A tile of level 0 has the hashes of 256 leaves. One of level L has the roots of 256 full tiles of the level below. The
last tile of a level may be partial: it then has its width in its name, and stays when there is a wider one, as
checkpoints of that size need it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from routewright.private_files import create_private, make_private_folder

from ..errors import ProofError
from .merkle import HASH_BYTES, complete_root

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT


def tile_path(level: int, index: int, width: int = WIDTH) -> str:
    """Where a tile is, below the log's address: ``tile/0/x001/234`` or, if it is partial, ``tile/0/x001/234.p/5``."""
    return f"tile/{level}/{_numbered(index, width)}"


def bundle_path(index: int, width: int = WIDTH) -> str:
    """Where the leaves of a tile of level 0 are, below the log's address."""
    return f"tile/entries/{_numbered(index, width)}"


def encode_bundle(leaves: Iterable[bytes]) -> bytes:
    """Leaves in one file: before each its length, two bytes big-endian."""
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)


def decode_bundle(content: bytes) -> list[bytes]:
    """The leaves in a file. Raises ProofError for one that is cut."""
    leaves, at = [], 0
    while at < len(content):
        end = at + 2 + int.from_bytes(content[at : at + 2], "big")
        if at + 2 > len(content) or end > len(content):
            raise ProofError("a bundle of leaves is cut short")
        leaves.append(content[at + 2 : end])
        at = end
    return leaves


def partial_width(level: int, size: int) -> int:
    """How many hashes the last tile of a level has in a log of ``size`` leaves; 0 if its last tile is full."""
    return (size >> (HEIGHT * level)) % WIDTH


class TileFolder:
    """The tiles of a log in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read = lru_cache(maxsize=1024)(self._read_file)

    def extend(self, size: int, hashes: Sequence[bytes]) -> None:
        """Write what ``hashes`` of leaves add to a log of ``size`` leaves. The same again writes the same.

        Raises ProofError if a tile of the log as it was is missing, and OSError.
        """
        level, rising, grown = 0, list(hashes), size + len(hashes)
        while grown >> (HEIGHT * level):
            before = size >> (HEIGHT * level)
            index, width = divmod(before, WIDTH)
            if width:
                rising = [*self.hashes(level, index, width), *rising]
            above = []
            for start in range(0, len(rising), WIDTH):
                tile = rising[start : start + WIDTH]
                # One that was there already is not written again.
                if start or len(tile) > width:
                    self._write(tile_path(level, index + start // WIDTH, len(tile)), b"".join(tile))
                if len(tile) == WIDTH:
                    above.append(complete_root(tile))
            level, rising = level + 1, above
        self._read.cache_clear()

    def hashes(self, level: int, index: int, width: int = WIDTH) -> list[bytes]:
        """The first ``width`` hashes of a tile. Raises ProofError if they are not there."""
        content = self._read(level, index, width)
        return [content[at : at + HASH_BYTES] for at in range(0, width * HASH_BYTES, HASH_BYTES)]

    def node(self, size: int, level: int, index: int) -> bytes:
        """The hash of a complete subtree, as ``merkle.Node`` has it, in a log of ``size`` leaves."""
        tile_level, height = divmod(level, HEIGHT)
        tile, first = divmod(index << height, WIDTH)
        last_tile, width = divmod(size >> (HEIGHT * tile_level), WIDTH)
        found = self.hashes(tile_level, tile, WIDTH if tile < last_tile else width)
        return complete_root(found[first : first + (1 << height)])

    def _read_file(self, level: int, index: int, width: int) -> bytes:
        # A wider tile begins with the narrower one, which may have been removed.
        for path in (tile_path(level, index, width), tile_path(level, index)):
            try:
                content = (self.folder / path).read_bytes()
            except FileNotFoundError:
                continue
            if len(content) >= width * HASH_BYTES:
                return content
            raise ProofError(f"the tile `{path}` is cut short")
        raise ProofError(f"the tile `{tile_path(level, index, width)}` is missing")

    def _write(self, path: str, content: bytes) -> None:
        target = self.folder / path
        make_private_folder(target.parent)
        draft = target.with_name(f".{target.name}.{os.getpid()}.new")
        draft.unlink(missing_ok=True)
        with open(create_private(draft), "wb") as file:
            file.write(content)
        os.replace(draft, target)


def _numbered(index: int, width: int) -> str:
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03d}")
    partial = "" if width == WIDTH else f".p/{width}"
    return "/".join(groups[::-1]) + partial
