"""What several calls record in one turn of the event loop: each is kept or refused by itself, and none is lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from fault_parts import write_policy

from routewright import (
    ChatRequest,
    Ledger,
    LedgerError,
    Message,
    ModelGateway,
    NotStoredError,
    Ran,
    Task,
    TaskError,
)
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.ledger import DecisionRow
from routewright.ledger.ingest import spool_folder
from routewright.ledger.spool import Spool, spool_files
from routewright.ledger.writing import Entry
from routewright.recording import Recorder
from routewright.rows import decision_row

HELLO = ChatRequest((Message("user", "hello"),))


@pytest.fixture
def policy(tmp_path: Path) -> CompiledPolicy:
    return write_policy(
        {
            "routewright": 1,
            "name": "small",
            "catalog": {
                "routewright": 1,
                "backends": {"one": {"kind": "simulated"}},
                "models": {"small": {"backend": "one"}},
            },
            "rules": [{"name": "all", "use": ["small"]}],
        },
        tmp_path,
    )


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.duckdb")


def ids(ledger: Ledger) -> set[str]:
    return {str(row[0]) for row in ledger.query("SELECT decision_id FROM decisions").rows}


async def run_all(gateway: ModelGateway, tags: Sequence[Any]) -> list[Ran | BaseException]:
    async with gateway:
        return await asyncio.gather(
            *(gateway.run(Task(), HELLO, tags=one) for one in tags), return_exceptions=True
        )


def test_calls_that_end_together_are_written_in_one_go(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    add = Spool.add

    def counting(spool: Spool, *entries: Entry) -> int:
        sizes.append(len(entries))
        return add(spool, *entries)

    monkeypatch.setattr(Spool, "add", counting)
    ran = asyncio.run(run_all(ModelGateway(policy, ledger=ledger), [None] * 20))
    assert sum(sizes) == 20 and max(sizes) > 1
    assert ids(ledger) == {one.decision.id for one in ran if isinstance(one, Ran)}
    assert ledger.query("SELECT count(*) FROM attempts").rows == ((20,),)
    assert ledger.query("SELECT kind FROM policies ORDER BY kind").rows == (("catalog",), ("policy",))


def test_one_that_cannot_be_recorded_takes_none_with_it(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*args: Any, **options: Any) -> DecisionRow:
        row = decision_row(*args, **options)
        return row._replace(deciding_ns=cast(int, float("nan"))) if row.tags.get("team") == "odd" else row

    monkeypatch.setattr("routewright.recording.decision_row", odd)
    tags = [{"team": "a"}, {"team": "odd"}, {"team": "b"}, None]
    ran = asyncio.run(run_all(ModelGateway(policy, ledger=ledger), tags))
    kept = {one.decision.id for one in ran if isinstance(one, Ran)}
    [refused] = [one for one in ran if isinstance(one, NotStoredError)]
    assert (
        str(refused)
        == "a row holds what the ledger cannot store: `NaN` is no number in JSON; nothing was written"
    )
    # The answer is not lost.
    assert refused.ran.execution is not None and refused.ran.execution.answer is not None
    assert len(kept) == 3 and ids(ledger) == kept


@pytest.mark.parametrize("tags", [{"team": "\ud800"}, {"team": 5}, {5: "team"}, ["team"]])
def test_tags_that_are_no_texts_are_refused_before_anything_is_called(
    policy: CompiledPolicy, ledger: Ledger, tags: Any
) -> None:
    [error] = asyncio.run(run_all(ModelGateway(policy, ledger=ledger), [tags]))
    assert isinstance(error, TaskError) and str(error).startswith("`tags` is ")
    assert ids(ledger) == set()


def test_what_is_too_much_together_is_written_one_by_one(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Spool.add

    def small(spool: Spool, *entries: Entry) -> int:
        if len(entries) > 1:
            raise LedgerError("the disk is full")
        return add(spool, *entries)

    monkeypatch.setattr(Spool, "add", small)
    ran = asyncio.run(run_all(ModelGateway(policy, ledger=ledger), [None] * 5))
    assert ids(ledger) == {one.decision.id for one in ran if isinstance(one, Ran)}
    assert len(ran) == 5


def test_a_mistake_in_writing_one_is_raised_where_it_belongs(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def mistaken(*args: Any, **options: Any) -> DecisionRow:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ZeroDivisionError("a mistake")
        return decision_row(*args, **options)

    monkeypatch.setattr("routewright.recording.decision_row", mistaken)
    ran = asyncio.run(asyncio.wait_for(run_all(ModelGateway(policy, ledger=ledger), [None] * 3), 30))
    assert [type(one).__name__ for one in ran].count("ZeroDivisionError") == 1
    assert len(ids(ledger)) == 2


def test_a_mistake_in_writing_them_all_is_raised_to_each(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object) -> int:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(Spool, "add", mistaken)
    ran = asyncio.run(asyncio.wait_for(run_all(ModelGateway(policy, ledger=ledger), [None] * 3), 30))
    assert [type(one).__name__ for one in ran] == ["ZeroDivisionError"] * 3


def test_who_is_cancelled_while_it_is_recorded_is_recorded(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder.record_with_others

    async def cancelling(recorder: Recorder, *args: Any, **options: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)  # before what is recorded is written
        await record(recorder, *args, **options)

    monkeypatch.setattr(Recorder, "record_with_others", cancelling)

    async def ask() -> None:
        async with ModelGateway(policy, ledger=ledger) as gateway:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(gateway.run(Task(), HELLO))

    asyncio.run(ask())
    assert len(ids(ledger)) == 1
    assert ledger.query("SELECT status FROM attempts").rows == (("ok",),)


def test_a_ledger_that_is_begun_anew_holds_the_policies_texts_too(
    policy: CompiledPolicy, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.writer._INGEST_AFTER_S", 0.01)
    archive = tmp_path / "archive.duckdb"
    with ModelGateway(policy, ledger=ledger) as gateway:
        gateway.run_sync(Task(), HELLO)
        for _ in range(500):
            if not spool_files(spool_folder(ledger.path)):
                break
            time.sleep(0.01)
        ledger.path.rename(archive)
        Ledger.open(ledger.path)
        gateway.run_sync(Task(), HELLO)
    joined = "SELECT count(*) FROM decisions JOIN policies ON digest = policy_digest"
    for each in (ledger, Ledger.open(archive)):
        assert each.query(joined).rows == ((1,),)
