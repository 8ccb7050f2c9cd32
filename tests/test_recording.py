"""What several calls record in one turn of the event loop: each is kept or refused by itself, and none is lost."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest
from support.fault_parts import write_policy
from support.new_ledgers import new_ledger

from routewright import (
    ChatRequest,
    Ledger,
    LedgerError,
    Message,
    ModelGateway,
    NotStoredError,
    RunResult,
    Task,
    TaskError,
)
from routewright.backends import NO_LIMITS, ChatAnswer, Limits, SimulatedBackend, SimulatedModel
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.record import Intent
from routewright.gateway.recorder import Pending, Recorder, decision_row
from routewright.ledger import DecisionRow, LedgerEntry
from routewright.ledger.entries import Entry, decode
from routewright.ledger.frames import Frame
from routewright.ledger.paths import spool_folder
from routewright.ledger.spool import Spool
from routewright.ledger.spool_files import files_of, open_spool_file, spool_files

HELLO = ChatRequest((Message("user", "hello"),))
INTENT = Intent(1, "answer", "small", "one", 0, False, None, None, True)


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
    return new_ledger(tmp_path / "ledger.duckdb")


def ids(ledger: Ledger) -> set[str]:
    return {str(row[0]) for row in ledger.query("SELECT decision_id FROM decision_records").rows}


def beside_another(recorder: Recorder) -> None:
    """Have another call under way, so that what is recorded waits for the end of the turn."""
    recorder._under_way.add(cast(Pending, object()))


async def run_all(gateway: ModelGateway, tags: Sequence[Any]) -> list[RunResult | BaseException]:
    async with gateway:
        return await asyncio.gather(
            *(gateway.run(Task(), HELLO, tags=one) for one in tags), return_exceptions=True
        )


def test_calls_that_end_together_are_written_in_one_go(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    add = Spool.add

    def counting(spool: Spool, *entries: LedgerEntry, **options: bool) -> int:
        sizes.append(len(entries))
        return add(spool, *entries, **options)

    monkeypatch.setattr(Spool, "add", counting)
    ran = asyncio.run(run_all(ModelGateway(policy, ledger=ledger), [None] * 20))
    assert sum(sizes) == 2 * 20 and max(sizes) > 1, "the beginning and the end of each"
    assert ids(ledger) == {one.decision.id for one in ran if isinstance(one, RunResult)}
    assert ledger.query("SELECT count(*) FROM attempt_rows").rows == ((20,),)
    assert ledger.query("SELECT kind FROM policies ORDER BY kind").rows == (("catalog",), ("policy",))


def test_the_only_call_under_way_does_not_wait_for_others_to_be_recorded(
    policy: CompiledPolicy, ledger: Ledger
) -> None:
    async def ask() -> None:
        async with ModelGateway(policy, ledger=ledger) as gateway:
            for _ in range(2):
                one = Pending(policy, gateway.decide(Task()), None)
                announced = gateway._recorder.announce(one, INTENT)
                with pytest.raises(StopIteration):
                    announced.send(None)
                assert one.begun
                another = Pending(policy, gateway.decide(Task()), None)
                waits = asyncio.ensure_future(gateway._recorder.announce(another, INTENT))
                await asyncio.sleep(0)
                assert not another.begun, "it is recorded with whatever else comes in its turn"
                await waits
                assert another.begun
                for each in (one, another):
                    await gateway._recorder.record_with_others(each)

    asyncio.run(ask())


def test_one_that_cannot_be_recorded_takes_none_with_it(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(*args: Any, **options: Any) -> DecisionRow:
        row = decision_row(*args, **options)
        return row._replace(deciding_ns=cast(int, float("nan"))) if row.tags.get("team") == "odd" else row

    monkeypatch.setattr("routewright.gateway.recorder.decision_row", odd)
    tags = [{"team": "a"}, {"team": "odd"}, {"team": "b"}, None]
    ran = asyncio.run(run_all(ModelGateway(policy, ledger=ledger), tags))
    kept = {one.decision.id for one in ran if isinstance(one, RunResult)}
    [refused] = [one for one in ran if isinstance(one, NotStoredError)]
    assert (
        str(refused)
        == "a row holds what the ledger cannot store: `NaN` is no number in JSON; nothing was written"
    )
    assert refused.ran.execution is not None and refused.ran.execution.answer is None
    assert [attempt.status for attempt in refused.ran.execution.attempts] == ["skipped"], "nor is it called"
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

    def small(spool: Spool, *entries: LedgerEntry, **options: bool) -> int:
        if len(entries) > 1:
            raise LedgerError("the disk is full")
        return add(spool, *entries, **options)

    monkeypatch.setattr(Spool, "add", small)
    ran = asyncio.run(run_all(ModelGateway(policy, ledger=ledger), [None] * 5))
    assert ids(ledger) == {one.decision.id for one in ran if isinstance(one, RunResult)}
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

    monkeypatch.setattr("routewright.gateway.recorder.decision_row", mistaken)
    ran = asyncio.run(asyncio.wait_for(run_all(ModelGateway(policy, ledger=ledger), [None] * 3), 30))
    assert [type(one).__name__ for one in ran].count("ZeroDivisionError") == 1
    rows = ledger.query("SELECT status, reason, count(*) FROM attempt_rows GROUP BY ALL ORDER BY ALL").rows
    why = "putting it on record failed unexpectedly: ZeroDivisionError"
    assert rows == (("ok", None, 2), ("skipped", why, 1))


def test_a_mistake_in_writing_them_all_is_raised_to_each(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mistaken(*_: object, **options: bool) -> int:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(Spool, "add", mistaken)
    ran = asyncio.run(asyncio.wait_for(run_all(ModelGateway(policy, ledger=ledger), [None] * 3), 30))
    assert [type(one).__name__ for one in ran] == ["ZeroDivisionError"] * 3


def test_a_refusal_is_told_to_who_was_cancelled_too(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **options: bool) -> int:
        raise LedgerError("the disk is full")

    record = Recorder.record_with_others

    async def cancelling(recorder: Recorder, *args: Any, **options: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)
        beside_another(recorder)
        await record(recorder, *args, **options)

    monkeypatch.setattr(Spool, "add", full)
    monkeypatch.setattr(Recorder, "record_with_others", cancelling)

    async def ask() -> list[str]:
        async with ModelGateway(policy, ledger=ledger) as gateway:
            try:
                await asyncio.create_task(gateway.run(Task(), HELLO))
            except asyncio.CancelledError as cancelled:
                return cancelled.__notes__
        raise AssertionError

    assert asyncio.run(ask()) == ["what was done is not in the ledger: the disk is full"]


def test_a_decision_and_its_shadow_are_kept_together_or_not_at_all(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: dict[str, Any] = {
        "routewright": 1,
        "name": "next",
        "catalog": {
            "routewright": 1,
            "backends": {"one": {"kind": "simulated"}},
            "models": {"small": {"backend": "one"}},
        },
        "rules": [{"name": "all", "use": ["small"]}],
    }
    write_policy(values, tmp_path)
    (tmp_path / "policy.yaml").rename(tmp_path / "next.yaml")
    policy = write_policy(
        {**values, "name": "now", "rollout": {"candidate": "next.yaml", "mode": "shadow"}}, tmp_path
    )
    add = Spool.add
    refusals = 0

    def refusing(spool: Spool, *entries: LedgerEntry, **options: bool) -> int:
        nonlocal refusals
        if refusals < 4:  # together and alone, of the intent and of the end
            refusals += 1
            raise LedgerError("the disk is full")
        return add(spool, *entries, **options)

    monkeypatch.setattr(Spool, "add", refusing)
    with ModelGateway(policy, ledger=ledger) as gateway:
        with pytest.raises(NotStoredError, match="the disk is full"):
            gateway.run_sync(Task(), HELLO)
        ran = gateway.run_sync(Task(), HELLO)
        assert ran.shadow is not None
    assert ids(ledger) == {ran.decision.id, ran.shadow.id}


def test_who_is_cancelled_while_it_is_recorded_is_recorded(
    policy: CompiledPolicy, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Recorder.record_with_others

    async def cancelling(recorder: Recorder, *args: Any, **options: Any) -> None:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().call_soon(task.cancel)  # before what is recorded is written
        beside_another(recorder)
        await record(recorder, *args, **options)

    monkeypatch.setattr(Recorder, "record_with_others", cancelling)

    async def ask() -> None:
        async with ModelGateway(policy, ledger=ledger) as gateway:
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(gateway.run(Task(), HELLO))

    asyncio.run(ask())
    assert len(ids(ledger)) == 1
    assert ledger.query("SELECT status FROM attempt_rows").rows == (("ok",),)


def test_a_ledger_that_is_begun_anew_holds_the_policies_texts_too(
    policy: CompiledPolicy, ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.background._INGEST_AFTER_S", 0.01)
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
    joined = "SELECT count(*) FROM decision_records JOIN policies ON digest = policy_digest"
    for each in (ledger, Ledger.open(archive)):
        assert each.query(joined).rows == ((1,),)


def test_threads_with_event_loops_of_their_own_may_share_a_gateway(
    policy: CompiledPolicy, ledger: Ledger
) -> None:
    gateway = ModelGateway(policy, ledger=ledger)

    def work() -> list[str]:
        async def ask() -> list[str]:
            rounds = [
                await asyncio.gather(*(gateway.run(Task(), HELLO) for _ in range(4))) for _ in range(15)
            ]
            return [ran.decision.id for each in rounds for ran in each]

        return asyncio.run(asyncio.wait_for(ask(), 60))

    with ThreadPoolExecutor(6) as pool:
        made = [id for each in [pool.submit(work) for _ in range(6)] for id in each.result()]
    gateway.close_sync()
    assert len(made) == 360 and ids(ledger) == set(made)


def test_what_waits_in_a_loop_that_was_closed_is_recorded_with_the_next(
    policy: CompiledPolicy, ledger: Ledger
) -> None:
    gateway = ModelGateway(policy, ledger=ledger)
    pending = Pending(policy, gateway.decide(Task()), None)
    beside_another(gateway._recorder)
    recording = gateway._recorder.record_with_others(pending)
    loop = asyncio.new_event_loop()
    loop.call_soon(lambda: recording.send(None))
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.close()
    assert len(gateway._recorder._waiting) == 1
    ran = gateway.run_sync(Task(), HELLO)
    gateway.close_sync()
    assert (ids(ledger), gateway._recorder._waiting) == ({pending.decided.decision.id, ran.decision_id}, {})
    recording.close()


def test_a_call_that_ends_after_its_loop_was_closed_is_recorded_with_its_decision(
    policy: CompiledPolicy, ledger: Ledger
) -> None:
    with ModelGateway(policy, ledger=ledger) as gateway:
        [attempt] = gateway.run_sync(Task(), HELLO).attempts
        pending = Pending(policy, gateway.decide(Task()), None)
        begun = Intent(**{name: getattr(attempt, name) for name in Intent._fields})
        asyncio.run(gateway._recorder.announce(pending, begun))
        gateway._recorder.attempted(pending, attempt)
        gateway._recorder.record(pending)
    rows = ledger.query("SELECT decision_id::VARCHAR, status FROM attempt_rows").rows
    assert (pending.decided.decision.id, "ok") in rows and len(rows) == 2


def test_a_fork_records_its_own_calls_alone(policy: CompiledPolicy, ledger: Ledger, tmp_path: Path) -> None:
    script = tmp_path / "forking.py"
    script.write_text(FORKING, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(policy.text, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(ids(ledger)) == 5, "four of the parent's, one of the child's"
    assert ledger.query("SELECT count(*) FROM rejected").rows == ((0,),)


FORKING = """
import asyncio, os, sys, traceback, warnings
from pathlib import Path
from routewright import ChatRequest, Ledger, Message, ModelGateway, Task, load_policy

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: that is what is tried here
folder = Path(sys.argv[1])
gateway = ModelGateway(load_policy(folder / "policy.yaml"), ledger=Ledger.open(folder / "ledger.duckdb"))
hello = ChatRequest((Message("user", "hello"),))

