"""Verifying names what happened to a ledger and says what it cannot know, and a receipt needs no ledger."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest
from support.children import Child, Tell
from support.ledger_rows import attempt, decision, decision_id
from support.new_ledgers import new_ledger

from routewright.ledger import (
    InputError,
    Ledger,
    LedgerError,
    Outcome,
    ProofError,
    PublicKey,
    SignatureType,
    SignedCheckpoint,
    Verification,
    check_receipt,
    checkpoints,
    key_of,
    spool_folder,
)
from routewright.ledger.checkpoints import log_folder, read_checkpoint
from routewright.private_files import whole_file

ORIGIN = "example.com/ledger"
DECISIONS = 150


@dataclass
class Kept:
    """A ledger, its keys, and a checkpoint that was kept elsewhere."""

    path: Path
    keys: Path
    checkpoint: SignedCheckpoint

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.path)

    @property
    def key(self) -> PublicKey:
        return key_of(self.keys, ORIGIN, SignatureType.LOG).public

    def verify(self) -> Verification:
        return self.ledger.verify({"`kept`": self.checkpoint}, key_folder=self.keys)

    def faults(self) -> list[str]:
        return [fault.what for fault in self.verify().faults]

    def change(self, *statements: str) -> None:
        with duckdb.connect(str(self.path)) as client:
            for statement in statements:
                client.execute(statement)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A full tile of leaves and more, two checkpoints, of which the first is kept, and a row that is under neither."""
    folder = tmp_path_factory.mktemp("verified")
    ledger = new_ledger(folder / "ledger.duckdb")
    numbers = range(DECISIONS)
    ledger.append([decision(one) for one in numbers], [attempt(one) for one in numbers])
    first = ledger.sign_checkpoint(folder / "keys", origin=ORIGIN)
    ledger.append([decision(DECISIONS)], [attempt(DECISIONS)])
    ledger.sign_checkpoint(folder / "keys")
    ledger.append([decision(DECISIONS + 1)])
    return Kept(ledger.path, folder / "keys", first)


@pytest.fixture
def kept(recorded: Kept, tmp_path: Path) -> Kept:
    shutil.copytree(recorded.path.parent, tmp_path / "copy")
    return Kept(tmp_path / "copy" / "ledger.duckdb", tmp_path / "copy" / "keys", recorded.checkpoint)


def test_a_ledger_as_it_was_recorded_has_no_faults(kept: Kept) -> None:
    found = kept.verify()
    assert (found.origin, found.fault_count, found.faults) == (ORIGIN, 0, ())
    assert found.leaves == {"decision": DECISIONS + 2, "attempt": DECISIONS + 1, "part": 3}
    assert found.size == sum(found.leaves.values())
    assert found.covered == found.size - 1
    assert found.notices == (f"no checkpoint covers the newest 1 of {found.size} leaves",)
    alone = kept.ledger.verify(key_folder=kept.keys)
    assert "another file and log in place of these cannot be known" in alone.notices[0]


def test_without_a_key_nobody_is_said_to_have_signed(kept: Kept) -> None:
    found = kept.ledger.verify({"`kept`": kept.checkpoint})
    assert found.fault_count == found.covered == 0
    assert found.notices == (
        "who signed `kept` and the checkpoint beside the ledger could not be checked: give the key of "
        f"`{ORIGIN}` by `--key`",
    )
    assert kept.ledger.verify({"`kept`": kept.checkpoint}, keys=[kept.key]).covered == found.size - 1


def test_without_any_checkpoint_that_is_said_once(kept: Kept) -> None:
    (log_folder(kept.path) / "checkpoint").unlink()
    found = kept.ledger.verify()
    assert (found.fault_count, found.covered, len(found.notices)) == (0, 0, 1)
    assert found.notices[0].startswith("no checkpoint was signed yet, so whether ")


AFTER = {
    "UPDATE attempt_rows SET cost_nano = 7 WHERE {}": "attempt 1 of decision `{}` has changed since it was recorded",
    "DELETE FROM attempt_rows WHERE {}": "attempt 1 of decision `{}` is missing",
    "INSERT INTO attempt_rows BY NAME SELECT * REPLACE (9 AS number) FROM attempt_rows WHERE {}": (
        "attempt 9 of decision `{}` is not in the log: something else has written it into the ledger"
    ),
    "UPDATE decision_rows SET draw = 0.5 WHERE {}": (
        "the record of decision `{}` does not have its digest: its row, one of its parts, or what was known of a model "
        "or backend has changed"
    ),
    "UPDATE decision_rows SET team = 'x' WHERE {}": (
        "the column `team` of decision `{}` is not what its tags and features say"
    ),
}
"""What somebody does to one of the rows that are newer than the checkpoint, and what is said of it."""


