"""Records come back from their rows and parts byte for byte, whatever was recorded beside them and between them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.decision_strategies import arms, compiled, policies, states, tasks
from support.ledger_rows import attempt, intent
from support.new_ledgers import new_ledger
from support.sizes import EXAMPLES

from routewright.engine.decision.deciding import decide
from routewright.engine.decision.decision import Arm, Decision
from routewright.engine.decision.task import State, Task
from routewright.engine.record.digest import digest_of_values, record_digest
from routewright.engine.record.parts import parts_of
from routewright.engine.record.record import record_of
from routewright.engine.record.sealing import sealed
from routewright.gateway.deciding import uuid7
from routewright.ledger import DecisionEnd, DecisionRow, Ledger, LedgerEntry, LedgerWriter, entries
from routewright.ledger.connection import open_for_reading
from routewright.ledger.ingest import ingest
from routewright.ledger.restoring import all_digests, all_records

Decided = tuple[dict[str, Any], Task, State, Arm | None]


def decisions_of(many: Sequence[Decided]) -> list[Decision]:
    random = Random(1)
    return [
        sealed(
            decide(
                compiled(_sensitive(values, random)),
                task,
                state,
                decision_id=uuid7(state.at_us, random),
                strict=False,
                arm=arm,
            ),
            random.randbytes,
        )
        for values, task, state, arm in many
    ]


def _sensitive(values: dict[str, Any], random: Random) -> dict[str, Any]:
    """The policy with none of its features, or some, to be sealed."""
    names = random.choice(([], [], ["team"], ["private", "score", "count"]))
    features = {name: {**one, "sensitive": name in names} for name, one in values["features"].items()}
    return {**values, "features": features}


def row_of(decision: Decision) -> DecisionRow:
    return DecisionRow(parts_of(decision), "exploit")


def restored(ledger: Ledger) -> dict[str, tuple[str, str]]:
    """Digest and text of every record by parts, by id."""
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        return {id: (digest, text) for id, digest, text in all_records(connection)}


def recorded(decisions: Sequence[Decision]) -> dict[str, tuple[str, str]]:
    return {
        one.id: (record_digest(one).removeprefix("sha256:"), record_of(one).canonical().decode())
        for one in decisions
    }


@given(
    many=st.lists(st.tuples(policies(), tasks(), states(), arms()), min_size=1, max_size=12),
    again=st.lists(st.integers(0, 11), max_size=12),
    restate=st.sampled_from([1, 6_000, 10**9]),
    seed=st.integers(0, 2**32),
)
@settings(
    max_examples=max(4, EXAMPLES // 12),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_whatever_was_recorded_comes_back_byte_for_byte(
    tmp_path_factory: pytest.TempPathFactory,
    many: list[Decided],
    again: list[int],
    restate: int,
    seed: int,
) -> None:
    """With files begun anew, ingested meanwhile, and states that come and go as those of many calls at once do."""
    decided = [*many, *(many[at % len(many)] for at in again)]
    decisions = decisions_of(decided)
    random = Random(seed)
    ledger = new_ledger(tmp_path_factory.mktemp("restored") / "ledger.duckdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entries, "RESTATE_BYTES", restate)
        writers = [ledger.writer(), ledger.writer()]
        for decision in decisions:
            write(random.choice(writers), decision, random)
            if random.random() < 0.2:
                ledger.ingest()
            if random.random() < 0.2:
                ingest(ledger.path, lock_timeout_s=30, own=writers[0]._spool)
        for writer in writers:
            writer.close()
    assert ledger.query("SELECT * FROM rejected").rows == ()
    found, expected = restored(ledger), recorded(decisions)
    assert found.keys() == expected.keys()
    for id, (digest, text) in expected.items():
        values, read = json.loads(text), json.loads(found[id][1])
        assert {name: read[name] for name in read if read[name] != values[name]} == {}
        assert found[id] == (digest, text)
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        made_again = {
            one.id: (one.recorded, one.is_as_recorded, one.fits, one.problem)
            for one in all_digests(connection)
        }
    assert made_again == {id: (digest, True, True, None) for id, (digest, _) in expected.items()}
    one = random.choice(decisions)
    assert ledger.find(one.id).text == record_of(one).canonical().decode()


def write(writer: LedgerWriter, decision: Decision, random: Random) -> None:
    """Record a decision as a whole, or with an intent that ends later, or never."""
    row = row_of(decision)
    made = attempt(1, decision_id=decision.id)
    announced = intent(1, decision_id=decision.id)
    way = random.randrange(3)
    if way == 0:
        entries = [LedgerEntry(row, [made])]
    elif way == 1:
        entries = [
            LedgerEntry(row, (), (), [announced]),
            LedgerEntry(None, [made], end=DecisionEnd(decision.id, 1)),
        ]
    else:
        entries = [LedgerEntry(row, (), (), [announced])]
    assert writer.add_all([[entry] for entry in entries]) == [None] * len(entries)


def test_the_digest_of_a_record_that_was_found_is_that_of_its_text(ledger: Ledger) -> None:
    values = {
        "routewright": 1,
        "name": "p",
        "catalog": "catalog.yaml",
        "rules": [{"name": "only", "use": ["small"]}],
    }
    state = State(1_767_225_600_000_000)
    decision = decide(compiled(values), Task(), state, decision_id=uuid7(state.at_us, Random(2)))
    ledger.append([row_of(decision)])
    found = ledger.find(decision.id)
    assert found.record_digest == digest_of_values(json.loads(found.text)) == record_digest(decision)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


# --- damage in what later entries refer to -----------------------------------------------------------------


def three_decisions() -> list[Decision]:
    from routewright.engine.decision.task import ModelState

    values = {
        "routewright": 1,
        "name": "p",
        "catalog": "catalog.yaml",
        "rules": [{"name": "only", "use": ["small", "large"]}],
    }
    policy, random = compiled(values), Random(3)
    found = []
    for number, latency in enumerate((None, 5.5, 7.25)):
        models = {} if latency is None else {"small": ModelState(latency_ms=latency)}
        state = State(1_767_225_600_000_000 + number, models=models)
        found.append(decide(policy, Task(), state, decision_id=uuid7(state.at_us, random)))
    return found


@pytest.mark.parametrize(("damaged", "kept"), [(0, []), (1, [0]), (2, [0, 1])])
def test_what_refers_to_a_damaged_entry_is_rejected_and_not_made_up(
    ledger: Ledger, damaged: int, kept: list[int]
) -> None:
    """The first holds the parts; each of the others a change of the state, which those after it had seen."""
    decisions = three_decisions()
    writer = ledger.writer()
    spool = writer._spool
    places = []
    for one in decisions:
        places.append(spool._size or 20)
        writer.add(row_of(one))
    path = spool.path
    spool.abandon()
    data = bytearray(path.read_bytes())
    data[places[damaged] + 60] ^= 1
    path.write_bytes(data)
    ledger.ingest()
    assert restored(ledger) == recorded([decisions[at] for at in kept])
    rejected = ledger.query("SELECT error FROM rejected").rows
    assert len(rejected) == 2 - damaged
    assert all("is in a damaged part of its file" in error for (error,) in rejected)


def test_damage_costs_no_more_than_what_comes_before_all_is_said_anew(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "RESTATE_BYTES", 1)
    decisions = three_decisions()
    writer = ledger.writer()
    for one in decisions:
        writer.add(row_of(one))
    path = writer._spool.path
    writer._spool.abandon()
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    ledger.ingest()
    assert restored(ledger) == recorded(decisions[1:])
