"""Tiles hold the hashes that tlog-tiles says, where it says, however the log has grown."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from routewright.ledger.errors import ProofError
from routewright.ledger.proof.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    verify_consistency,
    verify_inclusion,
)
from routewright.ledger.proof.tiles import (
    TileFolder,
    bundle_path,
    decode_bundle,
    encode_bundle,
    partial_width,
    tile_path,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "tiles.json").read_text("utf-8"))


def test_paths_and_widths() -> None:
    for level, index, width, path in VECTORS["paths"]:
        found = bundle_path(index, width) if level == "entries" else tile_path(level, index, width)
        assert found == path
    for size, widths in VECTORS["partial"].items():
        assert [partial_width(level, int(size)) for level in range(len(widths))] == widths


def test_a_log_in_tiles_has_its_roots_and_proofs(tmp_path: Path) -> None:
    hashes = [leaf_hash(b"leaf %d" % number) for number in range(70_000)]
    tiles = TileFolder(tmp_path)
    roots = {}
    size = 0
    for grown in map(int, VECTORS["roots"]):
        tiles.extend(size, hashes[size:grown])
        size = grown
        roots[grown] = root(size, partial(tiles.node, size))
    assert {str(size): root.hex() for size, root in roots.items()} == VECTORS["roots"]
    node = partial(tiles.node, size)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = inclusion_proof(index, size, node)
        assert verify_inclusion(index, size, hashes[index], proof, roots[size])
    for old in roots:
        assert verify_consistency(old, size, roots[old], roots[size], consistency_proof(old, size, node))
    # The log at an older size is still there: with its partial tiles, or in the full ones that they became.
    assert [root(old, partial(tiles.node, old)) for old in roots] == list(roots.values())
    at_once = TileFolder(tmp_path / "at_once")
    at_once.extend(0, hashes)
    paths = [path for path in at_once.folder.rglob("*") if path.is_file()]
    files = {str(path.relative_to(at_once.folder)): path.read_bytes() for path in paths}
    assert {name: (tmp_path / name).read_bytes() for name in files} == files
    assert sum(name.startswith("tile/0/") for name in files) == 274
    assert (tmp_path / "tile/0/273.p/112").stat().st_mode & 0o777 == 0o600


def test_a_tile_that_is_missing_or_cut_is_named(tmp_path: Path) -> None:
    tiles = TileFolder(tmp_path)
    tiles.extend(0, [leaf_hash(bytes([number])) for number in range(5)])
    (tmp_path / "tile/0/000.p/5").write_bytes(b"x" * 100)
    with pytest.raises(ProofError, match=r"the tile `tile/0/000\.p/5` is cut short"):
        tiles.extend(5, [leaf_hash(b"more")])
    (tmp_path / "tile/0/000.p/5").unlink()
    with pytest.raises(ProofError, match=r"the tile `tile/0/000\.p/5` is missing"):
        tiles.extend(5, [leaf_hash(b"more")])


def test_bundles_come_back_and_cut_ones_are_refused() -> None:
    leaves = [b"", b"a", b"b" * 300]
    written = encode_bundle(leaves)
    assert written[:5] == b"\0\0\0\1a"
    assert decode_bundle(written) == leaves
    for end in (1, 3, 4, len(written) - 1):
        with pytest.raises(ProofError, match="cut short"):
            decode_bundle(written[:end])
