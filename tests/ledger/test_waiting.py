"""What waits while somebody else holds the ledger open: calls go on, up to a bound, and nothing of that is silent."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.fault_parts import write_policy
from support.ledger_clients import client_on
from support.ledger_rows import attempt, decision
from support.new_ledgers import new_ledger

from routewright import ChatRequest, Message, ModelGateway, Task
from routewright.ledger import Ledger, LedgerEntry, LedgerError, LedgerSettings
from routewright.ledger.background import keep_ingesting
from routewright.ledger.errors import BusyError, FullError
from routewright.ledger.migrate import latest_version, migrations
from routewright.ledger.paths import spool_folder
from routewright.ledger.room import Room
from routewright.ledger.spool import Spool
from routewright.ledger.writer import LedgerWriter

GIB = 1024**3


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


def entry(number: int) -> LedgerEntry:
    return LedgerEntry(decision(number), [attempt(number)])


def small(monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    monkeypatch.setattr("routewright.ledger.room._MOST_BYTES", room)


@pytest.mark.parametrize("reads", [True, False])
def test_a_ledger_that_another_client_holds_is_opened_and_written_to_all_the_same(
    ledger: Ledger, reads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with client_on(ledger.path, reads=reads) as client:
        opened = Ledger.open(ledger.path)
        writer = opened.writer()
        writer.add(decision(1))
        writer.close()
        [notice] = opened.notices()
        folder = spool_folder(ledger.path)
        assert notice.startswith(
            f"the newest decisions wait in `{folder}`, where they are safe, while process "
        )
        assert f" while process {client.pid} (`" in notice
        assert notice.endswith(" open a copy (`routewright ledger snapshot FILE`)")
        assert f"held open by process {client.pid}" in caplog.text
        if reads:
            result = opened.query("SELECT count(*) FROM decision_records")
            assert (result.rows, result.stale is not None) == (((0,),), True)
        else:
            impatient = Ledger.open(ledger.path, lock_timeout_s=0)
            with pytest.raises(BusyError):
                impatient.tail(1)
    assert opened.query("SELECT count(*) FROM decision_records").rows == ((1,),)
    assert opened.notices() == ()


def test_an_old_ledger_that_is_held_is_brought_up_to_date_when_it_is_free(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "ledger.duckdb"
    first = migrations()[0]
    with duckdb.connect(str(path), config={"storage_compatibility_version": "v1.5.0"}) as client:
        client.execute(
            "CREATE TABLE migrations (version INTEGER, name VARCHAR, digest VARCHAR, applied_at_us BIGINT)"
        )
        client.execute(first.sql)
        client.execute("INSERT INTO migrations VALUES (1, 'initial', ?, 0)", [first.digest])
    with client_on(path, reads=True) as client:
        opened = Ledger.open(path)
        result = opened.query("SELECT max(version) FROM migrations")
        assert result.rows == ((1,),)
        assert result.stale is not None and f"process {client.pid}" in result.stale, (
            "views may be missing too"
        )
    assert opened.query("SELECT max(version) FROM migrations").rows == ((latest_version(),),)


def test_what_is_no_ledger_is_found_when_it_can_be_looked_at(tmp_path: Path) -> None:
    import duckdb

    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as client:
        client.execute("CREATE TABLE mine (a INTEGER)")
    with client_on(path):
        opened = Ledger.open(path)
    with pytest.raises(LedgerError, match="is a DuckDB file, but not a ledger"):
        opened.query("SELECT 1")


def test_from_a_bound_on_one_warning_says_who_holds_the_ledger(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("routewright.ledger.background._INGEST_AFTER_S", 0)
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    tries = 0

    class Ended(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            nonlocal tries
            tries += 1
            if tries == 2:
                assert caplog.records == [], "what waits so far is no matter"
                monkeypatch.setattr("routewright.ledger.background._WARN_BYTES", 1)
            return tries == 4

    with client_on(ledger.path, reads=True) as client:
        keep_ingesting(ledger.path, 0, spool, threading.Event(), Ended())
    spool.abandon()
    [record] = caplog.records
    message = record.getMessage()
    assert message.startswith(f"0 MiB wait in `{spool_folder(ledger.path)}`, of at most ")
    assert f"held open by process {client.pid} (`" in message


def test_the_room_is_4_gib_or_a_tenth_of_the_free_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def room(free: int) -> int:
        monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free // 512, f_frsize=512))
        found = Room(tmp_path / "none" / "yet", None, ".spool")
        assert found.is_left(0)
        return found.most

    assert room(100 * GIB) == 4 * GIB
    assert room(20 * GIB) == 2 * GIB
    assert room(0) == 0


def test_what_waits_of_all_writers_counts_and_is_no_loss_of_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=80_000, f_frsize=1))
    (tmp_path / "another.spool").write_bytes(b"x" * 8_000)
    (tmp_path / "other.damaged").write_bytes(b"x" * 8_000)
    room = Room(tmp_path, None, ".spool")
    assert room.is_left(0) and room.most == 8_800
    assert room.is_left(800) and not room.is_left(801)
    assert Room(tmp_path, 7_000, ".spool").is_left(0) is False
    monkeypatch.setattr("routewright.ledger.room._LOOK_AGAIN_S", 0)
    (tmp_path / "another.spool").unlink()
    assert room.is_left(801), "it is looked at again while it is full"


def test_a_full_spool_refuses_and_says_how_often(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    small(monkeypatch, 5_000)
    opened = Ledger.open(ledger.path)
    writer = opened.writer()
    taken = 0
    with client_on(ledger.path, reads=True):
        for number in range(20):
            try:
                writer.add(decision(number))
                taken += 1
            except FullError as error:
                assert str(error).endswith("`, of at most 0; nothing was written")
        with pytest.raises(FullError):
            writer.prepare()
        writer.close()
    assert 0 < taken < 20
    refused = 20 - taken + 1
    assert f"the spool was full: recording was refused {refused} times" in opened.notices()
    assert [one.levelno for one in caplog.records if "no call is made" in one.getMessage()] == [
        logging.WARNING
    ]
    assert len(opened.tail(50)) == taken


BLOCKING = LedgerSettings(when_full="block")


def test_a_full_spool_blocks_until_there_is_room(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 20_000)
    opened = Ledger.open(ledger.path, settings=BLOCKING)
    writer = opened.writer()
    for number in range(20):
        writer.add(decision(number, reason=f"{number}" + "x" * 2_000))
    writer.close()
    assert len(opened.tail(50)) == 20
    [notice] = opened.notices()
    assert notice.startswith("the spool was full: recording waited for room ")


def test_blocking_has_a_bound_too(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch, 1)
    opened = Ledger.open(ledger.path, settings=LedgerSettings(when_full="block", block_s=0.1))
    writer = opened.writer()
    with client_on(ledger.path, reads=True):
        writer.add(decision(1))
        with pytest.raises(FullError):
            writer.add(decision(2))
        writer.close()
    notices = opened.notices()
    assert "the spool was full: recording was refused once and waited for room once" in notices
    assert len(opened.tail(5)) == 1


def test_a_gateway_that_waits_for_room_serves_others_meanwhile(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    small(monkeypatch, 1)
    policy = write_policy(
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
    waits: list[LedgerWriter] = []
    go_on = threading.Event()

    def wait_for_room(writer: LedgerWriter) -> None:
        assert threading.current_thread() is not threading.main_thread()
        waits.append(writer)
        assert go_on.wait(60)
        monkeypatch.setattr(writer._spool._room, "most", GIB)

    monkeypatch.setattr(LedgerWriter, "wait_for_room", wait_for_room)

    async def run() -> None:
        async with ModelGateway(policy, ledger=Ledger.open(ledger.path, settings=BLOCKING)) as gateway:
            request = ChatRequest((Message("user", "hello"),))
            await gateway.run(Task(), request)
            others = [asyncio.ensure_future(gateway.run(Task(), request)) for _ in range(20)]
            deadline = time.monotonic() + 60
            while not waits and time.monotonic() < deadline:
                await asyncio.sleep(0.001)
            assert not any(one.done() for one in others)
            go_on.set()
            await asyncio.gather(*others)

    asyncio.run(run())
    assert len(waits) == 1, "they wait together, in one thread"
    assert len(ledger.tail(50)) == 21


@pytest.mark.parametrize(
    "wrong", [{"when_full": "drop"}, {"room_mib": 0}, {"room_mib": 1.5}, {"block_s": 0}, {"block_s": "1"}]
)
def test_settings_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    [name] = wrong
    with pytest.raises(ValueError, match=f"`{name}` is"):
        LedgerSettings(**wrong)
