"""A ledger and a spool that earlier versions wrote, with records of version 1: they open, and mean what they meant.

``older`` holds both as the version with layout 8 left them, the spool by a process that was killed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.ledger_rows import decision, decision_id

from routewright.engine.explain.explanation import explain
from routewright.engine.explain.recomputing import as_recorded
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.ledger import Ledger
from routewright.ledger.frames import Frame, find_frames
from routewright.ledger.paths import spool_folder

OLDER = Path(__file__).parent / "older"
[SPOOL] = OLDER.glob("*.spool.gz")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The ledger, without what waits in its spool."""
    path = tmp_path / "older.duckdb"
    path.write_bytes(gzip.decompress((OLDER / "older.duckdb.gz").read_bytes()))
    return path


def leave_spool(path: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Put the spool beside the ledger, each entry changed."""
    folder = spool_folder(path)
    folder.mkdir()
    given = folder / "given"
    given.write_bytes(gzip.decompress(SPOOL.read_bytes()))
    frames = []
    with given.open("rb") as file:
        for frame in find_frames(file.fileno(), given.stat().st_size):
            assert isinstance(frame, Frame)
            values = json.loads(frame.entry.text)
            change(values)
            text = json.dumps(values, separators=(",", ":"), ensure_ascii=False).encode()
            frames.append(old_frame(frame.number, text, frame.entry.record))
    given.unlink()
    (folder / SPOOL.name.removesuffix(".gz")).write_bytes(b"routewright spool 1\n" + b"".join(frames))


def old_frame(number: int, text: bytes, record: str | None) -> bytes:
    """A frame as earlier versions wrote it, with the record beside the text."""
    import struct
    import zlib

    beside = (record or "").encode()
    body = struct.pack("<QIB", number, len(text), record is not None) + text + beside
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


def statuses(ledger: Ledger) -> list[tuple[str, int, str]]:
    found = ledger.query("SELECT decision_id::VARCHAR, number, status FROM attempt_rows ORDER BY ALL").rows
    return [(id, number, status) for id, number, status in found]


def test_what_was_recorded_is_there_with_its_digests(path: Path) -> None:
    ledger = Ledger.open(path)
    rows = ledger.query(
        "SELECT decision_id::VARCHAR, record_digest, target, policy_name FROM decision_records"
    ).rows
    assert len(rows) == 6
    for id, digest, target, policy in rows:
        found = ledger.find(id)
        assert "sha256:" + hashlib.sha256(found.text.encode()).hexdigest() == digest == found.record_digest
        said = json.loads(found.text)
        assert (said["target"], said["policy"]["name"]) == (target, policy)
    assert ledger.query("SELECT count(*) FROM rejected").rows == ((1,),)


def test_records_of_version_1_are_explained_under_the_policy_that_the_ledger_keeps(path: Path) -> None:
    ledger = Ledger.open(path)
    explained = []
    for number in (100, 101, 102):
        found = ledger.find(decision_id(number))
        catalog = read_catalog(found.catalog_text or "", "catalog.yaml")
        policy = compile_policy(read_policy(found.policy_text or "", "policy.yaml"), catalog)
        explanation = explain(as_recorded(policy, found.record), found.record)
        assert explanation.record.canonical().decode() == found.text
        explained.append(explanation.decided.target)
    assert explained == [json.loads(ledger.find(decision_id(n)).text)["target"] for n in (100, 101, 102)]


def test_what_a_killed_process_left_is_taken_in(path: Path) -> None:
    leave_spool(path)
    ledger = Ledger.open(path)
    assert ledger.ingest() == 3
    found = statuses(ledger)
    assert [one for one in found if one[0] in map(decision_id, (3, 4, 5, 6))] == [
        (decision_id(3), 1, "ok"),
        (decision_id(3), 2, "lost"),
        (decision_id(4), 1, "ok"),
        (decision_id(5), 1, "lost"),
        (decision_id(6), 1, "ok"),
    ]
    assert ledger.query("SELECT count(*) FROM in_flight").rows == ((0,),)
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((9,),)


def without_intents(values: dict[str, Any]) -> None:
    del values["intents"], values["ended"]


def without_locations(values: dict[str, Any]) -> None:
    for one in (*values["attempts"], *values["intents"]):
        del one["location"], one["host"]


@pytest.mark.parametrize("change", [without_locations, without_intents])
def test_entries_of_before_there_were_some_fields_are_taken_in(
    path: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    leave_spool(path, change)
    ledger = Ledger.open(path)
    ledger.ingest()
    assert (decision_id(6), 1, "ok") in statuses(ledger)
    assert ledger.query("SELECT count(*) FROM rejected").rows == ((1,),)


def test_new_decisions_stand_beside_old_ones(path: Path) -> None:
    ledger = Ledger.open(path)
    ledger.append([decision(50)])
    assert ledger.query(
        f"SELECT target, features.context_length::BIGINT FROM decision_records WHERE decision_id = '{decision_id(50)}'"
    ).rows == (("kimi", 50_000),)
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((7,),)
