"""The leaves of a ledger's log: 54 bytes for each row that was recorded, whatever kind it is of.

byte 0        the version of this form: 1
byte 1        the kind of the row
bytes 2–17    the id of the row
bytes 18–21   the number of an attempt, big-endian; 0 for other kinds
bytes 22–53   the digest of the row: SHA-256
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from routewright.engine.canonical import canonical_bytes

from ..errors import ProofError

VERSION: Final = 1
LEAF_BYTES: Final = 54

FORM: Final = struct.Struct(">BB16sI32s")
_EXACT: Final = 2**53 - 1


class Kind(IntEnum):
    """What a leaf is of, and what its id and its digest are. A number never gets another meaning."""

    DECISION = 1
    """A decision, by its id; the digest covers the record's digest and what stands beside the record."""
    ATTEMPT = 2
    """An attempt, by the id of its decision and its number; the digest covers its values."""
    OUTCOME = 3
    """An outcome, by its id; the digest covers its values."""
    POLICY = 4
    """The text of a policy or catalog, by ``named_id``; the digest covers its values."""
    PART = 5
    """A part of records, by ``named_id``; the digest is that of its canonical JSON."""
    ERASURE = 6
    """That something of a decision was erased, by its id and the erasure's number; the digest covers its values."""
    PRUNING = 7
    """That old rows were pruned, by the pruning's own id; the digest covers its values."""


class Leaf(NamedTuple):
    """One leaf. ``id`` has 16 bytes, and ``digest`` 32."""

    kind: Kind
    id: bytes
    number: int
    digest: bytes

    def encoded(self) -> bytes:
        """Its 54 bytes."""
        return FORM.pack(VERSION, self.kind, self.id, self.number, self.digest)


def parse_leaf(encoded: bytes) -> Leaf:
    """The leaf with these bytes. Raises ProofError if they are not a leaf of this version."""
    if len(encoded) != LEAF_BYTES:
        raise ProofError(f"a leaf has {LEAF_BYTES} bytes, and not {len(encoded)}")
    version, kind, id, number, digest = FORM.unpack(encoded)
    if version != VERSION or kind not in Kind.__members__.values():
        raise ProofError(
            f"a leaf of version {version} and kind {kind} is not known to this version of Routewright"
        )
    return Leaf(Kind(kind), id, number, digest)


def named_id(kind: str, digest: str) -> bytes:
    """The id of a row that is known by its kind and digest: the first 16 bytes of a SHA-256.

    It is made of the canonical JSON of a list of the two, such as ``["policy","sha256:…"]``.
    """
    return hashlib.sha256(canonical_bytes([kind, digest])).digest()[:16]


def values_digest(values: Mapping[str, Any]) -> bytes:
    """The digest of a row's values: SHA-256 of the canonical JSON of an object of those that are not None.

    What is None is left out, so that a column that a later version adds changes no digest of older rows. An integer
    that JSON numbers cannot hold exactly, beyond ±(2^53 - 1), stands as its decimal digits in a string.
    """
    found: dict[str, Any] = {}
    for name in sorted(values):
        value = values[name]
        if value is None:
            continue
        kind = type(value)
        if kind is int and not -_EXACT <= value <= _EXACT:
            value = str(value)
        elif kind is dict and all(map(_is_simple, value.items())):
            value = dict(sorted(value.items()))
        elif (kind is not str and kind is not int and kind is not bool) or not name.isascii():
            return _any_digest(values)
        found[name] = value
    # Names in order, and values that pydantic writes as RFC 8785 does.
    return hashlib.sha256(to_json(found)).digest()


def _is_simple(item: tuple[Any, Any]) -> bool:
    name, value = item
    return type(value) is str and type(name) is str and name.isascii()


def _any_digest(values: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonical_bytes(told(values))).digest()


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as a digest tells them: without None, and integers that are no exact numbers as text."""
    return {name: _told(value) for name, value in values.items() if value is not None}


def _told(value: Any) -> Any:
    return str(value) if type(value) is int and not -_EXACT <= value <= _EXACT else value
