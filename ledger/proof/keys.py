"""Keeps signing keys, each in a file of its own in the user's configuration folder, and never beside a ledger.

Whoever can write to a ledger's folder may so change the ledger, but not sign what it then says.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from routewright.private_files import create_private, make_private_folder, whole_file

from ..errors import ProofError
from .note import PrivateKey, PublicKey, SignatureType, check_name, parse_private_key
from .signing import new_seed

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_MOST_BYTES: Final = 4096
_UNSAFE: Final = re.compile("[^A-Za-z0-9._-]")
_SUFFIX: Final = {SignatureType.LOG: "log", SignatureType.WITNESS: "witness"}


def safe_name(name: str) -> str:
    """The name of a key or log as part of a file's name: letters that may mean something there become ``_``."""
    return _UNSAFE.sub("_", name)


def key_path(folder: Path, name: str, type: SignatureType) -> Path:
    """The file of a key in the folder of keys."""
    return folder / f"{safe_name(name)}.{_SUFFIX[type]}.key"


def find_key(folder: Path, name: str, type: SignatureType) -> PrivateKey | None:
    """The key of this name; None if there is none.

    Raises ProofError for a file that others may read or write, that cannot be read, or that holds another key.
    """
    path = key_path(folder, name, type)
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read(_MOST_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ProofError(
            f"the signing key `{path}` cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    if mode & _OTHERS:
        raise ProofError(
            f"others may use the signing key `{path}`, so what it signs proves nothing",
            help=f"`chmod 600 {path}`; if others may have read it, delete it, and hold on to older checkpoints",
        )
    try:
        key = parse_private_key(content.decode("utf-8", "replace"))
    except ProofError as error:
        raise ProofError(f"`{path}` does not hold a signing key: {error}") from None
    if (key.name, key.type) != (name, type):
        raise ProofError(f"the key in `{path}` is of `{key.name}`, and not of `{name}`")
    return key


def with_own_key(keys: Sequence[PublicKey], folder: Path | None, origin: str) -> list[PublicKey]:
    """``keys``, and the key of the log ``origin`` from the folder of keys, if it is there and none of them is its.

    Raises ProofError as ``find_key`` does.
    """
    is_given = any((one.name, one.type) == (origin, SignatureType.LOG) for one in keys)
    own = None if folder is None or is_given else find_key(folder, origin, SignatureType.LOG)
    return [*keys, *([] if own is None else [own.public])]


def key_of(folder: Path, name: str, type: SignatureType) -> PrivateKey:
    """The key of this name, which is made if there is none. Raises ProofError as ``find_key`` does."""
    check_name(name)
    found = find_key(folder, name, type)
    if found is not None:
        return found
    made = PrivateKey(name, type, new_seed())
    path = key_path(folder, name, type)
    try:
        make_private_folder(folder)
        with whole_file(path, replace=False) as draft:
            with open(create_private(draft), "w", encoding="utf-8") as file:
                file.write(made.written() + "\n")
                file.flush()
                os.fsync(file.fileno())
    except FileExistsError:
        return key_of(folder, name, type)  # another process has made it meanwhile
    except OSError as error:
        raise ProofError(
            f"the signing key `{path}` cannot be made: {(error.strerror or str(error)).lower()}"
        ) from None
    return made
