"""Sizes in memory for people."""

from __future__ import annotations

from typing import Final

BYTES_PER_GB: Final = 1_000_000_000
"""A gigabyte as catalogs write it (`memory_gb`): 10⁹ bytes, not 2³⁰."""


def gigabytes(size_bytes: int) -> str:
    """A size with three digits at most, such as ``7.5 GB``.

    >>> gigabytes(3_827_834_503)
    '3.83 GB'
    """
    return f"{size_bytes / BYTES_PER_GB:.3g} GB"
