"""Signed notes: a text, and lines of signatures under it (https://c2sp.org/signed-note).

Two kinds of Ed25519 signatures are known: of a text as it is, which a log makes, and cosignatures with a time, which a
witness makes of a log's checkpoint (https://c2sp.org/tlog-cosignature). Keys are written as Go writes them:
``name+id+key``, and ``PRIVATE+KEY+name+id+key`` for a private one.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, NamedTuple

from ..errors import ProofError
from .signing import PUBLIC_BYTES, SEED_BYTES, is_signature, public_key, sign

MOST_BYTES: Final = 1024**2
MOST_SIGNATURES: Final = 100

_PRIVATE: Final = "PRIVATE+KEY+"
_TIME_BYTES: Final = 8
_LAST_TIME: Final = 2**63 - 1
_CONTROL: Final = re.compile("[\x00-\x09\x0b-\x1f]")


class SignatureType(IntEnum):
    """The signature types that are known here, with the bytes that signed-note assigns to them."""

    LOG = 1
    """Ed25519 over the text."""
    WITNESS = 4
    """Ed25519 over the text with a time before it: ``cosignature/v1``."""


class Signature(NamedTuple):
    """One line of signatures; ``key_id`` has four bytes."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """The line as it stands in a note, with its newline."""
        return f"— {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that checks signatures of one type by one name."""

    name: str
    type: SignatureType
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes by which lines name the key."""
        return _key_id(self.name, self.type, self.key)

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(bytes([self.type]) + self.key).decode()}"


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A key that signs by one name; its text is secret."""

    name: str
    type: SignatureType
    seed: bytes = field(repr=False)

    @property
    def public(self) -> PublicKey:
        """What others check its signatures with."""
        return PublicKey(self.name, self.type, public_key(self.seed))

    def written(self) -> str:
        """The private key as text."""
        encoded = base64.b64encode(bytes([self.type]) + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.public.id.hex()}+{encoded}"

    def sign(self, text: str, *, at_s: int | None = None) -> Signature:
        """The signature of a note's text. A witness says when, in seconds since 1970."""
        public = self.public
        if self.type is SignatureType.LOG:
            return Signature(self.name, public.id, sign(self.seed, text.encode()))
        if at_s is None or not 0 <= at_s <= _LAST_TIME:
            raise ValueError("a cosignature has a time in seconds since 1970")
        signed = sign(self.seed, _cosigned(text, at_s))
        return Signature(self.name, public.id, at_s.to_bytes(_TIME_BYTES, "big") + signed)


class Note(NamedTuple):
    """A text, which ends with a newline, and the signatures under it."""

    text: str
    signatures: tuple[Signature, ...]

    def written(self) -> str:
        """The note as it is sent and stored."""
        return f"{self.text}\n{''.join(one.line() for one in self.signatures)}"


class Signed(NamedTuple):
    """That a key has signed; ``at_s`` is when a witness did, in seconds since 1970."""

    key: PublicKey
    at_s: int | None


def parse_note(content: bytes) -> Note:
    """Parse a signed note. No signature is checked. Raises ProofError if the text is not a signed note."""
    if len(content) > MOST_BYTES:
        raise ProofError(f"a note has at most {MOST_BYTES:,} bytes")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ProofError("a note is UTF-8 text") from None
    if _CONTROL.search(text):
        raise ProofError("a note holds no control characters but newlines")
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise ProofError("a note is a text, an empty line and lines of signatures")
    signatures = tuple(map(_parse_line, lines.removesuffix("\n").split("\n")))
    if len(signatures) > MOST_SIGNATURES:
        raise ProofError(f"a note has at most {MOST_SIGNATURES} signatures")
    return Note(body + "\n", signatures)


def check_signatures(note: Note, keys: Iterable[PublicKey]) -> list[Signed]:
    """Which of ``keys`` have signed the note, in the order of its lines; lines of other keys say nothing.

    Raises ProofError if a line names one of these keys and is not its signature.
    """
    known = {(one.name, one.id): one for one in keys}
    found = []
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None:
            continue
        message, at_s, value = note.text.encode(), None, line.value
        if key.type is SignatureType.WITNESS:
            at_s, value = int.from_bytes(value[:_TIME_BYTES], "big"), value[_TIME_BYTES:]
            message = _cosigned(note.text, at_s)
        if not is_signature(key.key, message, value):
            raise ProofError(f"the signature of `{key.name}` is not one of this text")
        found.append(Signed(key, at_s))
    return found


def parse_public_key(text: str) -> PublicKey:
    """The key that is written as ``name+id+key``. Raises ProofError."""
    return PublicKey(*_parse_key(text.strip(), PUBLIC_BYTES, lambda key: key))


def parse_private_key(text: str) -> PrivateKey:
    """The key that is written as ``PRIVATE+KEY+name+id+key``. Raises ProofError, which does not quote it."""
    if not text.startswith(_PRIVATE):
        raise ProofError("this is no private key")
    return PrivateKey(*_parse_key(text.strip().removeprefix(_PRIVATE), SEED_BYTES, public_key))


def check_name(name: str) -> None:
    """Raise ProofError for what cannot be the name of a key."""
    if not name or "+" in name or any(letter.isspace() or letter < " " for letter in name):
        raise ProofError(f"`{name}` is no name of a key: it holds neither spaces nor `+`")


def decode_base64(text: str) -> bytes:
    """The bytes that are written so, in the one way of RFC 4648, section 4. Raises ValueError."""
    decoded = base64.b64decode(text, validate=True)
    if base64.b64encode(decoded).decode() != text:
        raise ValueError("the last letter has bits that belong to no byte")
    return decoded


def _parse_line(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    try:
        value = decode_base64(encoded)
    except (binascii.Error, ValueError):
        value = b""
    if dash != "—" or len(value) <= 4:
        raise ProofError(f"`{line[:60]}` is no line of a signature")
    check_name(name)
    return Signature(name, value[:4], value[4:])


def _parse_key(text: str, size: int, public_of: Callable[[bytes], bytes]) -> tuple[str, SignatureType, bytes]:
    name, _, rest = text.partition("+")
    id, _, encoded = rest.partition("+")
    try:
        if not encoded:
            raise ValueError(text)
        raw, id_bytes = decode_base64(encoded), bytes.fromhex(id)
    except (binascii.Error, ValueError):
        raise ProofError("this is no key: one is written as `name+id+key`") from None
    check_name(name)
    if not raw or raw[0] not in SignatureType.__members__.values() or len(raw) != 1 + size:
        raise ProofError(
            f"the key of `{name}` is of no type that is known here: Ed25519, of a log or of a witness"
        )
    type, key = SignatureType(raw[0]), raw[1:]
    if _key_id(name, type, public_of(key)) != id_bytes:
        raise ProofError(f"the key of `{name}` was changed or cut: its id is another one")
    return name, type, key


def _key_id(name: str, type: SignatureType, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + bytes([type]) + public).digest()[:4]


def _cosigned(text: str, at_s: int) -> bytes:
    return f"cosignature/v1\ntime {at_s}\n{text}".encode()
