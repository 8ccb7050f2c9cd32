"""Pruned months are in no byte of a ledger's files, and all that is left, and all that was signed, is as it was."""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from support.children import Child, Tell
from support.command_line import POLICY
from support.ledger_rows import (
    DAY_US,
    START_US,
    arm,
    attempt,
    begun,
    decision,
    decision_id,
    ended,
    policy,
)
from support.new_ledgers import new_ledger
from support.replay_ledgers import compiled_text, replay_ledger
from support.sizes import ROUNDS

from routewright.ledger import (
    Ledger,
    LedgerError,
    Outcome,
    ProofError,
    SignatureType,
    ToErase,
    UnknownDecisionError,
    check_receipt,
    first_of_month,
    key_of,
    months_ago,
    rewriting,
)
from routewright.ledger.changing import changing
from routewright.ledger.checkpoints import log_folder, read_checkpoint
from routewright.ledger.comparing import compare
from routewright.ledger.connection import open_for_reading
from routewright.ledger.pruning import prune
from routewright.ledger.restoring import all_records

SECRET = "Quxiolani-4711"
"""Text that is nowhere else but in what is of January."""

MARCH = date(2026, 3, 1)
JANUARY, FEBRUARY = range(1, 6), range(6, 10)
KEPT = range(10, 14)


def at(number: int) -> int:
    """January, February and March, in the order of numbers."""
    months = {**dict.fromkeys(JANUARY, 10), **dict.fromkeys(FEBRUARY, 40)}
    return START_US + months.get(number, 70) * DAY_US + number


