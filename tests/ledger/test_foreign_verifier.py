"""A verifier that shares no code with Routewright accepts what is written of a log, and names what was changed."""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb
import pytest
from support.ledger_rows import DAY_US, START_US, attempt, begun, decision, decision_id, ended, policy
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger, NotWrittenError, Outcome, SignatureType, key_of, witness_request

VERIFIER = Path(__file__).parents[2] / "docs" / "verify.mjs"
ORIGIN = "example.com/ledger"
NODE = shutil.which("node")
RECEIPTS = ("--receipt", "receipt", "--receipt", "attempt", "--receipt", "outcome")

CHANGED = {
    "UPDATE attempt_rows SET cost_nano = 7 WHERE decision_id = '{1}'": "leaf 9: attempt 1 of decision {1} has changed",
    "DELETE FROM attempt_rows WHERE decision_id = '{2}'": "leaf 10: attempt 1 of decision {2} is missing",
    "DELETE FROM decision_rows WHERE decision_id = '{3}'": "leaf 6: decision {3} is missing",
    "INSERT INTO attempt_rows BY NAME SELECT * REPLACE (9 AS number) FROM attempt_rows WHERE decision_id = '{4}'": (
        "attempt 9 of decision {4} is not in the log"
    ),
    "UPDATE decision_rows SET draw = 0.5 WHERE decision_id = '{4}'": "the record of decision {4} has changed",
    "UPDATE decision_rows SET plan_part = 9 WHERE decision_id = '{5}'": (
        "the record of decision {5} cannot be made again: part 9 of a record is missing from the ledger"
    ),
    "UPDATE decision_rows SET mode = 'shadow' WHERE decision_id = '{2}'": "leaf 5: decision {2} has changed",
}
"""What somebody does to rows, and what is said of it."""


