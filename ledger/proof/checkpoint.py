"""Checkpoints: what a log says of its size and root, in a note that it signs (https://c2sp.org/tlog-checkpoint)."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from ..errors import ProofError
from .merkle import HASH_BYTES
from .note import Note, PublicKey, SignatureType, Signed, check_signatures, decode_base64, parse_note

_SIZE: Final = re.compile("0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """The log ``origin`` had ``size`` leaves, with this root; ``extensions`` are further lines without meaning here."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """The text that is signed."""
        lines = (self.origin, str(self.size), base64.b64encode(self.root).decode(), *self.extensions)
        return "".join(f"{line}\n" for line in lines)


class SignedCheckpoint(NamedTuple):
    """A checkpoint and the note that it came in."""

    checkpoint: Checkpoint
    note: Note

    def signed_by(self, keys: Iterable[PublicKey]) -> list[Signed]:
        """Which of ``keys`` have signed it. Raises ProofError for a wrong signature of one of them."""
        return check_signatures(self.note, keys)

    def is_signed_by_log(self, keys: Sequence[PublicKey]) -> bool:
        """Whether its own log has signed it: with one of ``keys``, which has the name of the log. Raises as above."""
        return any(
            one.key.type is SignatureType.LOG and one.key.name == self.checkpoint.origin
            for one in self.signed_by(keys)
        )


def parse_checkpoint(content: bytes) -> SignedCheckpoint:
    """The checkpoint in a note. No signature is checked. Raises ProofError if the note is not a checkpoint."""
    note = parse_note(content)
    return SignedCheckpoint(parse_checkpoint_text(note.text), note)


def parse_checkpoint_text(text: str) -> Checkpoint:
    """The checkpoint that a note's text is. Raises ProofError for another text."""
    origin, *rest = text.removesuffix("\n").split("\n")
    if len(rest) < 2 or not all((origin, *rest)) or _SIZE.fullmatch(rest[0]) is None:
        raise ProofError("this note is no checkpoint: one has lines for origin, size and root")
    size, root, *extensions = rest
    return Checkpoint(origin, int(size), parse_hash(root), tuple(extensions))


def parse_hash(text: str) -> bytes:
    """The hash that is written as base64. Raises ProofError."""
    try:
        found = decode_base64(text)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != HASH_BYTES:
        raise ProofError(f"`{text[:60]}` is no hash of {HASH_BYTES} bytes in base64")
    return found
