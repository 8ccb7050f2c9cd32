"""Frames as the format has them: what is one, what is damage, and how the next one is found behind damage."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from random import Random

import pytest

from routewright.ledger.frames import MAGIC, MAX_NUMBER, Damage, Frame, Texts, encode_frame, find_frames

PIECE = 1024**2
BEGINNING = b'{"decision":'
HEAD_BYTES = 21


def found(path: Path, data: bytes) -> list[Frame | Damage]:
    path.write_bytes(data)
    file = os.open(path, os.O_RDONLY)
    try:
        return list(find_frames(file, len(data)))
    finally:
        os.close(file)


def framed(number: int, text: str) -> bytes:
    body = struct.pack("<QIB", number, len(text), 0) + text.encode()
    return struct.pack("<II", len(body), zlib.crc32(body)) + body


@pytest.mark.parametrize("number", [1, MAX_NUMBER])
def test_the_first_and_the_last_number_that_the_tables_can_hold_are_frames(
    tmp_path: Path, number: int
) -> None:
    text = '{"decision":null}'
    frame = framed(number, text)
    assert frame == encode_frame(number, text.encode())
    whole = Frame(number, Texts(text, None), len(MAGIC), len(frame))
    assert found(tmp_path / "one.spool", MAGIC + frame) == [whole]


@pytest.mark.parametrize("number", [0, 2**63, 2**64 - 1])
def test_a_number_that_no_table_can_hold_is_damage_though_its_checksum_is_right(
    tmp_path: Path, number: int
) -> None:
    frame, next_one = framed(number, '{"decision":null}'), framed(7, '{"decision":1}')
    assert found(tmp_path / "one.spool", MAGIC + frame + next_one) == [
        Damage(len(frame)),
        Frame(7, Texts('{"decision":1}', None), len(MAGIC) + len(frame), len(next_one)),
    ]


@pytest.mark.parametrize("in_first_piece", range(len(BEGINNING) + 1))
def test_a_frame_is_found_whose_beginning_lies_across_the_border_of_what_is_read_at_once(
    tmp_path: Path, in_first_piece: int
) -> None:
    """The first search begins behind the head of the damage and one more byte, and reads ``PIECE`` bytes."""
    border = HEAD_BYTES + 1 + PIECE
    # A length that is none, so that nothing but the search goes on.
    noise = b"\xff" * (border - in_first_piece - HEAD_BYTES)
    frame = framed(7, '{"decision":null}')
    assert found(tmp_path / "one.spool", MAGIC + noise + frame + noise) == [
        Damage(len(noise)),
        Frame(7, Texts('{"decision":null}', None), len(MAGIC) + len(noise), len(frame)),
        Damage(len(noise)),
    ]


def test_a_frame_is_found_behind_pieces_of_any_noise(tmp_path: Path) -> None:
    noise = Random(1).randbytes(3 * PIECE + 5)
    frame = framed(7, '{"decision":null}')
    assert found(tmp_path / "one.spool", MAGIC + noise + frame) == [
        Damage(len(noise)),
        Frame(7, Texts('{"decision":null}', None), len(MAGIC) + len(noise), len(frame)),
    ]
