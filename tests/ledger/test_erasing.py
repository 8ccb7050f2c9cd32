"""What is erased is in no byte of a ledger's files, and the ledger says that it was erased, not that it was changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from support.children import Child, Tell
from support.decision_strategies import AT_US, CATALOG
from support.ledger_rows import attempt, intent
from support.new_ledgers import new_ledger

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Decision
from routewright.engine.decision.task import RequestFacts, State, Task
from routewright.engine.explain.explanation import explain
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.engine.record.parts import parts_of
from routewright.engine.record.record import record_of_version
from routewright.engine.record.sealing import sealed
from routewright.engine.report.errors import ErasedError, RecordError
from routewright.gateway.deciding import uuid7
from routewright.gateway.recorder import policy_rows
from routewright.ledger import (
    AttemptRow,
    DecisionEnd,
    DecisionRow,
    Ledger,
    LedgerEntry,
    LedgerError,
    Outcome,
    SignatureType,
    ToErase,
    UnknownDecisionError,
    key_of,
    rewriting,
)
from routewright.ledger.changing import changing
from routewright.ledger.comparing import compare
from routewright.ledger.inserting import insert_decisions
from routewright.ledger.receipts import check_receipt

SECRET = "Quxiolani-4711"
"""Text that is nowhere else."""

RANDOM = Random(7)
VERIFIER = Path(__file__).parents[2] / "docs" / "verify.mjs"


def policy(*, sensitive: bool = True, when: str = "patient == 'nobody'") -> CompiledPolicy:
    values = {
        "routewright": 1,
        "name": "ward",
        "catalog": "catalog.yaml",
        "features": {
            "patient": {
                "type": "string",
                "from": "request.metadata.patient",
                "default": "unnamed",
                "sensitive": sensitive,
            },
            "hard": {"type": "boolean", "default": False},
        },
        "rules": [
            {"name": "named", "when": when, "use": ["small"]},
            {"name": "hard", "when": "hard", "use": ["large"]},
            {"name": "otherwise", "use": ["coder"]},
        ],
    }
    catalog = read_catalog(json.dumps(CATALOG), "catalog.yaml")
    return compile_policy(read_policy(json.dumps(values), "policy.yaml"), catalog)


def decided(by: CompiledPolicy, features: dict[str, Any], **metadata: str) -> Decision:
    task = Task(features, request=RequestFacts(metadata=metadata))
    decision = decide(by, task, State(AT_US), decision_id=uuid7(AT_US, RANDOM), strict=False)
    return sealed(decision, RANDOM.randbytes)


def tasks(by: CompiledPolicy) -> list[Decision]:
    """The text given, derived, ignored; and two decisions without it."""
    return [
        decided(by, {"patient": SECRET}),
        decided(by, {"hard": True}, patient=SECRET),
        decided(by, {"patient": "other", "note": {"a": 1}.__str__()}, patient=SECRET),
        decided(by, {"patient": "other", "note": SECRET}),
        decided(by, {"hard": True}),
    ]


def append(ledger: Ledger, decisions: Sequence[Decision], **beside: Any) -> None:
    rows = [DecisionRow(parts_of(one), "exploit", **beside) for one in decisions]
    attempts = [AttemptRow(one.id, attempt(1, decision_id=one.id).attempt) for one in decisions]
    ledger.append(rows, attempts, policy_rows(decisions[0].policy, first_seen_us=AT_US))


def files_with(folder: Path, text: str) -> list[str]:
    """The files below a folder that hold a text, in UTF-8 or as JSON escapes it."""
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and text.encode() in file.read_bytes()
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "here" / "ledger.duckdb")


@pytest.mark.parametrize("sensitive", [True, False])
def test_an_erased_text_is_in_no_byte_and_everything_else_is_as_it_was(
    ledger: Ledger, sensitive: bool
) -> None:
    decisions = tasks(policy(sensitive=sensitive))
    append(ledger, decisions)
    before = {one.id: ledger.find(one.id) for one in (decisions[2], decisions[4])}
    checkpoint = ledger.sign_checkpoint(ledger.path.parent / "keys")
    snapshot = ledger.path.parent / "snapshot.duckdb"
    ledger.snapshot(snapshot)
    assert files_with(ledger.path.parent, SECRET)
    what = ToErase(["patient", "note"], reason="was asked to")
    would = ledger.would_erase(what)
    assert files_with(ledger.path.parent, SECRET) and ledger.verify().erased == 0
    erased = ledger.erase(what)
    assert erased == would
    assert (erased.decisions, erased.unsealed) == (4, 0 if sensitive else 4)
    assert files_with(ledger.path.parent, SECRET) == [snapshot.name]
    ledger.snapshot(snapshot)
    assert files_with(ledger.path.parent, SECRET) == []
    found = ledger.verify({"kept": checkpoint}, key_folder=ledger.path.parent / "keys")
    assert (found.faults, found.erased, found.covered) == ((), 4, checkpoint.checkpoint.size)
    assert any("no salt" in notice for notice in found.notices) is not sensitive
    for id, then in before.items():
        now = ledger.find(id)
        assert (now.record_digest, now.attempts, now.tags) == (then.record_digest, then.attempts, then.tags)
        record = now.record
        assert (record.verdicts, record.target) == (then.record.verdicts, then.record.target)  # type: ignore[union-attr]
    assert ledger.find(decisions[4].id).text == before[decisions[4].id].text
    sources = ledger.query(
        "SELECT feature_sources['patient'], feature_sources['note'], features.patient IS NULL FROM decision_records "
        "ORDER BY decision_id"
    ).rows
    by_id = dict(zip(sorted(one.id for one in decisions), sources, strict=True))
    assert [by_id[one.id] for one in decisions] == [
        ("erased", None, True),
        ("erased", None, True),
        ("erased", "erased", True),
        ("erased", "erased", True),
        ("default", None, False),
    ]
    typed = ledger.query("SELECT count(features.patient) FROM decisions_ward").rows
    assert typed == ((1,),)


def test_erased_values_are_told_apart_in_a_replay_and_in_a_receipt(ledger: Ledger) -> None:
    by = policy()
    decisions = tasks(by)
    append(ledger, decisions)
    ledger.erase(ToErase(["patient"]))
    again = ledger.replay_self()
    assert (again.rows, again.erased, again.differences) == (1, 4, ())
    reads = ledger.replay(policy(when="hard"))
    assert reads.not_decided == ()
    asks = ledger.replay(by)
    # Its default is no value that was recorded, so nobody may go by it.
    assert [(one.reason, one.rows) for one in asks.not_decided] == [("erased", 4)]
    keys = ledger.path.parent / "keys"
    origin = ledger.sign_checkpoint(keys).checkpoint.origin
    public = key_of(keys, origin, SignatureType.LOG).public
    proved = check_receipt(ledger.prove(decisions[0].id).encode(), [public])
    assert proved.record is not None
    assert (
        proved.record["features"]["patient"]["value"] is None
        and "features.patient" in proved.record["erased"]
    )


def test_only_what_depends_on_an_erased_value_cannot_be_decided_or_explained_again(ledger: Ledger) -> None:
    by = policy(when="hard && patient == 'nobody'")
    decisions = tasks(by)
    append(ledger, decisions)
    before = [explain(by, ledger.find(one.id).record) for one in decisions]
    ledger.erase(ToErase(["patient", "note"]))
    why = "feature `patient` was erased, and rule `named` reads it"
    again = ledger.replay_self()
    [lost] = again.lost
    assert (again.rows, again.different, lost.rows, lost.why, lost.example) == (4, 0, 1, why, decisions[1].id)
    for one, then in zip(decisions, before, strict=True):
        record = ledger.find(one.id).record
        if one is decisions[1]:
            with pytest.raises(ErasedError, match=why):
                explain(by, record)
            continue
        now = explain(by, record)
        assert (now.record, now.decided.target) == (record, then.decided.target)
        assert [(rule.name, rule.verdict) for rule in now.rules] == [
            (rule.name, rule.verdict) for rule in then.rules
        ]
        assert (now.rules[1:], now.candidates, now.runner_up) == (
            then.rules[1:],
            then.candidates,
            then.runner_up,
        )
        if one is not decisions[4]:
            assert (now.rules[0].parts, now.rules[0].note) == (
                (),
                "as recorded: a value that it reads was erased",
            )
            changed = record.model_copy(update={"target": "large"})
            with pytest.raises(RecordError, match="decide differently: target differ"):
                explain(by, changed)


def test_a_decision_is_erased_with_all_that_came_of_it(ledger: Ledger) -> None:
    by = policy()
    gone, kept = decided(by, {"patient": SECRET}), decided(by, {})
    shadow = decided(by, {"patient": SECRET})
    append(ledger, [gone, kept], tags={"user": SECRET})
    ledger.append([DecisionRow(parts_of(shadow), "shadow", shadow_of=gone.id)])
    ledger.record_outcomes([Outcome(gone.id, "said", SECRET), Outcome(kept.id, "score", 1.0)])
    erased = ledger.erase(ToErase(decisions=[gone.id], reason="why"))
    assert erased == (2, None, 0, 0)
    assert files_with(ledger.path.parent, SECRET) == ["ledger.duckdb"]  # the tag of the other
    ledger.erase(ToErase(users=[SECRET]))
    assert files_with(ledger.path.parent, SECRET) == []
    found = ledger.verify()
    assert (found.faults, found.erased) == ((), 3)
    with pytest.raises(UnknownDecisionError, match=r"was erased on 20..-..-.. \(`why`\), with its"):
        ledger.find(gone.id)
    assert ledger.query("SELECT number, reason FROM erasures ORDER BY ALL").rows == (
        (1, "why"),
        (1, "why"),
        (2, None),
    )
    for table in ("attempt_rows", "outcomes", "decision_rows"):
        assert ledger.query(f"SELECT count(*) FROM {table}").rows == ((0,),)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("UPDATE decision_rows SET erased = MAP {'features.patient': NULL}, salts = NULL", "does not say"),
        ("UPDATE erasures SET reason = 'other'", "has changed"),
        ("DELETE FROM erasures", "does not say"),
        ("DELETE FROM attempt_rows", "is missing"),
        ("UPDATE decision_rows SET erased = map_from_entries([{'key': e.key, 'value': repeat('0', 64)} FOR e IN "
         "map_entries(erased)]) WHERE erased IS NOT NULL", "does not have its digest"),
    ],
)  # fmt: skip
def test_what_only_claims_to_be_erased_is_found(claimed: Ledger, tmp_path: Path, sql: str, said: str) -> None:
    copy = tmp_path / "ledger.duckdb"
    copy.write_bytes(claimed.path.read_bytes())
    with duckdb.connect(str(copy)) as connection:
        connection.execute(sql)
        assert any(said in fault.what for fault in compare(connection))


@pytest.fixture(scope="module")
def claimed(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    ledger = new_ledger(tmp_path_factory.mktemp("claimed") / "ledger.duckdb")
    append(ledger, tasks(policy()))
    ledger.erase(ToErase(["patient"], where="matched_rule <> 'hard'"))
    assert ledger.verify().faults == ()
    return ledger


def test_a_living_writer_goes_on_with_a_file_that_has_nothing_of_what_was_erased(ledger: Ledger) -> None:
    by = policy()
    with closing(ledger.writer()) as writer:
        first = decided(by, {"patient": SECRET})
        writer.add(DecisionRow(parts_of(first), "exploit"), policies=policy_rows(by, first_seen_us=AT_US))
        ledger.ingest()
        assert files_with(ledger.path.parent, SECRET)
        ledger.erase(ToErase(["patient"]))
        assert files_with(ledger.path.parent, SECRET) == []
        second = decided(by, {"patient": "later"})
        writer.add(DecisionRow(parts_of(second), "exploit"))
        assert ledger.find(second.id).text and ledger.find(first.id).record.erased
    assert ledger.query("SELECT count(*) FROM rejected").rows == ((0,),)
    assert ledger.notices() == () and ledger.verify().faults == ()
    assert ledger.find(second.id).record.features["patient"].value == "later"


def test_nothing_is_erased_where_it_cannot_be_told_of_what(ledger: Ledger) -> None:
    decisions = tasks(policy())
    append(ledger, decisions)
    for what in (
        ToErase(["patient"], where="no_such_column = 1"),
        ToErase(decisions=["ffffffff"]),
        ToErase(["patient"], where="1 = 1) OR (1 = 1; DROP TABLE outcomes"),
    ):
        with pytest.raises(LedgerError):
            ledger.erase(what)
    with pytest.raises(LedgerError, match="neither"):
        ToErase()
    (ledger.path.parent / "ledger.duckdb.spool" / "x.damaged").write_bytes(SECRET.encode())
    with pytest.raises(LedgerError, match="damaged spool file"):
        ledger.erase(ToErase(["patient"]))
    assert ledger.query("SELECT count(*) FROM erasures").rows == ((0,),)
    assert not any("cut short" in notice for notice in ledger.notices())


@pytest.mark.parametrize(
    "at",
    [(rewriting, "changing"), (os, "replace"), (rewriting, "_strip")],
    ids=["before", "between", "after"],
)
def test_killed_at_any_moment_nothing_is_lost_and_it_can_be_completed(
    ledger: Ledger, at: tuple[Any, str]
) -> None:
    append(ledger, tasks(policy()))
    writer = ledger.writer()
    writer.add(DecisionRow(parts_of(decided(policy(), {"patient": SECRET})), "exploit"))

    def work(_: Tell) -> None:
        setattr(*at, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        ledger.erase(ToErase(["patient", "note"]))

    assert Child(work).wait() == -signal.SIGKILL
    assert any("cut short" in notice for notice in ledger.notices())
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((6,),)
    if at[1] == "changing":
        ledger.erase(ToErase(["patient", "note"]))
    else:
        ledger.finish_erasing()
    assert files_with(ledger.path.parent, SECRET) == []
    assert not any("cut short" in notice for notice in ledger.notices())
    writer.close()
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((6,),)
    assert ledger.verify().faults == ()
    assert [one.name for one in ledger.path.parent.iterdir() if one.name.startswith(".")] == []


def test_records_of_version_1_lose_the_text_too(ledger: Ledger) -> None:
    decisions = tasks(policy())
    append(ledger, [decided(policy(), {})])
    with changing(ledger.path, 10) as connection:
        insert_decisions(
            connection,
            [
                {
                    "id": one.id,
                    "decision_id": one.id,
                    "mode": "exploit",
                    "record": record_of_version(one, 1).canonical().decode(),
                }
                for one in decisions
            ],
        )
    assert ledger.verify().faults == () and files_with(ledger.path.parent, SECRET)
    assert ledger.erase(ToErase(["patient", "note"])).unsealed == 4
    assert files_with(ledger.path.parent, SECRET) == []
    found = ledger.verify()
    assert (found.faults, found.erased) == ((), 4)
    assert ledger.find(decisions[1].id).record.erased == {"features.patient": None, "metadata.patient": None}
    again = ledger.replay_self()
    assert (again.rows, again.erased) == (2, 4)
    with duckdb.connect(str(ledger.path)) as connection:
        connection.execute("UPDATE decisions_1 SET record = replace(record, 'large', 'small')")
    assert len(ledger.verify().faults) == 1, "the one of which nothing was erased"


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_a_verifier_of_others_takes_what_was_erased_for_erased(ledger: Ledger, tmp_path: Path) -> None:
    sealed_ones, plain = tasks(policy()), tasks(policy(sensitive=False))
    append(ledger, sealed_ones)
    append(ledger, plain)
    ledger.record_outcomes([Outcome(plain[0].id, "score", 1.0)])
    ledger.erase(ToErase(["patient"], decisions=[sealed_ones[0].id, plain[1].id]))
    ledger.erase(ToErase(decisions=[plain[0].id]))
    keys = tmp_path / "keys"
    origin = ledger.sign_checkpoint(keys).checkpoint.origin
    files = []
    for number in (0, 2, 4):  # erased, sealed, and with nothing to seal
        files += ["--receipt", f"receipt{number}"]
        (tmp_path / f"receipt{number}").write_text(ledger.prove(sealed_ones[number].id))
    ledger.export_log(tmp_path / "log.jsonl")
    public = str(key_of(keys, origin, SignatureType.LOG).public)
    command = ["node", str(VERIFIER), "log.jsonl", *files, "--key", public]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr, len(ran.stdout.splitlines())) == (0, "", 4), ran.stdout
    with duckdb.connect(str(ledger.path)) as connection:
        connection.execute("DELETE FROM erasures")
    ledger.export_log(tmp_path / "log.jsonl", overwrite=True)
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "erasure" in ran.stdout and "is missing" in ran.stdout


def test_other_peoples_tables_and_the_files_mode_stay(ledger: Ledger) -> None:
    append(ledger, tasks(policy()))
    with duckdb.connect(str(ledger.path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 42 AS answer; CREATE VIEW seen AS SELECT * FROM mine")
    os.chmod(ledger.path, 0o640)
    size = ledger.path.stat().st_size
    ledger.erase(ToErase(["patient"]))
    assert ledger.query("SELECT * FROM seen").rows == ((42,),)
    assert ledger.path.stat().st_mode & 0o777 == 0o640 and ledger.path.stat().st_size <= size * 1.5


def test_a_call_under_way_is_not_looked_at_and_that_is_said(ledger: Ledger) -> None:
    with closing(ledger.writer()) as writer:
        one = decided(policy(), {"patient": "x"})
        assert writer.add_all(
            [[LedgerEntry(DecisionRow(parts_of(one), "exploit"), (), (), [intent(1, decision_id=one.id)])]]
        )
        assert ledger.erase(ToErase(["patient"])) == (0, 0, 0, 1)
        assert writer.add_all([[LedgerEntry(None, [], end=DecisionEnd(one.id, None))]]) == [None]
    assert ledger.erase(ToErase(["patient"])) == (1, 1, 0, 0)
