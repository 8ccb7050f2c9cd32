"""Merkle trees as in RFC 6962: roots, inclusion and consistency proofs, and their verification.

Trees are not kept here. Whoever keeps one gives a function that returns the hash of a complete subtree, and the rest is
made of those: a root or a proof takes about as many of them as the size has bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final

HASH_BYTES: Final = 32

EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

Node = Callable[[int, int], bytes]
"""The hash of a complete subtree: ``node(level, index)`` is of ``1 << level`` leaves from ``index << level`` on."""

_sha256 = hashlib.sha256


def leaf_hash(leaf: bytes) -> bytes:
    """The hash of a leaf's bytes (RFC 6962, section 2.1)."""
    return _sha256(b"\x00" + leaf).digest()


def leaf_hashes(leaves: Iterable[bytes]) -> list[bytes]:
    """The hashes of many leaves, in their order."""
    return [_sha256(b"\x00" + leaf).digest() for leaf in leaves]


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return _sha256(b"\x01" + left + right).digest()


def parents(hashes: Sequence[bytes]) -> list[bytes]:
    """The level above: the hash of each pair. An odd one at the end has no parent yet."""
    pairs = zip(hashes[::2], hashes[1::2], strict=False)
    return [_sha256(b"\x01" + left + right).digest() for left, right in pairs]


def complete_root(hashes: Sequence[bytes]) -> bytes:
    """The root over as many hashes as a power of two."""
    while len(hashes) > 1:
        hashes = parents(hashes)
    return hashes[0]


class Frontier:
    """The right edge of a growing tree: what the root of its present size needs, one hash for each bit of the size."""

    def __init__(self) -> None:
        self.size = 0
        self._edge: list[bytes | None] = []

    def extend(self, hashes: Sequence[bytes]) -> None:
        """Append leaves, given by their hashes."""
        self.size += len(hashes)
        level, rising = 0, list(hashes)
        while rising:
            if level == len(self._edge):
                self._edge.append(None)
            if (waiting := self._edge[level]) is not None:
                rising.insert(0, waiting)
            self._edge[level] = rising[-1] if len(rising) % 2 else None
            rising = parents(rising)
            level += 1

    def root(self) -> bytes:
        """The root of the tree as it is."""
        found: bytes | None = None
        for left in self._edge:
            if left is not None:
                found = left if found is None else node_hash(left, found)
        return EMPTY_ROOT if found is None else found


def root(size: int, node: Node) -> bytes:
    """The root of the first ``size`` leaves."""
    return EMPTY_ROOT if size == 0 else _subtree(0, size, node)


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """The hashes that lead from leaf ``index`` to the root of ``size`` leaves, from the leaf's sibling upwards.

    This is PATH of RFC 6962, section 2.1.1. Raises ValueError for a leaf that the tree does not have.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    return _path(index, 0, size, node)


def consistency_proof(old: int, size: int, node: Node) -> list[bytes]:
    """The hashes that prove that the tree of ``size`` leaves begins with that of ``old``; none if either is trivial.

    This is PROOF of RFC 6962, section 2.1.2. Raises ValueError if ``old`` is the larger one.
    """
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} leaves does not begin with {old} leaves")
    if old in (0, size):
        return []
    proof: list[bytes] = []
    start, end, known = 0, size, True
    while old != end:
        split = start + _split(end - start)
        if old <= split:
            proof.append(_subtree(split, end, node))
            end = split
        else:
            proof.append(_subtree(start, split, node))
            start, known = split, False
    if not known:
        proof.append(_subtree(start, end, node))
    return proof[::-1]


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` leads from the hash ``leaf`` at ``index`` to ``root`` of ``size`` leaves.

    This follows RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    at, last, found = index, size - 1, leaf
    for one in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(one, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, one)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree of ``size`` leaves begins with that of ``old``.

    This follows RFC 9162, section 2.1.4.2. Every tree begins with the empty one.
    """
    if not 0 <= old <= size:
        return False
    if old == size:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        return False
    at, last = old - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = path[0]
    for one in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            first, second = node_hash(one, first), node_hash(one, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, one)
        at, last = at >> 1, last >> 1
    return last == 0 and first == old_root and second == new_root


def _split(size: int) -> int:
    """The largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _subtree(start: int, end: int, node: Node) -> bytes:
    size = end - start
    if size & (size - 1) == 0:
        # INVARIANT: the splits are such that a subtree with a power of two of leaves begins at a multiple of it.
        level = size.bit_length() - 1
        return node(level, start >> level)
    split = start + _split(size)
    return node_hash(_subtree(start, split, node), _subtree(split, end, node))


def _path(index: int, start: int, end: int, node: Node) -> list[bytes]:
    proof: list[bytes] = []
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            proof.append(_subtree(split, end, node))
            end = split
        else:
            proof.append(_subtree(start, split, node))
            start = split
    return proof[::-1]