def made(number: int, *, latency_ms: float | None = None, **changes: Any) -> Any:
    """A decision of its month; those of January have a plan of their own, and each a state of its own."""
    changes.setdefault("at_us", at(number))
    state = {"models": {"kimi": {"health": "healthy", "latency_ms": latency_ms or 100.0 + number // 3}}}
    if number in JANUARY:
        changes.setdefault("reason", f"because of {SECRET}")
        changes.setdefault("ignored", {"note": SECRET})
    return decision(number, state=state, **changes)


def folder_with(folder: Path, text: str) -> list[str]:
    return sorted(
        str(file.relative_to(folder))
        for file in folder.rglob("*")
        if file.is_file() and text.encode() in file.read_bytes()
    )


def records(ledger: Ledger) -> dict[str, tuple[str, str]]:
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        return {id: (digest, text) for id, digest, text in all_records(connection)}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months by two writers, whose decisions are entered in no order of time; corrected outcomes; an import."""
    ledger = new_ledger(tmp_path_factory.mktemp("pruned") / "here" / "ledger.duckdb")
    first = [*JANUARY[:3], KEPT[0], *FEBRUARY[:2], *KEPT[1:3]]
    with closing(ledger.writer()) as writer:
        for number in first:
            writer.add(made(number), [attempt(number), attempt(number, 2)], [policy()])
    last = [*JANUARY[3:], *FEBRUARY[2:], KEPT[3]]
    ledger.append([made(number) for number in last], [attempt(number) for number in last])
    # Beside one that was executed in the last moment of February.
    ledger.append(
        [made(90, at_us=at(KEPT[0]), mode="shadow", shadow_of=9, arm=arm("candidate", "shadow", 0.0))]
    )
    outcomes = [
        Outcome(decision_id(number), "said", SECRET if number == 1 else "good") for number in (1, 8, 11)
    ]
    ledger.record_outcomes(outcomes)
    ledger.record_outcomes(
        [Outcome(decision_id(8), "said", "better"), Outcome(decision_id(12), "said", "well")]
    )
    calls = ledger.path.parent.parent / "calls.jsonl"
    calls.write_text(
        "\n".join(
            f'{{"id": "{number}", "time": "2026-0{number}-03T00:00:00Z", "model": "a", "features": {{"x": "{text}"}}}}'
            for number, text in ((1, SECRET), (2, "b"), (3, "c"))
        )
    )
    ledger.import_file("calls", calls, name="theirs")
    assert folder_with(ledger.path.parent, SECRET) == ["ledger.duckdb"]
    return ledger.path.parent


@pytest.fixture
def ledger(recorded: Path, tmp_path: Path) -> Ledger:
    shutil.copytree(recorded, tmp_path / "here")
    return Ledger.open(tmp_path / "here" / "ledger.duckdb")


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def test_pruned_months_are_in_no_byte_and_what_is_left_is_as_it_was(ledger: Ledger, keys: Path) -> None:
    before = records(ledger)
    kept = ledger.sign_checkpoint(keys, origin="example.com/ledger")
    receipts = [ledger.prove(decision_id(number)) for number in (1, KEPT[0])]
    would = ledger.would_prune(MARCH)
    assert [tuple(one) for one in would.months] == [
        ("2026-01", 5, 8, 1, 1),
        ("2026-02", 4, 6, 2, 1),
        ("2026-03", 1, 0, 0, 0),  # the shadow
    ]
    pruned = ledger.prune(MARCH, keys, reason="a year is enough")
    assert (pruned.months, pruned.policies, pruned.checkpoint) == (would.months, (), kept.checkpoint.size)
    assert folder_with(ledger.path.parent, SECRET) == []

    left = {decision_id(number) for number in KEPT}
    assert records(ledger) == {id: record for id, record in before.items() if id in left}
    for view, rows in (
        ("attempt_rows", 7),
        ("outcomes", 2),
        ("imported_decisions", 1),
        ("imported_attempts", 1),
    ):
        assert ledger.query(f"SELECT count(*) FROM {view}").rows == ((rows,),), view
    assert ledger.query("SELECT DISTINCT label FROM outcomes ORDER BY ALL").rows == (("good",), ("well",))
    assert len(ledger.tail(100)) == 4 and ledger.find(decision_id(12)).outcomes[0].label == "well"

    found = ledger.verify({"`kept`": kept}, key_folder=keys)
    assert (found.faults, found.notices, found.covered) == ((), (), found.size)
    [one] = found.pruned
    assert (one.decisions, one.attempts, one.outcomes, one.reason) == (10, 14, 3, "a year is enough")
    assert (one.since_us, one.before_us) == (at(1), START_US + 59 * DAY_US)
    assert one.signed.checkpoint == kept.checkpoint
    public = key_of(keys, "example.com/ledger", SignatureType.LOG).public
    for receipt in receipts:
        assert check_receipt(receipt.encode(), [public]).checkpoint == kept.checkpoint
    ledger.prove(decision_id(KEPT[0]))
    with pytest.raises(
        UnknownDecisionError, match=r"was pruned on 20.*, with all that .* before 2026-03-01 \(UTC\)"
    ):
        ledger.find(decision_id(1)[:-3])
    with pytest.raises(LedgerError, match="there is no decision") as refused:
        ledger.record_outcomes([Outcome(decision_id(2), "score", 1.0)])
    assert refused.value.help == "it was pruned"


def test_pruning_again_changes_nothing_and_later_months_follow(ledger: Ledger, keys: Path) -> None:
    ledger.prune(date(2026, 2, 1), keys)
    content = ledger.path.read_bytes()
    again = ledger.prune(date(2026, 2, 1), keys)
    assert (again.months, again.checkpoint, ledger.path.read_bytes()) == ((), None, content)
    # One of January that comes late has what was pruned with the others.
    ledger.append([made(1)], [attempt(1)])
    assert ledger.prune(date(2026, 4, 1), keys).policies == (("hybrid", "sha256:hybrid"),)
    assert folder_with(ledger.path.parent, SECRET) == []
    assert ledger.query("SELECT (SELECT count(*) FROM parts), count(*) FROM model_states").rows == ((0, 0),)
    size = ledger.verify().pruned[0].signed.checkpoint.size
    found = ledger.verify(key_folder=keys, since=str(size))
    assert (found.faults, found.since, [one.decisions for one in found.pruned]) == ((), size, [5, 10])


def test_who_writes_meanwhile_goes_on(ledger: Ledger, keys: Path) -> None:
    """Parts and states that only pruned decisions had are there again, and a decision under way keeps its own."""
    with closing(ledger.writer()) as writer:
        assert writer.add_all([[begun(20)], [begun(21)]]) == [None, None]
        writer.add(made(22, at_us=at(1), latency_ms=7.0, ignored={"note": SECRET}), [], [policy()])
        ledger.ingest()
        assert len(folder_with(ledger.path.parent, SECRET)) == 2
        ledger.prune(date(2026, 4, 1), keys)
        assert folder_with(ledger.path.parent, SECRET) == []
        assert ledger.query("SELECT count(*) FROM decision_rows").rows == ((0,),)
        assert writer.add_all([[ended(20, attempt(20))]]) == [None]
        writer.add(made(23, latency_ms=7.0), [attempt(23)])
        assert '"latency_ms":7}' in ledger.find(decision_id(23)).text
        assert '"latency_ms":120.5' in ledger.find(decision_id(20)).text
    ledger.ingest()  # the last is lost now
    assert ledger.query("SELECT count(*) FROM decision_rows").rows == ((3,),)
    assert ledger.query("SELECT count(*) FROM rejected").rows == ((0,),)
    assert ledger.verify(key_folder=keys).faults == ()


def test_what_comes_late_of_a_decision_that_is_gone_does_not_come_back(ledger: Ledger, keys: Path) -> None:
    with closing(ledger.writer()) as writer:
        assert writer.add_all([[begun(31)], [begun(32)]]) == [None, None]  # of the first minute of January
    ledger.ingest()  # their calls were lost
    ledger.erase(ToErase(decisions=[decision_id(32)]))
    ledger.prune(date(2026, 2, 1), keys)
    attempts = ledger.query("SELECT count(*) FROM attempt_rows").rows
    assert writer.add_all([[ended(number, attempt(number))] for number in (31, 32)]) == [None, None]
    writer.close()
    ledger.ingest()
    assert ledger.query("SELECT count(*) FROM attempt_rows").rows == attempts
    assert ledger.verify(key_folder=keys).faults == ()


def test_what_is_left_can_be_asked_and_replayed(tmp_path: Path, keys: Path) -> None:
    ledger = replay_ledger(tmp_path / "ledger.duckdb", POLICY, 12, minutes=6_000)
    before = ledger.find().text
    would = ledger.would_prune(date(2026, 2, 1))
    assert (sum(one.decisions for one in would.months), would.bytes > 0) == (8, True)
    ledger.prune(date(2026, 2, 1), keys)
    again, report = ledger.replay_self(), ledger.replay(compiled_text(POLICY))
    assert (again.rows, again.different, report.decided, report.elsewhere) == (4, 0, 4, 0)
    assert ledger.find().text == before
    views = "SELECT view_name FROM duckdb_views() WHERE NOT internal AND view_name LIKE 'all_%'"
    counts = " UNION ALL ".join(f"SELECT count(*) FROM {name}" for (name,) in ledger.query(views).rows)
    assert len(ledger.query(counts).rows) > 10


def test_what_was_changed_is_not_pruned_so_that_it_can_still_be_found(ledger: Ledger, keys: Path) -> None:
    with duckdb.connect(str(ledger.path)) as client:
        client.execute(f"UPDATE decision_rows SET draw = 0.1 WHERE decision_id = '{decision_id(12)}'")
        client.execute(f"DELETE FROM attempt_rows WHERE decision_id = '{decision_id(2)}'")
    with pytest.raises(
        ProofError, match=f"attempt . of decision `{decision_id(2)}` is missing; nothing was pruned"
    ):
        ledger.prune(MARCH, keys)
    assert ledger.query("SELECT count(*) FROM decision_rows").rows == ((14,),)
    assert ledger.notices() == ()


def test_only_whole_months_that_have_begun_are_pruned(ledger: Ledger, keys: Path) -> None:
    for day, why in ((date(2026, 2, 2), "not the first day of a month"), (date(2126, 1, 1), "has not begun")):
        with pytest.raises(LedgerError, match=f"{why}; nothing was pruned"):
            ledger.prune(day, keys)
    assert (first_of_month("2026-08"), first_of_month("2026-08-01")) == (date(2026, 8, 1), date(2026, 8, 1))
    for text in ("2026", "2026-13", "august", "2026-02-30", ""):
        with pytest.raises(LedgerError, match=f"`{text}` is not a month"):
            first_of_month(text)
    now = datetime(2026, 1, 31, 23, tzinfo=UTC)
    assert [months_ago(months, now) for months in (0, 1, 12)] == [
        date(2026, 1, 1),
        date(2025, 12, 1),
        date(2025, 1, 1),
    ]


@pytest.fixture(scope="module")
def pruned(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("january")
    shutil.copytree(recorded, folder / "here")
    ledger = Ledger.open(folder / "here" / "ledger.duckdb")
    ledger.prune(date(2026, 2, 1), folder / "keys")
    return ledger.path


CHANGED = {
    "DELETE FROM attempt_rows": ["is missing"] * 11,
    "DELETE FROM parts WHERE kind = 'policy'": ["is missing"],
    "DELETE FROM prunings": ["is missing"] * 16,
    "UPDATE prunings SET leaves = [[0, 1000]]": ["has changed since it was recorded"],
    "UPDATE prunings SET reason = 'for fun'": ["has changed since it was recorded"],
    f"INSERT INTO attempt_rows BY NAME SELECT * REPLACE ('{decision_id(1)}'::UUID AS decision_id) FROM attempt_rows "
    f"WHERE decision_id = '{decision_id(6)}' AND number = 1": [
        "has changed since it was recorded",
        "was pruned, and somebody has put it back",
    ],
}
"""What somebody does, and the least that is said of it."""


def test_what_is_gone_or_back_without_a_pruning_is_named(pruned: Path, tmp_path: Path) -> None:
    copy = tmp_path / "ledger.duckdb"
    copy.write_bytes(pruned.read_bytes())
    with duckdb.connect(str(copy)) as connection:
        assert list(compare(connection)) == []
        for sql, said in CHANGED.items():
            connection.execute("BEGIN")
            connection.execute(sql)
            found = [fault.what for fault in compare(connection)]
            connection.execute("ROLLBACK")
            for what in set(said):
                assert sum(what in one for one in found) >= said.count(what), (sql, found)


def test_what_somebody_without_the_key_says_was_pruned_is_not_believed(pruned: Path, tmp_path: Path) -> None:
    """It has the rows and the leaf of a pruning, and the newest checkpoint, which anybody can copy."""
    shutil.copytree(pruned.parent, tmp_path / "here")
    ledger, keys = Ledger.open(tmp_path / "here" / "ledger.duckdb"), pruned.parent.parent / "keys"
    note = read_checkpoint(log_folder(ledger.path) / "checkpoint").note.written()
    older = ledger.verify().pruned[0].checkpoint
    with changing(ledger.path, 10) as connection:
        prune(connection, START_US + 59 * DAY_US, note, None)
    found = ledger.verify(key_folder=keys)
    assert found.faults == () and [one.decisions for one in found.pruned] == [5, 5]
    assert any("no checkpoint covers that pruning 2 dropped 5 decisions" in one for one in found.notices)
    ledger.append([made(40)])
    with changing(ledger.path, 10) as connection:
        prune(connection, START_US + 90 * DAY_US, older, None)
    said = [one.what for one in ledger.verify().faults]
    size = found.pruned[0].signed.checkpoint.size
    assert any(
        f"pruning 3 is not one of what it dropped: it covers {size} leaves, and not" in one for one in said
    )


KILLED_AFTER_S = [one / 100 for one in Random(7).sample(range(80), ROUNDS)]


@pytest.mark.parametrize(
    "at",
    [(rewriting, "copied_anew"), *KILLED_AFTER_S],
    ids=["between", *map(str, KILLED_AFTER_S)],
)
def test_killed_at_any_moment_it_is_done_or_not_and_can_be_completed(
    ledger: Ledger, keys: Path, at: tuple[Any, str] | float
) -> None:
    writer = ledger.writer()
    writer.add(made(30), [attempt(30)])

    def work(tell: Tell) -> None:
        if isinstance(at, tuple):
            setattr(*at, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        tell(b"x")
        ledger.prune(MARCH, keys)

    with Child(work) as child:
        child.heard()
        if isinstance(at, float):
            time.sleep(at)
            child.kill()
        else:
            assert child.wait() == -signal.SIGKILL
    rows = ledger.query("SELECT count(*) FROM decision_rows").rows[0][0]
    assert rows in (5, 15) if isinstance(at, float) else rows == 5
    if any("cut short" in notice for notice in ledger.notices()) and rows == 5:
        ledger.finish_erasing()
    ledger.prune(MARCH, keys)
    assert folder_with(ledger.path.parent, SECRET) == [] and ledger.notices() == ()
    writer.close()
    assert ledger.query("SELECT count(*) FROM decision_rows").rows == ((5,),)
    assert ledger.verify(key_folder=keys).faults == ()
    assert [one.name for one in ledger.path.parent.iterdir() if one.name.startswith(".")] == []