def test_since_a_checkpoint_newer_rows_are_compared_and_older_ones_are_not_read(kept: Kept) -> None:
    numbers = range(DECISIONS + 2, DECISIONS + 2 + len(AFTER))
    kept.ledger.append([decision(one) for one in numbers], [attempt(one) for one in numbers])

    def since(name: str) -> Verification:
        return kept.ledger.verify({"`kept`": kept.checkpoint}, key_folder=kept.keys, since=name)

    older = f"WHERE decision_id < '{decision_id(DECISIONS)}'"
    kept.change(
        f"UPDATE attempt_rows SET cost_nano = 7 {older}",
        f"UPDATE decision_rows SET mode = 'shadow', team = 'x', policy_part = 99 {older}",
    )
    assert kept.verify().fault_count > 3 * DECISIONS
    assert (since("`kept`").faults, since("`kept`").since) == ((), kept.checkpoint.checkpoint.size)
    ids = [decision_id(one) for one in numbers]
    kept.change(*(do.format(f"decision_id = '{id}'") for do, id in zip(AFTER, ids, strict=True)))
    said = [what.format(id) for what, id in zip(AFTER.values(), ids, strict=True)]
    assert sorted(fault.what for fault in since("newest").faults) == sorted(said)
    kept.change("UPDATE log_leaves SET digest = unhex(repeat('ab', 32)) WHERE leaf = 7")
    assert any("not those that `kept` was signed for" in fault.what for fault in since("`kept`").faults)


def test_since_a_checkpoint_that_nobody_is_known_to_have_signed_nothing_is_compared(kept: Kept) -> None:
    with pytest.raises(ProofError, match="who signed `kept` could not be checked, so nothing"):
        kept.ledger.verify({"`kept`": kept.checkpoint}, since="`kept`")
    (log_folder(kept.path) / "checkpoint").unlink()
    with pytest.raises(ProofError, match="there is no checkpoint beside the ledger"):
        kept.ledger.verify(key_folder=kept.keys, since="newest")


def test_a_row_that_was_changed_with_its_leaf_is_named_by_the_tiles(kept: Kept) -> None:
    kept.change("UPDATE log_leaves SET digest = unhex(repeat('ab', 32)) WHERE leaf = 7")
    found = kept.verify()
    named = re.sub("[0-9a-f]{8}-[0-9a-f-]{27}", "ID", found.faults[-1].what)
    assert {fault.leaf for fault in found.faults} == {None, 7}
    assert [fault.what for fault in found.faults[:2]] == [
        f"the first {kept.checkpoint.checkpoint.size} leaves of the log are not those that `kept` was signed for",
        f"the first {found.size - 1} leaves of the log are not those that the checkpoint beside the ledger was signed "
        "for",
    ]
    assert "leaf 7 of the log, of decision `ID`, is not the one that was there" in " ".join(
        re.sub("[0-9a-f]{8}-[0-9a-f-]{27}", "ID", fault.what) for fault in found.faults
    )
    assert named == "decision `ID` has changed since it was recorded"


def test_rows_that_are_gone_with_their_leaves_are_missed(kept: Kept) -> None:
    id = decision_id(DECISIONS)
    kept.change(
        f"DELETE FROM log_leaves WHERE leaf >= {kept.checkpoint.checkpoint.size - 1}",
        "DELETE FROM attempt_rows WHERE decision_id >= ?::UUID".replace("?", f"'{id}'"),
        f"DELETE FROM decision_rows WHERE decision_id >= '{id}'::UUID",
    )
    size = kept.checkpoint.checkpoint.size
    assert (
        f"`kept` was signed for {size} leaves, and the log has {size - 1}: 1 are gone, or an older file was put back"
        in kept.faults()
    )
    kept.change("DELETE FROM log_leaves WHERE leaf = 3")
    assert "the log has no leaf 3" in kept.faults()
    assert (
        "`kept` could not be compared: of the log only the first 3 leaves can be read"
        in kept.verify().notices
    )


