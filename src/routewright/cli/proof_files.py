"""Reads and writes the files of proofs: checkpoints, requests, receipts and keys."""

from __future__ import annotations

import os.path
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from routewright.ledger import InputError, NotWrittenError, ProofError, PublicKey, parse_public_key
from routewright.private_files import whole_file

_MOST_BYTES: Final = 16 * 1024**2


def read_keys(given: Iterable[str]) -> list[PublicKey]:
    """The public keys that are given, each as text or in a file. Raises InputError for what is neither."""
    return [_read_key(one) for one in given]


def _read_key(given: str) -> PublicKey:
    if os.path.isfile(given):
        try:
            return parse_public_key(read_content(Path(given)).decode("utf-8", "replace"))
        except ProofError as error:
            raise InputError(f"`{given}`: {error}", help=_KEY_HELP) from None
    try:
        return parse_public_key(given)
    except ProofError as error:
        neither = f"`{given}` is neither a key nor a file that holds one"
        raise InputError(str(error) if "+" in given else neither, help=_KEY_HELP) from None


_KEY_HELP: Final = "`routewright ledger checkpoint --key` prints the key of a ledger's log where it signs"


def read_content(file: Path) -> bytes:
    """What is in a file, or the beginning of it. Raises ProofError where it cannot be read."""
    try:
        with file.open("rb") as opened:
            return opened.read(_MOST_BYTES)
    except OSError as error:
        raise ProofError(f"`{file}` cannot be read: {(error.strerror or str(error)).lower()}") from None


def write_file(file: Path, text: str, *, force: bool) -> None:
    """Write a file whole or not at all. Raises NotWrittenError, as for one that is there without ``force``."""
    try:
        with whole_file(file, replace=force) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NotWrittenError(
            f"`{file}` cannot be written: {(error.strerror or str(error)).lower()}"
        ) from error