@dataclass
class Exported:
    """A ledger, its keys, and a checkpoint and a receipt in files."""

    folder: Path

    @property
    def ledger(self) -> Ledger:
        return Ledger.open(self.folder / "ledger.duckdb")

    def verify(self, *files: str, with_key: bool = True) -> tuple[int, str]:
        """What the verifier says of files in the folder."""
        assert NODE is not None
        key = key_of(self.folder / "keys", ORIGIN, SignatureType.LOG).public
        ran = subprocess.run(
            [NODE, VERIFIER, *files, *(["--key", str(key)] if with_key else [])],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.stderr == ""
        return ran.returncode, ran.stdout


pytestmark = pytest.mark.skipif(NODE is None, reason="there is no Node here")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    exported = Exported(tmp_path_factory.mktemp("foreign"))
    ledger = new_ledger(exported.folder / "ledger.duckdb")
    attempts = [
        attempt(1, cost_nano=2**53 + 1),
        attempt(2),
        attempt(3),
        attempt(4, model_id="é \u2028 \U0001f600"),
    ]
    ledger.append([decision(one) for one in range(1, 6)], attempts, [policy()])
    outcomes: dict[str, float | str] = {"a": 1e21, "b": -0.0, "c": 5e-324, "d": "\u00e9\n", "e": True}
    ledger.record_outcomes([Outcome(decision_id(1), name, value) for name, value in outcomes.items()])
    first = ledger.sign_checkpoint(exported.folder / "keys", origin=ORIGIN)
    (exported.folder / "first").write_text(first.note.written(), encoding="utf-8")
    (exported.folder / "receipt").write_text(ledger.prove(decision_id(2)), encoding="utf-8")
    for name, of in {"attempt": {"attempt": 1}, "outcome": {"outcome": "d"}}.items():
        (exported.folder / name).write_text(ledger.prove(decision_id(1), **of), encoding="utf-8")  # type: ignore[arg-type]
    return exported


@pytest.fixture
def exported(recorded: Exported, tmp_path: Path) -> Exported:
    shutil.copytree(recorded.folder, tmp_path / "copy")
    return Exported(tmp_path / "copy")


def test_it_accepts_what_was_recorded_and_the_proofs(exported: Exported) -> None:
    ledger = exported.ledger
    ledger.append([decision(6)])
    writer = ledger.writer()
    for one in (begun(7), ended(7, attempt(7))):  # which is recorded late: its call was taken for lost
        assert writer.add_all([[one]]) == [None]
        writer.close()
        ledger.ingest()
    ledger.sign_checkpoint(exported.folder / "keys")
    size = ledger.export_log(exported.folder / "log.jsonl")
    first = int((exported.folder / "first").read_text(encoding="utf-8").split("\n")[1])
    (exported.folder / "request").write_text(witness_request(ledger.path, first), encoding="utf-8")
    found = exported.verify("log.jsonl", "--checkpoint", "first", *RECEIPTS, "--request", "request")
    root = base64.b64encode(ledger.verify().root).decode()
    [[outcome]] = ledger.query("SELECT outcome_id FROM outcomes WHERE metric = 'd'").rows
    signed = f"of {ORIGIN} when the checkpoint of {first} leaves was signed\n"
    assert found == (
        0,
        f"decision {decision_id(2)} was leaf 5 {signed}attempt 1 of decision {decision_id(1)} was leaf 9 {signed}"
        f"outcome {outcome} was leaf 16 {signed}"
        f"the log of {size} leaves of {ORIGIN} begins with the {first} that were signed before\n"
        f"{size} leaves, {size - 2} rows, root {root}\n",
    )
    with pytest.raises(NotWrittenError, match="is there already"):
        ledger.export_log(exported.folder / "log.jsonl")


def test_it_names_what_was_changed(exported: Exported) -> None:
    ids = [decision_id(one) for one in range(6)]
    with duckdb.connect(str(exported.ledger.path)) as client:
        for statement in CHANGED:
            client.execute(statement.format(*ids))
    exported.ledger.export_log(exported.folder / "log.jsonl")
    status, said = exported.verify("log.jsonl", "--checkpoint", "first")
    assert (status, sorted(said.splitlines()[1:])) == (
        1,
        sorted(one.format(*ids) for one in CHANGED.values()),
    )


def test_it_names_exchanged_parts_and_leaves_and_a_changed_receipt(exported: Exported) -> None:
    with duckdb.connect(str(exported.ledger.path)) as client:
        client.execute(
            "UPDATE parts AS p SET value = q.value FROM parts AS q WHERE (p.part IN (2, 3)) AND (q.part = 5 - p.part)"
        )
        client.execute("UPDATE log_leaves SET leaf = 13 - leaf WHERE leaf IN (6, 7)")
    exported.ledger.export_log(exported.folder / "log.jsonl")
    receipt = exported.folder / "receipt"
    header, extra, *rest = receipt.read_text(encoding="utf-8").split("\n")
    told = (
        base64.b64decode(extra.removeprefix("extra ")).decode().replace('"target":"kimi"', '"target":"tiny"')
    )
    extra = f"extra {base64.b64encode(told.encode()).decode()}"
    receipt.write_text("\n".join([header, extra, *rest]), encoding="utf-8")
    status, said = exported.verify("log.jsonl", "--checkpoint", "first", "--receipt", "receipt")
    assert status == 1
    assert f"the record of decision {decision_id(2)} in the receipt was changed\n" in said
    assert (
        len(re.findall("^the part plan sha256:[0-9a-f]{64} has the value of plan sha256:", said, re.M)) == 2
    )
    assert len(re.findall("^leaf [23]: part .* has changed$", said, re.M)) == 2
    assert re.findall("^the first .*$", said, re.M) == [
        "the first 18 leaves are not those that the checkpoint was signed for"
    ]


def test_it_takes_what_was_pruned_for_pruned_and_nothing_else(exported: Exported) -> None:
    ledger, february = exported.ledger, START_US + 31 * DAY_US
    ledger.append([decision(one, at_us=february) for one in (7, 8)], [attempt(7), attempt(8)])
    ledger.prune(date(2026, 2, 1), exported.folder / "keys")
    ledger.export_log(exported.folder / "log.jsonl")
    files = ("log.jsonl", "--checkpoint", "first", *RECEIPTS)
    status, said = exported.verify(*files)
    assert (status, len(said.splitlines())) == (0, 4), said
    with duckdb.connect(str(ledger.path)) as client:
        client.execute(f"DELETE FROM attempt_rows WHERE decision_id = '{decision_id(7)}'")
        client.execute(f"UPDATE attempt_rows SET decision_id = '{decision_id(1)}'")
        client.execute("UPDATE prunings SET checkpoint = regexp_replace(checkpoint, '\n[0-9]+\n', '\n3\n')")
    ledger.export_log(exported.folder / "log.jsonl", overwrite=True)
    status, said = exported.verify("log.jsonl")
    assert status == 1 and "the signature of example.com/ledger is wrong" in said
    status, said = exported.verify("log.jsonl", with_key=False)
    assert status == 1
    for what in (
        f"attempt 1 of decision {decision_id(7)} is missing",
        f"attempt 1 of decision {decision_id(1)} was pruned, and is there again",
        " is not under its checkpoint",
    ):
        assert what in said
