"""Signing keys are made once, for their owner alone, and others' keys and open files are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from routewright.ledger.errors import ProofError
from routewright.ledger.proof.keys import find_key, key_of, key_path
from routewright.ledger.proof.note import SignatureType

LOG, WITNESS = SignatureType.LOG, SignatureType.WITNESS


def test_a_key_is_made_at_first_and_then_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "configuration" / "keys"
    assert find_key(folder, "example.com/ledger", LOG) is None
    assert not folder.exists()
    made = key_of(folder, "example.com/ledger", LOG)
    assert key_of(folder, "example.com/ledger", LOG) == made == find_key(folder, "example.com/ledger", LOG)
    file = folder / "example.com_ledger.log.key"
    assert [path.name for path in folder.iterdir()] == [file.name]
    assert (file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)
    assert file.read_text() == made.written() + "\n"
    assert key_of(folder, "example.com/ledger", WITNESS).seed != made.seed


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    key_of(tmp_path, "a", LOG)
    path = key_path(tmp_path, "a", LOG)
    path.chmod(mode)
    with pytest.raises(ProofError, match="others may use the signing key") as refused:
        key_of(tmp_path, "a", LOG)
    assert f"chmod 600 {path}" in str(refused.value.help)


def test_a_key_of_another_name_or_none_is_refused(tmp_path: Path) -> None:
    key_of(tmp_path, "a/b", LOG)
    with pytest.raises(ProofError, match="is of `a/b`, and not of `a:b`"):
        key_of(tmp_path, "a:b", LOG)
    secret = key_path(tmp_path, "a/b", LOG).read_text()
    key_path(tmp_path, "a/b", LOG).write_text(secret[:-9])
    with pytest.raises(ProofError, match="does not hold a signing key") as refused:
        key_of(tmp_path, "a/b", LOG)
    assert secret[30:60] not in f"{refused.value}{refused.value.help}"
    with pytest.raises(ProofError, match="is no name of a key"):
        key_of(tmp_path, "a b", LOG)
