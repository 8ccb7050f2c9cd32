"""Damaged spools: damage costs only the entries that it is in, is kept, and is reported until somebody has looked."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from threading import Thread

import pytest
from support.ledger_rows import attempt, decision, decision_id, record_digest
from support.new_ledgers import new_ledger
from support.spool_mutations import frames_of

from routewright.ledger import Ledger, LedgerEntry, LedgerError
from routewright.ledger import ingest as ingest_module
from routewright.ledger.entries import EntryEncoder
from routewright.ledger.frames import MAGIC, MAX_FRAME_BYTES
from routewright.ledger.ingest import ingest
from routewright.ledger.paths import spool_folder
from routewright.ledger.spool import Spool
from routewright.ledger.spool_files import open_spool_file, set_aside, spool_files

TESTS = Path(__file__).parents[1]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


def entry(number: int) -> LedgerEntry:
    return LedgerEntry(decision(number), [attempt(number)])


def dead_writer(ledger: Ledger, *numbers: int) -> Path:
    """The file of a writer that is gone, with these decisions."""
    spool = Spool(spool_folder(ledger.path))
    for number in numbers:
        spool._encoder.forget()  # each says all that it refers to
        spool.add(entry(number))
    path = spool.path
    spool.abandon()
    return path


def stored(ledger: Ledger) -> list[str]:
    return [row.decision_id for row in ledger.tail(1_000)]


def framed(number: int, entry: LedgerEntry | str) -> bytes:
    """A frame as the format says, of an entry that says all that it refers to."""
    text = entry.encode() if isinstance(entry, str) else EntryEncoder().encode(0, entry)
    body = struct.pack("<QIB", number, len(text), False) + text
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


def test_the_format_of_a_spool_file_is_the_one_that_is_written_down(ledger: Ledger) -> None:
    path = dead_writer(ledger, 1, 2)
    expected = b"routewright spool 2\n" + framed(1, entry(1)) + framed(2, entry(2))
    assert path.read_bytes() == expected


@pytest.mark.parametrize("place", ["in a frame", "between frames", "at the end"])
def test_zeros_in_a_spool_are_no_entries(ledger: Ledger, place: str) -> None:
    path = dead_writer(ledger, 1, 2, 3)
    data = path.read_bytes()
    [_, second, third] = frames_of(data)
    if place == "in a frame":
        data = data[: second[0]] + bytes(second[1] - second[0]) + data[second[1] :]
    elif place == "between frames":
        data = data[: third[0]] + bytes(8_192) + data[third[0] :]
    else:
        data += bytes(8_192)
    path.write_bytes(data)
    expected = [1, 3] if place == "in a frame" else [1, 2, 3]
    assert stored(ledger) == [decision_id(number) for number in expected]
    assert len(ledger.notices()) == 1
    assert ledger.query("SELECT damaged_bytes > 1000 FROM writers").rows == ((True,),)


def test_a_flipped_bit_in_the_first_entry_leaves_the_others(ledger: Ledger) -> None:
    path = dead_writer(ledger, *range(1, 30))
    data = bytearray(path.read_bytes())
    data[len(MAGIC) + 300] ^= 1
    path.write_bytes(data)
    assert stored(ledger) == [decision_id(number) for number in range(2, 30)]
    assert len(ledger.notices()) == 1


@pytest.mark.parametrize("wild", [0, 2**63 - 1, 2**63, 2**64 - 1])
def test_a_wild_number_skips_no_entry(ledger: Ledger, wild: int) -> None:
    path = dead_writer(ledger, 1, 2, 3)
    data = path.read_bytes()
    [first, *_] = frames_of(data)
    path.write_bytes(data[: first[1]] + framed(wild, entry(9)) + data[first[1] :])
    assert stored(ledger) == [decision_id(number) for number in (1, 2, 3)]
    assert len(ledger.notices()) == 1


def test_a_wild_number_skips_no_entry_of_the_next_file(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    first = spool.path
    spool.turn()
    spool.add(entry(2), entry(3))
    spool.abandon()
    first.write_bytes(first.read_bytes() + framed(3, entry(9)))
    assert stored(ledger) == [decision_id(number) for number in (1, 2, 3)]
    assert set_aside(spool_folder(ledger.path)) == [first.with_suffix(".damaged")]


def test_a_wild_number_skips_no_later_entry_of_a_writer_that_lives(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    first = spool.path
    first.write_bytes(first.read_bytes() + framed(1_000_000, entry(9)))
    assert ledger.ingest() == 1, "another process takes what follows without a gap"
    assert ledger.notices() == (), "what comes behind it may be half an entry"
    spool._size = first.stat().st_size
    spool.add(entry(2))
    ingest(ledger.path, lock_timeout_s=5, own=spool)
    spool.add(entry(3))
    ingest(ledger.path, lock_timeout_s=5, own=spool)
    assert stored(ledger) == [decision_id(number) for number in (1, 2, 3)]
    assert len(ledger.notices()) == 1
    spool.abandon()


def test_a_living_writer_knows_of_entries_that_were_cut_off(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    size = spool.path.stat().st_size
    spool.add(entry(2))
    os.truncate(spool.path, size)  # at the end of an entry
    ingest(ledger.path, lock_timeout_s=5, own=spool)
    spool.add(entry(3))
    spool.abandon()
    assert stored(ledger) == [decision_id(1), decision_id(3)]
    assert len(ledger.notices()) == 1


def test_a_file_that_vanished_is_reported(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    ingest(ledger.path, lock_timeout_s=5, own=spool)
    spool.add(entry(2))
    vanished = spool.path
    spool.turn()
    spool.add(entry(3))
    spool.abandon()
    vanished.unlink()
    assert stored(ledger) == [decision_id(1), decision_id(3)]
    assert len(ledger.notices()) == 1


@pytest.mark.parametrize("lives", [False, True], ids=["dead writer", "living writer"])
@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_a_gap_is_told_of_though_ingestion_broke_off_behind_it(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, *, lives: bool, links: bool
) -> None:
    """The mark of the entries behind the gap is committed by then, and nothing is missing above it."""
    spool = Spool(spool_folder(ledger.path))
    for number in (1, 2, 3):
        size = spool.path.stat().st_size if spool.path.exists() else 0
        spool.add(entry(number))
    os.truncate(spool.path, size)  # at the end of an entry
    if not lives:
        spool.turn()
        spool.add(entry(4))
        spool.abandon()
    if not links:
        monkeypatch.setattr(os, "link", _no_links)
    with monkeypatch.context() as full_disk:
        full_disk.setattr(ingest_module, "checkpoint", _no_room)
        with pytest.raises(LedgerError):
            ingest(ledger.path, lock_timeout_s=5, own=spool if lives else None)
    ingest(ledger.path, lock_timeout_s=5, own=spool if lives else None)
    spool.abandon()
    assert stored(ledger) == [decision_id(number) for number in ((1, 2) if lives else (1, 2, 4))]
    assert spool_files(spool_folder(ledger.path)) == []
    if links:
        assert len(ledger.notices()) == 1


def _no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


def _no_links(*_: object) -> None:
    raise OSError(errno.EPERM, "operation not permitted")


def test_entries_that_went_with_a_deleted_ledger_are_not_missed(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    ingest(ledger.path, lock_timeout_s=5, own=spool)
    spool.add(entry(2))
    ledger.path.unlink()
    ingest(ledger.path, lock_timeout_s=5, own=spool)
    spool.add(entry(3))
    spool.abandon()
    assert stored(ledger) == [decision_id(2), decision_id(3)]
    assert ledger.notices() == ()


def test_half_an_entry_of_a_writer_that_lives_is_no_damage(ledger: Ledger) -> None:
    spool = Spool(spool_folder(ledger.path))
    spool.add(entry(1))
    whole = framed(2, entry(2))
    with spool.path.open("ab") as file:
        file.write(whole[:100])
        file.flush()
        assert stored(ledger) == [decision_id(1)]
        file.write(whole[100:])
    assert stored(ledger) == [decision_id(1), decision_id(2)]
    assert ledger.notices() == ()
    spool.abandon()


def test_text_that_is_no_utf8_stops_nobody(ledger: Ledger) -> None:
    path = dead_writer(ledger, 1, 2)
    body = struct.pack("<QIB", 3, 12, 0) + b'{"decision":' + b"\xff\xfe"
    body = struct.pack("<QIB", 3, 14, 0) + body[13:]
    path.write_bytes(path.read_bytes() + struct.pack("<II", len(body), zlib.crc32(body)) + body)
    dead_writer(ledger, 4)
    assert stored(ledger) == [decision_id(number) for number in (1, 2, 4)]
    assert len(ledger.notices()) == 1


def test_a_damaged_head_of_a_file_costs_no_entry(ledger: Ledger) -> None:
    path = dead_writer(ledger, 1, 2)
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    assert stored(ledger) == [decision_id(1), decision_id(2)]
    assert len(ledger.notices()) == 1


@pytest.mark.parametrize("kind", ["folder", "pipe", "dangling link", "noise"])
def test_what_is_no_spool_holds_up_nothing_else(ledger: Ledger, kind: str) -> None:
    folder = spool_folder(ledger.path)
    path = dead_writer(ledger, 1)
    bad = folder / "0.spool"
    if kind == "folder":
        bad.mkdir()
    elif kind == "pipe":
        os.mkfifo(bad)
    elif kind == "dangling link":
        bad.symlink_to(folder / "nowhere")
    else:
        bad.write_bytes(b"noise" * 10_000)
    assert stored(ledger) == [decision_id(1)]
    assert not path.exists()
    assert (bad.exists() or bad.is_symlink()) and spool_files(folder) in ([bad], [])


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_regular_file_is_told_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{'0' * 32}.{0:08d}.spool"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    told: list[tuple[str, str | None]] = []

    def open_it() -> None:
        try:
            with open_spool_file(path):
                pass
        except LedgerError as error:
            told.append((str(error), error.help))

    opening = Thread(target=open_it, daemon=True)
    opening.start()
    opening.join(10)
    assert not opening.is_alive(), "it waits for somebody who writes"
    assert told == [(f"`{path}` is not a spool file of a ledger; left unchanged", "move it away")]
    assert path.exists()


def test_two_values_in_one_text_do_not_give_entries_the_records_of_others(ledger: Ledger) -> None:
    path = dead_writer(ledger, 1)
    two = '{"entry":2},{"entry":2}'
    path.write_bytes(path.read_bytes() + framed(2, two) + framed(3, entry(3)) + framed(4, "null"))
    assert stored(ledger) == [decision_id(1), decision_id(3)]
    assert ledger.query("SELECT entry FROM rejected ORDER BY entry").rows == ((2,), (4,))
    [[digest]] = ledger.query(
        f"SELECT record_digest FROM decision_records WHERE decision_id = '{decision_id(3)}'"
    ).rows
    assert digest == record_digest(decision(3))


def test_an_entry_beyond_the_bound_is_refused_when_it_is_added(ledger: Ledger) -> None:
    writer = ledger.writer()
    with pytest.raises(LedgerError, match="a row has more than 64 MiB; nothing was written"):
        writer.add(decision(1)._replace(trace_id="x" * MAX_FRAME_BYTES))
    writer.add(decision(2))
    writer.close()
    assert stored(ledger) == [decision_id(2)]


def test_a_sparse_file_costs_neither_memory_nor_its_size_in_reading(ledger: Ledger) -> None:
    path = dead_writer(ledger, 1, 2)
    data = path.read_bytes()
    [_, second] = frames_of(data)
    with path.open("r+b") as file:
        file.truncate(second[0])
        file.seek(2 * 1024**3)
        file.write(data[second[0] :])
    code = f"""
import os, resource, sys
from routewright.ledger import Ledger
ledger = Ledger.open({str(ledger.path)!r})
read, pread = [], os.pread
def counted(file, size, at):
    data = pread(file, size, at)
    read.append(len(data))
    return data
os.pread = counted
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert ledger.ingest() == 2
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(sum(read), grown // (1024 if sys.platform == "linux" else 1024**2))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    read, grown_mib = map(int, done.stdout.split())
    assert grown_mib < 200
    if sys.platform == "linux":
        assert read < 16 * 1024**2
    assert len(ledger.notices()) == 1


def test_damage_is_logged_when_it_is_found_and_when_the_ledger_is_opened(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    path = dead_writer(ledger, 1, 2)
    path.write_bytes(path.read_bytes()[:-30])
    ledger.ingest()
    kept = path.with_suffix(".damaged")
    Ledger.open(ledger.path)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert all(str(kept) in record.getMessage() for record in caplog.records)
    caplog.clear()
    kept.unlink()
    Ledger.open(ledger.path)
    assert caplog.records == [] and ledger.notices() == ()
