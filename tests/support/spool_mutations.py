"""Damages spool files at random, and checks that damage costs only the entries that it is in and is always reported.

``mutate`` takes any source of randomness, so that a fixed seed gives a fixed sample.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from routewright.ledger import Ledger, LedgerEntry
from routewright.ledger.paths import spool_folder
from routewright.ledger.spool import Spool
from routewright.ledger.spool_files import set_aside, spool_files

from .ledger_rows import attempt, begun, decision, decision_id, ended, record_digest

__all__ = ["MUTATIONS", "Case", "check", "frames_of", "mutate", "write_case"]

MAGIC_BYTES = 20
HEAD_BYTES = 21


@dataclass
class Piece:
    """Some bytes of the file; ``entry`` is the entry that they were, counted from 0, None for what was none."""

    entry: int | None
    data: bytes


@dataclass
class Case:
    """A damaged file of a writer that is gone, of decisions ``first`` and those behind it; which of them are touched.

    Some were recorded as a whole, others by the intent of their call and by its end.
    """

    writer: str
    first: int
    decisions: int
    touched: frozenset[int]
    mutations: tuple[str, ...]


def frames_of(data: bytes) -> list[tuple[int, int]]:
    """Where each frame of an undamaged file begins and ends."""
    spans, at = [], MAGIC_BYTES
    while at < len(data):
        end = at + 8 + int(struct.unpack_from("<I", data, at)[0])
        spans.append((at, end))
        at = end
    return spans


def mutate(
    data: bytes, frames: Sequence[tuple[int, int]], random: Random
) -> tuple[bytes, frozenset[int], tuple[str, ...]]:
    """A file that went through one to three mutations, which entries they touched, and their names."""
    pieces = [Piece(None, data[:MAGIC_BYTES])]
    pieces += [Piece(position, data[start:end]) for position, (start, end) in enumerate(frames)]
    touched: set[int] = set()
    chosen = random.choices(MUTATIONS, k=random.choice((1, 1, 1, 2, 3)))
    for mutation in chosen:
        touched |= mutation(pieces, random)
    return b"".join(piece.data for piece in pieces), frozenset(touched), tuple(one.__name__ for one in chosen)


def write_case(ledger: Ledger, first: int, random: Random, *, decisions: int = 10) -> Case:
    """Write the damaged file of a dead writer beside the ledger; its decisions are ``first`` and those behind it."""
    spool = Spool(spool_folder(ledger.path))
    entries: list[tuple[int, LedgerEntry]] = []
    for number in range(first, first + decisions):
        if random.random() < 0.6:
            entries.append((number, LedgerEntry(decision(number), [attempt(number)])))
        else:
            entries.append((number, begun(number)))
            end = random.randrange(len(entries), len(entries) + 3)
            entries.insert(end, (number, ended(number, attempt(number))))
    for _, entry in entries:
        spool._encoder.forget()  # each says all that it refers to
        spool.add(entry)
    path = spool.path
    spool.abandon()
    data = path.read_bytes()
    damaged, touched, mutations = mutate(data, frames_of(data), random)
    path.write_bytes(damaged)
    return Case(
        spool.writer, first, decisions, frozenset(entries[at][0] - first for at in touched), mutations
    )


def check(ledger: Ledger, cases: Sequence[Case]) -> None:
    """Ingest the files of ``cases``: untouched decisions are in exactly once, touched ones too or they are reported."""
    ledger.ingest()
    folder = spool_folder(ledger.path)
    waiting = {path.name.partition(".")[0] for path in spool_files(folder)}
    kept = {path.name.partition(".")[0] for path in set_aside(folder)}
    told = ledger.notices()
    assert not kept or any("damaged" in notice for notice in told)
    for case in cases:
        ids = [decision_id(number) for number in range(case.first, case.first + case.decisions)]
        between = f"decision_id BETWEEN '{ids[0]}' AND '{ids[-1]}'"
        rows = ledger.query(
            f"SELECT decision_id::VARCHAR, record_digest, (SELECT count(*) FROM attempt_rows AS a "
            f"WHERE a.decision_id = d.decision_id AND a.number = 1) FROM decision_records AS d WHERE {between}"
        ).rows
        stored = [row[0] for row in rows]
        rejected = ledger.query(f"SELECT count(*) FROM rejected WHERE writer = '{case.writer}'").rows[0][0]
        assert case.writer not in waiting, case
        assert len(stored) == len(set(stored)), (case, "twice")
        lost = {position for position, id in enumerate(ids) if id not in stored}
        assert lost <= case.touched, (case, "lost without being touched", lost - case.touched)
        assert not lost or case.writer in kept or rejected, (case, "lost without a word", lost)
        without_end = ledger.query(
            f"SELECT decision_id::VARCHAR FROM attempt_rows WHERE status = 'lost' AND {between}"
        ).rows
        assert {ids.index(id) for (id,) in without_end} <= case.touched, (case, "its end was not touched")
        records = {id: record_digest(decision(case.first + position)) for position, id in enumerate(ids)}
        assert all(records[id] == record and calls == 1 for id, record, calls in rows), (case, "wrong")


def some_frame(pieces: list[Piece], random: Random) -> int | None:
    """The position of a piece that is a frame."""
    positions = [position for position, piece in enumerate(pieces) if piece.entry is not None]
    return random.choice(positions) if positions else None


def of(*pieces: Piece) -> set[int]:
    return {piece.entry for piece in pieces if piece.entry is not None}


def flip_bits(pieces: list[Piece], random: Random) -> set[int]:
    piece = random.choice(pieces)
    data = bytearray(piece.data)
    if not data:
        return set()
    for _ in range(random.choice((1, 1, 8))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    piece.data = bytes(data)
    return of(piece)


def flip_in_head(pieces: list[Piece], random: Random) -> set[int]:
    position = some_frame(pieces, random)
    if position is None or len(pieces[position].data) < HEAD_BYTES:
        return set()
    data = bytearray(pieces[position].data)
    data[random.randrange(HEAD_BYTES)] ^= 1 << random.randrange(8)
    pieces[position].data = bytes(data)
    return of(pieces[position])


def fill_with_zeros(pieces: list[Piece], random: Random) -> set[int]:
    return overwrite(pieces, random, lambda size: bytes(size))


def fill_with_noise(pieces: list[Piece], random: Random) -> set[int]:
    return overwrite(pieces, random, random.randbytes)


def overwrite(pieces: list[Piece], random: Random, made: Callable[[int], bytes]) -> set[int]:
    """Overwrite a range that may go over several pieces, as a lost block does."""
    size = sum(len(piece.data) for piece in pieces)
    start = random.randrange(size)
    end = min(size, start + random.choice((1, 100, 4_096, 20_000)))
    touched, at = set(), 0
    for piece in pieces:
        low, high = max(start - at, 0), min(end - at, len(piece.data))
        if low < high:
            at += len(piece.data)
            piece.data = piece.data[:low] + made(high - low) + piece.data[high:]
            touched |= of(piece)
        else:
            at += len(piece.data)
    return touched


def cut_the_end(pieces: list[Piece], random: Random) -> set[int]:
    """Cut within a frame: a file that ends where one ended looks as if it had never been longer."""
    position = some_frame(pieces, random)
    if position is None:
        return set()
    gone = pieces[position + 1 :]
    del pieces[position + 1 :]
    piece = pieces[position]
    piece.data = piece.data[: random.randrange(1, max(2, len(piece.data)))]
    return of(piece, *gone)


def take_out_bytes(pieces: list[Piece], random: Random) -> set[int]:
    position = some_frame(pieces, random)
    if position is None:
        return set()
    data = pieces[position].data
    start = random.randrange(len(data)) if data else 0
    pieces[position].data = data[:start] + data[start + random.choice((1, 7, 500)) :]
    return of(pieces[position])


def take_out_a_frame(pieces: list[Piece], random: Random) -> set[int]:
    """Not the last, see ``cut_the_end``."""
    positions = [at for at, piece in enumerate(pieces[:-1]) if piece.entry is not None]
    return of(pieces.pop(random.choice(positions))) if positions else set()


def repeat_a_frame(pieces: list[Piece], random: Random) -> set[int]:
    position = some_frame(pieces, random)
    if position is not None:
        copy = Piece(None, pieces[position].data)
        pieces.insert(random.randrange(1, len(pieces) + 1), copy)
    # The copy may be the one that is stored, and the other the one that is kept aside.
    return set()


def exchange_frames(pieces: list[Piece], random: Random) -> set[int]:
    one, other = some_frame(pieces, random), some_frame(pieces, random)
    if one is None or other is None or one == other:
        return set()
    pieces[one], pieces[other] = pieces[other], pieces[one]
    return of(pieces[one], pieces[other])


def put_in_garbage(pieces: list[Piece], random: Random) -> set[int]:
    garbage = random.choice(
        (
            random.randbytes(random.randrange(1, 3_000)),
            bytes(random.randrange(1, 10_000)),
            b'{"decision":' * random.randrange(1, 50),
            struct.pack("<IIQIB", 2**32 - 1, 0, 5, 12, 0) + b'{"decision":',
            struct.pack("<IIQIB", 40, 0, 2, 12, 1) * 20,
        )
    )
    pieces.insert(random.randrange(1, len(pieces) + 1), Piece(None, garbage))
    return set()


def lie_about_the_length(pieces: list[Piece], random: Random) -> set[int]:
    position = some_frame(pieces, random)
    if position is None:
        return set()
    length = random.choice((0, 1, 12, 13, 2**16, 2**26, 2**31, 2**32 - 1))
    pieces[position].data = struct.pack("<I", length) + pieces[position].data[4:]
    return of(pieces[position])


def number_wrongly(pieces: list[Piece], random: Random) -> set[int]:
    def changed(number: int, metadata: bytes, record: bytes) -> tuple[int, bytes, bytes]:
        wild = (0, 1, number - 1, number + 1, number + 5, number + 1_000_000, 2**63 - 1, 2**63, 2**64 - 1)
        return max(0, random.choice(wild)), metadata, record

    return with_right_checksum(pieces, random, changed)


def write_no_text(pieces: list[Piece], random: Random) -> set[int]:
    def changed(number: int, metadata: bytes, record: bytes) -> tuple[int, bytes, bytes]:
        wrong = random.choice((b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0"))
        return (
            (number, metadata + wrong, record)
            if random.random() < 0.5
            else (number, metadata, record + wrong)
        )

    return with_right_checksum(pieces, random, changed)


def write_other_json(pieces: list[Piece], random: Random) -> set[int]:
    nothing = b'{"decision":null,"attempts":[],"policies":[]}'
    texts = (b"", b"null", b"1", b"[]", b"{}", b"{", b'"a"', nothing, nothing + b"," + nothing, b"[" * 5_000)

    def changed(number: int, metadata: bytes, record: bytes) -> tuple[int, bytes, bytes]:
        other = random.choice(texts)
        return (number, other, record) if random.random() < 0.5 else (number, metadata, other)

    return with_right_checksum(pieces, random, changed)


def write_other_rows(pieces: list[Piece], random: Random) -> set[int]:
    swaps = (
        (b'"mode":"', b'"mode":7,"'),
        (b'"number":1', b'"number":1e99'),
        (b'"status":"ok"', b'"status":null'),
    )

    def changed(number: int, metadata: bytes, record: bytes) -> tuple[int, bytes, bytes]:
        old, new = random.choice(swaps)
        return number, metadata.replace(old, new), record

    return with_right_checksum(pieces, random, changed)


def with_right_checksum(
    pieces: list[Piece], random: Random, change: Callable[[int, bytes, bytes], tuple[int, bytes, bytes]]
) -> set[int]:
    """Write a frame anew, changed, as no accident does."""
    position = some_frame(pieces, random)
    if position is None or len(pieces[position].data) < HEAD_BYTES:
        return set()
    data = pieces[position].data
    number, metadata = struct.unpack_from("<QI", data, 8)
    texts = data[HEAD_BYTES:]
    number, before, record = change(number, texts[:metadata], texts[metadata:])
    body = struct.pack("<QIB", number, len(before), 1) + before + record
    pieces[position].data = struct.pack("<II", len(body), zlib.crc32(body)) + body
    return of(pieces[position])


MUTATIONS: tuple[Callable[[list[Piece], Random], set[int]], ...] = (
    flip_bits,
    flip_in_head,
    fill_with_zeros,
    fill_with_noise,
    cut_the_end,
    take_out_bytes,
    take_out_a_frame,
    repeat_a_frame,
    exchange_frames,
    put_in_garbage,
    lie_about_the_length,
    number_wrongly,
    write_no_text,
    write_other_json,
    write_other_rows,
)
