"""What survives what, as it was chosen: nothing counts as recorded before it is as safe as that."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.children import Child, Tell
from support.fault_parts import write_policy
from support.ledger_rows import decision
from support.new_ledgers import left_in_spool, new_ledger

from routewright import ChatRequest, ConfigurationError, Message, ModelGateway, Task
from routewright.backends import NO_LIMITS, ChatAnswer, Limits, SimulatedBackend, SimulatedModel
from routewright.ledger import Ledger, LedgerEntry, LedgerError, LedgerSettings
from routewright.ledger import spool as spools
from routewright.ledger.group_sync import put_on_disk
from routewright.loading import user_ledger_settings

POWER = LedgerSettings(durability="power")
NONE = LedgerSettings(durability="none")
HELLO = ChatRequest((Message("user", "hello"),))


class Disk:
    """Counts syncs, and lets a test hold them up or fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.syncs = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()
        self.error: OSError | None = None
        self.heard: Callable[[], object] = lambda: None
        self._put = put_on_disk
        monkeypatch.setattr(spools, "put_on_disk", self.put)

    def put(self, file: int) -> None:
        self.begun.set()
        assert self.go_on.wait(60)
        if self.error is not None:
            raise self.error
        self._put(file)
        self.syncs += 1
        self.heard()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def opened(tmp_path: Path, settings: LedgerSettings) -> Ledger:
    return Ledger.open(new_ledger(tmp_path / "ledger.duckdb").path, settings=settings)


def test_nothing_is_acknowledged_before_its_sync_which_many_share(tmp_path: Path, disk: Disk) -> None:
    writer = opened(tmp_path, POWER).writer()
    returned: list[int] = []

    def add(number: int) -> None:
        writer.add(decision(number))
        returned.append(number)

    disk.go_on.clear()
    threads = [threading.Thread(target=add, args=(number,)) for number in range(10)]
    threads[0].start()
    assert disk.begun.wait(60)
    for thread in threads[1:]:
        thread.start()
    deadline = time.monotonic() + 60
    while writer._spool._number < 10 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert (writer._spool._number, returned, disk.syncs) == (10, [], 0)
    disk.go_on.set()
    for thread in threads:
        thread.join()
    assert sorted(returned) == list(range(10))
    assert disk.syncs == 2, "that of the first, and one for all who came while it ran"
    writer.close()