def test_yesterdays_file_is_found_by_a_checkpoint_kept_elsewhere_alone(kept: Kept, tmp_path: Path) -> None:
    """With its folder put back too, nothing here tells."""
    shutil.copytree(kept.path.parent, tmp_path / "yesterday")
    kept.ledger.append([decision(DECISIONS + 2)])
    newest = kept.ledger.sign_checkpoint(kept.keys)
    shutil.rmtree(spool_folder(kept.path))
    shutil.copytree(spool_folder(tmp_path / "yesterday" / "ledger.duckdb"), spool_folder(kept.path))
    shutil.copy(tmp_path / "yesterday" / "ledger.duckdb", kept.path)
    assert kept.ledger.verify(key_folder=kept.keys).fault_count == 0
    [fault] = kept.ledger.verify({"`newest`": newest}, key_folder=kept.keys).faults
    assert fault.what.startswith("`newest` was signed for ") and "an older file was put back" in fault.what


def test_a_checkpoint_that_somebody_else_wrote_is_not_genuine(kept: Kept) -> None:
    path = log_folder(kept.path) / "checkpoint"
    path.write_text(path.read_text().replace(f"\n{kept.verify().size - 1}\n", "\n9\n"))
    assert [one for one in kept.faults() if "is not genuine" in one] == [
        "the checkpoint beside the ledger is not genuine: the signature of `example.com/ledger` is not one of this text"
    ]
    path.write_text("nothing")
    assert [one for one in kept.faults() if "is no checkpoint" in one] != []


def test_what_does_not_begin_with_what_was_signed_is_not_signed(kept: Kept) -> None:
    with pytest.raises(ProofError, match="is called `example.com/ledger`, and keeps its name"):
        kept.ledger.sign_checkpoint(kept.keys, origin="example.com/other")
    tile = log_folder(kept.path) / "tile" / "0" / "000"
    tile.write_bytes(tile.read_bytes()[::-1])
    top = log_folder(kept.path) / "tile" / "1" / "000.p" / "1"
    top.write_bytes(top.read_bytes()[::-1])
    kept.ledger.append([decision(DECISIONS + 2)])
    with pytest.raises(ProofError, match=r"does not begin with the \d+ leaves that were signed before"):
        kept.ledger.sign_checkpoint(kept.keys)


