"""A witness cosigns what begins with what it has cosigned before, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.ledger_rows import decision
from support.new_ledgers import new_ledger

from routewright.ledger import (
    Ledger,
    ProofError,
    SignatureType,
    SignedCheckpoint,
    cosign,
    key_of,
    witness_request,
)

ORIGIN, WITNESS = "example.com/ledger", "example.com/witness"
LOG_TYPE, WITNESS_TYPE = SignatureType.LOG, SignatureType.WITNESS


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.append([decision(1)])
    ledger.sign_checkpoint(tmp_path / "keys", origin=ORIGIN)
    return ledger


def cosigned(ledger: Ledger, request: str, at_s: int = 1_767_225_600) -> SignedCheckpoint:
    folder = ledger.path.parent
    log = key_of(folder / "keys", ORIGIN, LOG_TYPE).public
    return cosign(
        request.encode(),
        folder / "seen",
        name=WITNESS,
        keys=[log],
        key_folder=folder / "other keys",
        at_s=at_s,
    )


def test_a_growing_log_is_cosigned_again_and_again(ledger: Ledger, tmp_path: Path) -> None:
    first = cosigned(ledger, witness_request(ledger.path, 0))
    keys = [
        key_of(tmp_path / "keys", ORIGIN, LOG_TYPE).public,
        key_of(tmp_path / "other keys", WITNESS, WITNESS_TYPE).public,
    ]
    assert [(one.key.name, one.at_s) for one in first.signed_by(keys)] == [
        (ORIGIN, None),
        (WITNESS, 1_767_225_600),
    ]
    assert (tmp_path / "seen" / "example.com_ledger.checkpoint").read_text() == first.note.written()
    ledger.append([decision(number) for number in range(2, 9)])
    ledger.sign_checkpoint(tmp_path / "keys")
    second = cosigned(ledger, witness_request(ledger.path, first.checkpoint.size))
    assert second.checkpoint.size > first.checkpoint.size
    # The same again is cosigned anew.
    again = cosigned(ledger, witness_request(ledger.path, second.checkpoint.size), at_s=1_767_225_700)
    assert again.checkpoint == second.checkpoint
    assert ledger.verify({"`cosigned`": again}, keys=keys).fault_count == 0


def test_what_does_not_follow_is_not_cosigned(ledger: Ledger, tmp_path: Path) -> None:
    first = cosigned(ledger, witness_request(ledger.path, 0))
    seen = (tmp_path / "seen" / "example.com_ledger.checkpoint").read_bytes()
    with pytest.raises(
        ProofError, match="has cosigned 3 leaves of `example.com/ledger`, and the request begins at 0"
    ):
        cosigned(ledger, witness_request(ledger.path, 0))
    # Another history under the same name and key.
    (tmp_path / "other").mkdir()
    other = new_ledger(tmp_path / "other" / "ledger.duckdb")
    other.append([decision(number) for number in range(5, 9)])
    other.sign_checkpoint(tmp_path / "keys", origin=ORIGIN)
    with pytest.raises(ProofError, match="does not begin with the 3 leaves that this witness has cosigned"):
        cosigned(ledger, witness_request(other.path, first.checkpoint.size))
    assert (tmp_path / "seen" / "example.com_ledger.checkpoint").read_bytes() == seen


def test_what_is_no_request_or_of_an_unknown_log_is_refused(ledger: Ledger, tmp_path: Path) -> None:
    request = witness_request(ledger.path, 0)
    for wrong in (
        "",
        "old\n\n",
        request.replace("old 0", "old 00"),
        request.replace("old 0", "old 0\n" + "A\n" * 64),
    ):
        with pytest.raises(ProofError, match="no request to a witness"):
            cosigned(ledger, wrong)
    key = key_of(tmp_path / "keys", "example.com/stranger", LOG_TYPE)
    stranger = key.public
    head, text = request.split("\n\n")[:2]
    signature = key.sign(text + "\n")
    forged = f"{head}\n\n{text}\n\n{signature.line()}"
    with pytest.raises(
        ProofError, match="none of the keys has signed the checkpoint of `example.com/ledger`"
    ):
        cosign(forged.encode(), tmp_path / "seen", name=WITNESS, keys=[stranger], key_folder=tmp_path, at_s=1)
    with pytest.raises(ProofError, match="none of the keys has signed"):
        cosign(
            request.encode(), tmp_path / "seen", name=WITNESS, keys=[stranger], key_folder=tmp_path, at_s=1
        )
    assert not (tmp_path / "seen").exists()
    with pytest.raises(ProofError, match=r"no checkpoint of 9 leaves or more was signed"):
        witness_request(ledger.path, 9)
