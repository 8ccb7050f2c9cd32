"""Ed25519 signatures (RFC 8032); the only module that imports ``nacl``."""

from __future__ import annotations

from typing import Final

SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def new_seed() -> bytes:
    """A new private key: 32 random bytes."""
    from nacl.signing import SigningKey

    return bytes(SigningKey.generate())


def public_key(seed: bytes) -> bytes:
    """The public key of a private one."""
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).verify_key)


def sign(seed: bytes, message: bytes) -> bytes:
    """The signature of a message; the same each time."""
    from nacl.signing import SigningKey

    return bytes(SigningKey(seed).sign(message).signature)


def is_signature(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether it is the signature of ``message`` by the owner of a public key of 32 bytes."""
    from nacl.exceptions import BadSignatureError
    from nacl.signing import VerifyKey

    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(public).verify(message, signature)
    except BadSignatureError:
        return False
    return True
