"""Roots and proofs are those of RFC 6962, at every size, and nothing else is accepted for one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from routewright.ledger.proof.merkle import (
    EMPTY_ROOT,
    Frontier,
    Node,
    complete_root,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    leaf_hashes,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors" / "merkle.json").read_text("utf-8"))
LEAVES = [bytes.fromhex(leaf) for leaf in VECTORS["leaves"]]
ROOTS = [bytes.fromhex(root) for root in VECTORS["roots"]]


def tree(hashes: Sequence[bytes]) -> bytes:
    """The root as section 2.1 of RFC 6962 defines it, word for word."""
    if not hashes:
        return EMPTY_ROOT
    if len(hashes) == 1:
        return hashes[0]
    split = max(1 << power for power in range(20) if 1 << power < len(hashes))
    return node_hash(tree(hashes[:split]), tree(hashes[split:]))


def nodes(hashes: Sequence[bytes]) -> Node:
    return lambda level, index: complete_root(hashes[index << level : (index + 1) << level])


def proof_of(vector: dict[str, Any]) -> list[bytes]:
    return [bytes.fromhex(one) for one in vector["proof"]]


def test_known_trees_and_proofs() -> None:
    hashes = leaf_hashes(LEAVES)
    node = nodes(hashes)
    assert [root(size, node) for size in range(9)] == ROOTS
    for one in VECTORS["inclusion"]:
        index, size, proof = one["index"], one["size"], proof_of(one)
        assert inclusion_proof(index, size, node) == proof
        assert verify_inclusion(index, size, hashes[index], proof, ROOTS[size])
    for one in VECTORS["consistency"]:
        old, size, proof = one["old"], one["size"], proof_of(one)
        assert consistency_proof(old, size, node) == proof
        assert verify_consistency(old, size, ROOTS[old], ROOTS[size], proof)


@given(st.lists(st.binary(max_size=3), max_size=70), st.data())
def test_any_tree_is_that_of_the_definition_however_it_grows(
    leaves: list[bytes], data: st.DataObject
) -> None:
    hashes, node, size = leaf_hashes(leaves), nodes(leaf_hashes(leaves)), len(leaves)
    old = data.draw(st.integers(0, size))
    frontier = Frontier()
    frontier.extend(hashes[:old])
    assert frontier.root() == tree(hashes[:old]) == root(old, node)
    frontier.extend(hashes[old:])
    assert (frontier.root(), frontier.size) == (tree(hashes), size)
    assert verify_consistency(old, size, tree(hashes[:old]), tree(hashes), consistency_proof(old, size, node))
    if leaves:
        index = data.draw(st.integers(0, size - 1))
        proof = inclusion_proof(index, size, node)
        assert verify_inclusion(index, size, hashes[index], proof, tree(hashes))


def test_a_proof_of_something_else_is_refused() -> None:
    """Another place, size, leaf or root; a bit flipped; a hash too few, too many or elsewhere."""
    hashes = [leaf_hash(bytes([number])) for number in range(21)]
    node, random = nodes(hashes), Random(7)
    other = leaf_hash(b"other")
    for index, size in [(0, 1), (0, 8), (5, 8), (2, 3), (1, 5), (20, 21), (16, 21), (7, 20)]:
        proof, of = inclusion_proof(index, size, node), tree(hashes[:size])
        wrong = [
            (index + 1, size, hashes[index], proof, of),
            (index ^ 2, size, hashes[index], proof, of),
            (index, size * 2, hashes[index], proof, of) if size > 1 else (index, 3, hashes[index], proof, of),
            (-1, size, hashes[index], proof, of),
            (index, 0, hashes[index], proof, of),
            (index, size, other, proof, of),
            (index, size, hashes[index], proof, other),
            *((index, size, hashes[index], bad, of) for bad in altered(proof, random, of)),
        ]
        assert [one for one in wrong if verify_inclusion(*one)] == []
    for old, size in [(1, 8), (6, 8), (2, 5), (6, 7), (16, 21), (8, 16), (19, 21)]:
        proof, first, of = consistency_proof(old, size, node), tree(hashes[:old]), tree(hashes[:size])
        changed = [
            (old - 1, size, first, of, proof) if old > 1 else (2, size, first, of, proof),
            (old + 1, size, first, of, proof),
            (old, size, of, first, proof),
            (old, size, other, of, proof),
            (old, size, first, other, proof),
            (size, old, first, of, proof),
            (old, size, first, of, []),
            *((old, size, first, of, bad) for bad in altered(proof, random, first)),
        ]
        assert [one for one in changed if verify_consistency(*one)] == []


def altered(proof: list[bytes], random: Random, extra: bytes) -> list[list[bytes]]:
    found = [[*proof, extra], [extra, *proof]]
    if proof:
        at = random.randrange(len(proof))
        flipped = bytes([proof[at][0] ^ 8]) + proof[at][1:]
        found += [proof[:-1], proof[1:], [*proof[:at], flipped, *proof[at + 1 :]]]
    return found


def test_trivial_consistency() -> None:
    some, other = leaf_hash(b"a"), leaf_hash(b"b")
    assert verify_consistency(0, 5, EMPTY_ROOT, some, [])
    assert verify_consistency(3, 3, some, some, [])
    assert not verify_consistency(0, 5, other, some, [])
    assert not verify_consistency(3, 3, some, other, [])
    assert not verify_consistency(3, 3, some, some, [other])
    assert not verify_consistency(0, 5, EMPTY_ROOT, some, [other])