async def child():
    await asyncio.wait_for(gateway.run(Task(), hello), 20)
    await gateway.close()

async def parent():
    # The first is recorded at once, as nothing else is under way; the others wait for the end of the turn.
    calls = [asyncio.ensure_future(gateway.run(Task(), hello)) for _ in range(4)]
    loop = asyncio.get_running_loop()
    while len(gateway._recorder._waiting.get(loop, ())) < 3:
        await asyncio.sleep(0)
    forked = os.fork()
    if forked == 0:
        try:
            asyncio.run(child())
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    await asyncio.gather(*calls)
    assert os.waitpid(forked, 0)[1] == 0
    await gateway.close()

asyncio.run(parent())
"""


def test_every_call_is_on_record_when_it_is_made(ledger: Ledger, tmp_path: Path) -> None:
    """Retries, fallbacks, steps and members, many at once: their intents are in the spool before their models hear."""
    policy = write_policy(
        {
            "routewright": 1,
            "name": "busy",
            "catalog": {
                "routewright": 1,
                "backends": {"one": {"kind": "simulated"}},
                "models": {name: {"backend": "one"} for name in ("a", "b", "c", "judge")},
            },
            "features": {"together": {"type": "boolean", "default": False}},
            "controls": [{"name": "again", "backoff": "1ms"}],
            "rules": [
                {
                    "name": "together",
                    "when": "together",
                    "ensemble": {
                        "members": ["a", "b", "c"],
                        "combine": "judge",
                        "judge": "judge",
                        "quorum": 2,
                    },
                },
                {
                    "name": "all",
                    "use": ["a"],
                    "fallback": ["b"],
                    "steps": [{"verify": {"with": "judge"}}],
                },
            ],
        },
        tmp_path,
    )
    called: list[str] = []
    too_early: list[str] = []

    class Watching(SimulatedBackend):
        async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
            called.append(model)
            announced = [intent["model_id"] for one in entries(ledger) for _, intent in one.intents]
            if announced.count(model) < called.count(model):
                too_early.append(model)  # raised, it would be one more failure of the model
            return await super().chat(model, request, limits=limits)

    models = {name: SimulatedModel() for name in ("a", "b", "c", "judge")}
    backend = Watching(models, seed=1, faults={"a": ["overloaded"] * 99})
    gateway = ModelGateway(policy, backends={"one": backend}, ledger=ledger)

    async def ask() -> None:
        async with gateway:
            await asyncio.gather(*(gateway.run(Task({"together": n % 2 == 1}), HELLO) for n in range(6)))
            ended = [attempt["number"] for one in entries(ledger) for _, attempt in one.attempts]
            begun = [intent["number"] for one in entries(ledger) for _, intent in one.intents]
            assert sorted(ended) == sorted(begun) and len(begun) == len(called)

    asyncio.run(ask())
    assert too_early == []
    statuses = ledger.query("SELECT DISTINCT role, status FROM attempt_rows ORDER BY ALL").rows
    assert {role for role, _ in statuses} >= {"answer", "retry", "fallback", "verify", "member", "judge"}
    assert "lost" not in {status for _, status in statuses}


def entries(ledger: Ledger) -> list[Entry]:
    """What stands in the spool."""
    found = []
    for path in files_of(spool_folder(ledger.path)):
        with open_spool_file(path) as spool:
            assert spool is not None
            found += [decode(one.entry.text) for one in spool.frames() if isinstance(one, Frame)]
    return found


def test_a_call_that_ends_after_its_gateway_was_closed_takes_the_place_of_the_lost_one(
    policy: CompiledPolicy, ledger: Ledger
) -> None:
    going, go_on = asyncio.Event(), asyncio.Event()

    class Slow(SimulatedBackend):
        async def chat(self, model: str, request: ChatRequest, *, limits: Limits = NO_LIMITS) -> ChatAnswer:
            going.set()
            await go_on.wait()
            return await super().chat(model, request, limits=limits)

    async def ask() -> None:
        backend = Slow({"small": SimulatedModel()}, seed=1)
        gateway = ModelGateway(policy, backends={"one": backend}, ledger=ledger)
        running = asyncio.ensure_future(gateway.run(Task(), HELLO))
        await going.wait()
        await gateway._recorder.close()
        assert ledger.query("SELECT status FROM attempt_rows").rows == (("lost",),)
        go_on.set()
        assert (await running).execution is not None
        assert ledger.query("SELECT status FROM attempt_rows").rows == (("ok",),)
        await gateway.close()

    asyncio.run(ask())
    assert [row.status for row in ledger.tail(5)] == ["ok"]
