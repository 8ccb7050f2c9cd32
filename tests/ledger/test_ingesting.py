"""Loading the spool: what cannot be a row is rejected by itself, and what is written waits in no memory and no log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.ledger_rows import attempt, decision, decision_id, policy
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger, LedgerEntry, LedgerError
from routewright.ledger.assembling import Assembler
from routewright.ledger.connection import commit, open_for_writing
from routewright.ledger.entries import EntryEncoder, decode
from routewright.ledger.frames import encode_frame
from routewright.ledger.paths import spool_folder
from routewright.ledger.spool import Spool
from routewright.ledger.state_as_of import StateAsOf


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


def test_nothing_is_taken_of_an_entry_that_cannot_be_a_row() -> None:
    values = json.loads(EntryEncoder().encode(0, LedgerEntry(decision(1), [attempt(1)], [policy()])))
    del values["p"]  # the parts that it names are nowhere
    entry, state = decode(json.dumps(values)), StateAsOf()
    state.see(entry)
    assembler = Assembler((), lambda digest: None)
    with pytest.raises(LedgerError, match="a part of its record is in a damaged part of its file"):
        assembler.take("writer", 1, entry, state)
    taken = assembler.policies, assembler.ended, assembler.states, assembler.new_parts, assembler.flights
    assert not any(taken)


@pytest.mark.parametrize("bad", [0, 7])
def test_what_cannot_be_a_row_takes_nothing_else_of_its_transaction_with_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, bad: int
) -> None:
    monkeypatch.setattr("routewright.ledger.loading._BATCH", 4)
    writer = ledger.writer()
    for number in range(20):
        too_much = {"total_us": 2**70} if number == bad else {}
        writer.add(decision(number), [attempt(number, **too_much)], [policy()] if number == 0 else [])
    writer.close()
    assert ledger.query("SELECT entry FROM rejected").rows == ((bad + 1,),)
    good = [decision_id(number) for number in range(20) if number != bad]
    for view in ("decision_records", "attempt_rows"):
        rows = ledger.query(f"SELECT decision_id::VARCHAR FROM {view} ORDER BY ALL").rows
        assert [id for (id,) in rows] == good
    assert ledger.find(good[-1]) is not None, "its parts and its state are there"


OTHER_FORMS = (
    '{"entry":2,"a":[["id"]]}',
    '{"entry":2,"a":[["id",[1]]]}',
    '{"entry":2,"a":[[[1],1]]}',
    '{"entry":2,"i":[["id","1"]]}',
    '{"entry":2,"e":["id"]}',
    '{"entry":2,"e":[{},1]}',
    '{"entry":2,"d":[]}',
    '{"entry":2,"d":[7]}',
    '{"entry":2,"s":["1",true,{},{}],"e":["id",1]}',
    '{"entry":2,"s":[1,true,{"m":7},{}],"e":["id",1]}',
    '{"entry":2,"s":[1,true,[],{}],"e":["id",1]}',
)


def test_entries_of_another_form_are_rejected_and_hold_up_nothing(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(LedgerEntry(decision(1), [attempt(1)]))
    path = spool.path
    spool.abandon()
    frames = [encode_frame(number, text.encode()) for number, text in enumerate(OTHER_FORMS, 2)]
    path.write_bytes(path.read_bytes() + b"".join(frames))
    assert [row.decision_id for row in ledger.tail(9)] == [decision_id(1)]
    rejected = ledger.query("SELECT beside FROM rejected ORDER BY entry").rows
    assert [text for (text,) in rejected] == [*OTHER_FORMS]


def test_many_rows_go_to_the_file_as_they_come_and_wait_in_no_log(ledger: Ledger) -> None:
    log = Path(f"{ledger.path}.wal")
    rows = 40_000
    with open_for_writing(ledger.path, lock_timeout_s=5) as connection:
        for _ in range(2):
            connection.execute("BEGIN")
            connection.execute(
                "INSERT INTO model_states BY NAME SELECT 'w' AS writer, range AS entry, 'm' AS model FROM range(?)",
                [rows],
            )
            commit(connection)
            assert log.stat().st_size < rows
            [[kept]] = connection.execute(
                "SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'IN_MEMORY_TABLE'"
            ).fetchall()
            assert kept < rows, "what is in the file is not in memory as well"
        [[largest]] = connection.execute(
            """
            SELECT max(rows) FROM (
                SELECT sum(count) AS rows FROM pragma_storage_info('model_states')
                WHERE column_name = 'entry' AND segment_type = 'BIGINT' GROUP BY row_group_id
            )
            """
        ).fetchall()
        assert largest <= 16_384