def test_who_is_killed_with_the_first_checkpoint_can_sign_another(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.append([decision(1)])

    @contextmanager
    def killed_after(path: Path, *, replace: bool) -> Iterator[Path]:
        with whole_file(path, replace=replace) as draft:
            yield draft
        os.kill(os.getpid(), signal.SIGKILL)

    def work(_: Tell) -> None:
        setattr(checkpoints, "whole_file", killed_after)  # noqa: B010  # not exported
        ledger.sign_checkpoint(tmp_path / "keys")

    assert Child(work).wait() == -signal.SIGKILL
    assert (log_folder(ledger.path) / "checkpoint").exists()
    signed = ledger.sign_checkpoint(tmp_path / "keys")
    assert ledger.verify(key_folder=tmp_path / "keys").covered == signed.checkpoint.size


def test_a_file_with_a_flipped_byte_cannot_be_read(kept: Kept) -> None:
    data = bytearray(kept.path.read_bytes())
    at = data.index(b"mixture of experts")
    data[at] ^= 1
    kept.path.write_bytes(data)
    with pytest.raises(LedgerError, match=r"computed checksum .* in block at location \d+\n") as refused:
        kept.verify()
    assert "put back a copy" in (refused.value.help or "")


@pytest.mark.parametrize("left", [0.0, 0.5])
def test_a_cut_write_ahead_log_is_found_under_a_checkpoint(kept: Kept, left: float) -> None:
    """The file lacks the newest attempt and the decision after it, which are in the log of writes alone."""
    size = kept.verify().size
    newest = {
        "attempt_rows": f"decision_id = '{decision_id(DECISIONS)}'",
        "decision_rows": f"decision_id = '{decision_id(DECISIONS + 1)}'",
        "log_leaves": f"leaf >= {size - 2}",
    }
    with duckdb.connect(str(kept.path)) as client:
        for table, rows in newest.items():
            client.execute(f"CREATE TEMP TABLE kept_{table} AS FROM {table} WHERE {rows}")
            client.execute(f"DELETE FROM {table} WHERE {rows}")
        client.execute("CHECKPOINT")
        client.execute("PRAGMA disable_checkpoint_on_shutdown")
        client.execute("BEGIN")
        for table in newest:
            client.execute(f"INSERT INTO {table} FROM kept_{table}")
        client.execute("COMMIT")
    log = kept.path.with_name(f"{kept.path.name}.wal")
    data = log.read_bytes()
    log.write_bytes(data[: int(left * len(data))])
    assert kept.faults() == [
        f"the checkpoint beside the ledger was signed for {size - 1} leaves, and the log has {size - 2}: 1 are gone, "
        "or an older file was put back"
    ]


def test_a_receipt_is_checked_without_the_ledger(kept: Kept) -> None:
    id = decision_id(5)
    receipt = kept.ledger.prove(id)
    assert receipt.splitlines()[0] == "c2sp.org/tlog-proof@v1"
    proved = check_receipt(receipt.encode(), [kept.key])
    assert proved.record is not None
    assert (proved.decision_id, proved.record["id"], proved.values["mode"]) == (id, id, "exploit")
    assert proved.checkpoint == read_checkpoint(log_folder(kept.path) / "checkpoint").checkpoint
    assert [one.key for one in proved.signed] == [kept.key]
    with pytest.raises(ProofError, match="no checkpoint covers decision"):
        kept.ledger.prove(decision_id(DECISIONS + 1))


def test_attempts_and_outcomes_have_receipts_too(kept: Kept) -> None:
    id, ledger = decision_id(5), kept.ledger
    ledger.append([], [attempt(5, 2, cost_nano=2**60)])
    ledger.record_outcomes(
        [Outcome(id, "score", 0.5), Outcome(id, "said", "good"), Outcome(id, "said", "so", source="x")]
    )
    ledger.record_outcomes([Outcome(id, "score", 1.0)])
    ledger.sign_checkpoint(kept.keys)
    proved = check_receipt(ledger.prove(id, attempt=2).encode(), [kept.key])
    assert (proved.what, proved.record) == (f"attempt 2 of decision `{id}`", None)
    assert (proved.decision_id, proved.values["cost_nano"]) == (id, str(2**60))
    proved = check_receipt(ledger.prove(id, outcome="score").encode(), [kept.key])
    assert (proved.what[:9], proved.values["value"]) == ("outcome `", 1.0)
    for text in (proved.values["outcome_id"][:24], proved.values["supersedes"]):
        assert check_receipt(ledger.prove(id, outcome=text).encode(), [kept.key]).values["metric"] == "score"
    for named, why in (
        ("said", "has several of outcome `said`: `"),
        ("", "has no outcome ``"),
        ("x", "has no"),
    ):
        with pytest.raises(InputError, match=why):
            ledger.prove(id, outcome=named)
    with pytest.raises(InputError, match="has no attempt 3") as caught:
        ledger.prove(id, attempt=3)
    assert caught.value.help == "its attempts: 1, 2; its outcomes: said, score"
    receipt = ledger.prove(id, attempt=2)
    for old, new in (
        ('"kind":2', '"kind":3'),
        ('"number":2', '"number":1'),
        ('"status":"ok"', '"status":"lost"'),
    ):
        with pytest.raises(ProofError, match="is no receipt|not in the log when"):
            check_receipt(told(receipt, old, new).encode(), [kept.key])
    kept.change("UPDATE attempt_rows SET cost_nano = 7 WHERE number = 2")
    with pytest.raises(ProofError, match="attempt 2 of decision .* has changed since it was recorded"):
        ledger.prove(id, attempt=2)


def told(receipt: str, old: str, new: str) -> str:
    """The receipt with other extra data."""
    extra = base64.b64decode(receipt.splitlines()[1].removeprefix("extra ")).decode()
    assert old in extra
    changed = base64.b64encode(extra.replace(old, new).encode()).decode()
    return re.sub("extra .*", f"extra {changed}", receipt, count=1)


def test_a_receipt_of_something_else_proves_nothing(kept: Kept) -> None:
    receipt, other = kept.ledger.prove(decision_id(5)), kept.ledger.prove(decision_id(6))
    first, *lines = receipt.splitlines(keepends=True)
    hashes = json.dumps(lines)
    wrong = {
        "not in the log when": [
            told(receipt, '"mode":"exploit"', '"mode":"shadow"'),
            receipt.replace("index ", "index 1"),
            receipt.replace(receipt.splitlines()[1], other.splitlines()[1]),
            receipt.replace(lines[3], lines[4]),
        ],
        "not the one that was recorded": [told(receipt, '"target":"kimi"', '"target":"tiny"')],
        "is no receipt": [
            "",
            first,
            hashes,
            receipt.replace("extra ", "extra !"),
            receipt.replace("index", "at"),
        ],
        "is not one of this text": [receipt.replace(f"{ORIGIN}\n", f"{ORIGIN}\n1")],
    }
    for why, receipts in wrong.items():
        for one in receipts:
            with pytest.raises(ProofError, match=why):
                check_receipt(one.encode(), [kept.key])
    with pytest.raises(ProofError, match="none of the keys has signed"):
        check_receipt(receipt.encode(), [key_of(kept.keys, "another", SignatureType.LOG).public])