def test_a_new_file_has_its_name_on_the_disk_too(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    named: list[Path] = []
    monkeypatch.setattr(spools, "put_names_on_disk", named.append)
    ledger = opened(tmp_path, POWER)
    writer = ledger.writer()
    for number in range(3):
        writer.add(decision(number))
    assert (len(named), disk.syncs) == (1, 3)
    writer._spool.turn()
    writer.settle()
    writer.add(decision(3))
    assert (len(named), disk.syncs) == (2, 4), "what is synced is not synced again"
    writer.close()
    assert len(ledger.tail(9)) == 4


def test_what_was_turned_away_before_its_sync_is_synced_too(tmp_path: Path, disk: Disk) -> None:
    spool = spools.Spool(tmp_path / "spool", POWER)
    spool.add(LedgerEntry(decision(1)))
    spool.turn()
    spool.add(LedgerEntry(decision(1)))
    spool.settle()
    assert disk.syncs == 2
    spool.abandon()


def test_whoever_shares_a_sync_that_fails_is_told_and_the_next_one_is_not(tmp_path: Path, disk: Disk) -> None:
    ledger = opened(tmp_path, POWER)
    writer = ledger.writer()
    writer.add(decision(0))
    disk.error = OSError(5, "Input/output error")
    with pytest.raises(LedgerError, match="may not survive a loss of power: Input/output error"):
        writer.add(decision(1))
    with pytest.raises(LedgerError, match="may not survive"):
        writer.add(decision(2))
    disk.error = None
    writer.add(decision(3))
    assert len(left_in_spool(ledger)) == 3, "a file whose sync failed is not written to again"
    for number in (2, 3):
        with pytest.raises(OSError, match="Input/output error"):
            writer._spool._group.wait_for(number)
    assert len(writer._spool._group._failed) == 1
    writer.close()
    assert len(ledger.tail(9)) == 4, "what was refused may be there all the same"


@pytest.mark.parametrize("settings", [LedgerSettings(), NONE])
def test_without_that_choice_nothing_is_synced(tmp_path: Path, disk: Disk, settings: LedgerSettings) -> None:
    writer = opened(tmp_path, settings).writer()
    writer.add(decision(1))
    writer.close()
    assert disk.syncs == 0


class Watched(SimulatedBackend):
    """Says when it is called."""

    def __init__(self, events: list[str]) -> None:
        super().__init__({"small": SimulatedModel()}, seed=1)
        self._events = events

    async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
        self._events.append("call")
        return await super().chat(model, request, limits=limits)


def test_a_gateway_calls_and_answers_after_syncs_that_keep_nobody_waiting(tmp_path: Path, disk: Disk) -> None:
    values: dict[str, Any] = {
        "routewright": 1,
        "name": "small",
        "catalog": {
            "routewright": 1,
            "backends": {"one": {"kind": "simulated"}},
            "models": {"small": {"backend": "one"}},
        },
        "rules": [{"name": "all", "use": ["small"]}],
    }
    policy, ledger = write_policy(values, tmp_path), opened(tmp_path, POWER)
    events: list[str] = []

    def synced() -> None:
        assert threading.current_thread() is not threading.main_thread()
        events.append("sync")

    disk.heard = synced

    async def run() -> None:
        async with ModelGateway(policy, backends={"one": Watched(events)}, ledger=ledger) as gateway:
            await gateway.run(Task(), HELLO)
            events.append("answer")
            assert events == ["sync", "call", "sync", "answer"]
            await asyncio.gather(*(gateway.run(Task(), HELLO) for _ in range(20)))
            assert 2 + 2 <= disk.syncs < 20, "calls share them"

    asyncio.run(run())
    assert len(ledger.tail(50)) == 21


def left_by(ledger: Ledger, number: int) -> int:
    """What is there of what a process recorded that was killed right after it."""

    def work(tell: Tell) -> None:
        writer = ledger.writer()
        for each in range(number):
            writer.add(decision(each, reason="x" * 3_000 + str(each)))
        os.kill(os.getpid(), signal.SIGKILL)

    assert Child(work).wait() == -signal.SIGKILL
    return len(ledger.tail(1_000))


def test_a_kill_loses_what_was_recorded_last_without_durability_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_MOST_BUFFERED", 100_000)
    ledger = opened(tmp_path, NONE)
    assert 20 < left_by(ledger, 90) < 90, "what does not fit into memory is written"
    (tmp_path / "other").mkdir()
    assert left_by(opened(tmp_path / "other", LedgerSettings()), 9) == 9


def test_a_writer_that_nobody_closes_writes_what_it_keeps_in_memory_when_the_interpreter_ends(
    tmp_path: Path,
) -> None:
    ledger = opened(tmp_path, NONE)
    writer = ledger.writer()
    writer.add(decision(1))
    writer.add(decision(2))
    finish = writer._finish
    del writer
    assert not getattr(finish, "alive")  # noqa: B009  # a finalizer, which also runs at the interpreter's end
    assert len(ledger.tail(5)) == 2


def test_without_durability_rows_are_written_now_and_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.background._FLUSH_EVERY_S", 0.01)
    ledger = opened(tmp_path, NONE)
    writer = ledger.writer()
    for number in range(3):
        writer.add(decision(number))
    assert writer._spool.waiting_bytes > os.stat(writer._spool.path).st_size
    deadline = time.monotonic() + 60
    while writer._spool._buffer and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(ledger.tail(5)) == 3
    writer.add(decision(3))

    def work(_: Tell) -> None:
        writer.add(decision(4))
        writer.close()

    assert Child(work).wait() == 0
    writer.close()
    assert [row.decision_id[-1] for row in ledger.tail(9)] == ["0", "1", "2", "3", "4"]


def test_entries_that_cannot_be_written_stay_in_memory_and_refuse_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spools, "_MOST_BUFFERED", 8_000)
    ledger = opened(tmp_path, NONE)
    writer = ledger.writer()
    taken = 0
    with monkeypatch.context() as patch:
        write = os.write
        writer.add(decision(0))

        def fails(file: int, data: bytes) -> int:
            write(file, data[: len(data) // 2])
            raise OSError(28, "No space left on device")

        patch.setattr(os, "write", fails)
        with pytest.raises(LedgerError, match="No space left"):
            for number in range(1, 50):
                writer.add(decision(number))
                taken = number
    assert taken > 1
    writer.close()
    assert len(ledger.tail(99)) == taken + 1
    assert ledger.query("SELECT damaged_bytes FROM writers").rows == ((0,),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", LedgerSettings()),
        ('[ledger]\ndurability = "power"\n', POWER),
        (
            '[ledger]\nwhen_full = "block"\nroom_mib = 100\nblock_s = 5\n',
            LedgerSettings(when_full="block", room_mib=100, block_s=5),
        ),
        ('[ledger]\ndurability = "perhaps"\n', "in `[ledger]`: `durability` is one of process, power, none"),
        ("[ledger]\nroom_mib = -1\n", "in `[ledger]`: `room_mib` is a whole number above 0"),
        (
            "[ledger]\nroom = 1\n",
            "unknown key `room` in `[ledger]`; known: durability, room_mib, when_full, block_s",
        ),
        ('durability = "power"\n', "`durability` is outside the tables: write it under `[ledger]`"),
    ],
)
def test_the_user_s_configuration_chooses(tmp_path: Path, text: str, expected: LedgerSettings | str) -> None:
    file = tmp_path / "routewright.toml"
    file.write_text(text)
    environment = {"ROUTEWRIGHT_CONFIG": str(file)}
    if isinstance(expected, LedgerSettings):
        assert user_ledger_settings(environment) == expected
    else:
        with pytest.raises(ConfigurationError) as caught:
            user_ledger_settings(environment)
        assert str(caught.value) == f"{file}: {expected}"


def test_a_gateway_keeps_a_named_ledger_as_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk
) -> None:
    (tmp_path / "c.toml").write_text('[ledger]\ndurability = "power"\n')
    monkeypatch.setenv("ROUTEWRIGHT_CONFIG", str(tmp_path / "c.toml"))
    (tmp_path / "policy.yaml").write_text(
        "routewright: 1\nname: one\ncatalog:\n  routewright: 1\n  backends: { one: { kind: simulated } }\n"
        "  models: { small: { backend: one } }\nrules: [ { name: all, use: [small] } ]\n"
    )
    path = new_ledger(tmp_path / "ledger.duckdb").path
    for ledger, syncs in ((path, 2), (Ledger.open(path), 0)):
        disk.syncs = 0
        with ModelGateway.from_policy(tmp_path / "policy.yaml", ledger=ledger) as gateway:
            gateway.run_sync(Task(), HELLO)
        assert disk.syncs == syncs
