"""A resolved policy or catalog in, the digest of what it means out.

The digest is ``sha256:`` and the SHA-256 of canonical JSON (RFC 8785) of the resolved shape: conditions in
canonical form, models by id. Comments, layout, descriptions and where secrets and files lie do not count.
"""

from __future__ import annotations

import hashlib
from typing import Any

__all__ = ["canonical_bytes", "digest_of"]


def canonical_bytes(value: Any) -> bytes:
    """Canonical JSON (RFC 8785) of plain values."""
    import rfc8785

    return rfc8785.dumps(value)


def digest_of(value: Any) -> str:
    """``sha256:`` and the digest of the value's canonical JSON."""
    return "sha256:" + hashlib.sha256(canonical_bytes(value)).hexdigest()
