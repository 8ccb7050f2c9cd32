"""Notes of others are read as they read them, and ours are written as they write theirs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from routewright.ledger.errors import ProofError
from routewright.ledger.proof.checkpoint import Checkpoint, parse_checkpoint, parse_checkpoint_text
from routewright.ledger.proof.note import (
    Note,
    SignatureType,
    check_signatures,
    parse_note,
    parse_private_key,
    parse_public_key,
)

VECTORS = Path(__file__).parent / "vectors"
FOREIGN: list[dict[str, Any]] = json.loads((VECTORS / "foreign_notes.json").read_text("utf-8"))["notes"]
OURS: dict[str, Any] = json.loads((VECTORS / "checkpoint.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", FOREIGN, ids=lambda vector: vector["from"][:30])
def test_signatures_of_others_are_theirs(vector: dict[str, Any]) -> None:
    note = parse_note(vector["note"].encode())
    keys = [parse_public_key(key) for key, _ in vector["signed"]]
    assert [str(key) for key in keys] == [key for key, _ in vector["signed"]]
    assert [[str(one.key), one.at_s] for one in check_signatures(note, reversed(keys))] == vector["signed"]
    assert note.written() == vector["note"]
    if "checkpoint" in vector:
        found = parse_checkpoint_text(note.text)
        assert [found.origin, found.size, found.root.hex()] == vector["checkpoint"]
        assert found.text() == note.text
    for key in keys:
        with pytest.raises(ProofError, match=f"the signature of `{key.name}` is not one of this text"):
            check_signatures(note._replace(text=note.text.replace("e", "3", 1)), [key])


def test_what_others_sign_with_a_key_we_sign_too() -> None:
    peter = next(one for one in FOREIGN if "private" in one)
    key = parse_private_key(peter["private"])
    text = parse_note(peter["note"].encode()).text
    assert Note(text, (key.sign(text),)).written() == peter["note"]
    assert key.written() == peter["private"]
    assert peter["private"][-44:] not in repr(key) and "seed" not in repr(key)


def test_a_checkpoint_is_signed_by_its_log_and_a_witness() -> None:
    log, witness = map(parse_private_key, OURS["private"])
    checkpoint = Checkpoint(OURS["origin"], OURS["size"], bytes.fromhex(OURS["root"]))
    text = checkpoint.text()
    signatures = (log.sign(text), witness.sign(text, at_s=OURS["at_s"]))
    assert Note(text, signatures).written() == OURS["note"]
    found = parse_checkpoint(OURS["note"].encode())
    assert found.checkpoint == checkpoint
    keys = [parse_public_key(OURS[name]) for name in ("log", "witness")]
    assert [(str(one.key), one.at_s) for one in found.signed_by(keys)] == [
        (OURS["log"], None),
        (OURS["witness"], OURS["at_s"]),
    ]
    # A key of the same bytes that is of the other type says nothing of these lines.
    of_other_type = replace(keys[0], type=SignatureType.WITNESS), replace(keys[1], type=SignatureType.LOG)
    assert found.signed_by(of_other_type) == []
    with pytest.raises(ValueError, match="a cosignature has a time"):
        witness.sign(text)


BAD_NOTES = [
    (b"text\n", "a text, an empty line and lines of signatures"),
    (b"text\n\n", "a text, an empty line and lines of signatures"),
    ("text\n\n— a AAAAAAA=".encode(), "a text, an empty line and lines of signatures"),
    (b"text\n\n- a AAAAAAA=\n", "no line of a signature"),
    ("text\n\n— a AAAAAAA\n".encode(), "no line of a signature"),
    ("text\n\n— a AAAAAAB=\n".encode(), "no line of a signature"),
    ("text\n\n— a AAAAAA==\n".encode(), "no line of a signature"),
    ("text\n\n— a+b AAAAAAA=\n".encode(), "`a+b` is no name of a key"),
    ("text\n\n— a\u2003b AAAAAAA=\n".encode(), "no name of a key"),
    ("te\txt\n\n— a AAAAAAA=\n".encode(), "no control characters"),
    (b"\xff\n\n- a AAAAAAA=\n", "UTF-8"),
    (("text\n\n" + "— a AAAAAAA=\n" * 101).encode(), "at most 100 signatures"),
    (b"x" * (1024**2 + 1), "at most 1,048,576 bytes"),
]


@pytest.mark.parametrize(("content", "why"), BAD_NOTES, ids=range(len(BAD_NOTES)))
def test_what_is_no_note_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(ProofError) as refused:
        parse_note(content)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "origin\n", "origin\n1\n", "origin\n01\n{}\n", "origin\n-1\n{}\n", "origin\n1\n{}x\n", "\n1\n{}\n",
             "origin\n1\n{}\n\nmore\n", "origin\n99999999999999999999\n{}\n"],
)  # fmt: skip
def test_what_is_no_checkpoint_is_refused(text: str) -> None:
    with pytest.raises(ProofError):
        parse_checkpoint_text(text.format("XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg="))


def test_lines_below_the_root_are_kept() -> None:
    root = "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg="
    found = parse_checkpoint_text(f"origin\n1\n{root}\nmore\n")
    assert found.extensions == ("more",)
    assert found.text() == f"origin\n1\n{root}\nmore\n"


@pytest.mark.parametrize("text", ["", "x", "example.com/ledger", "example.com/ledger+1c2d3e4f", "a+b+c"])
def test_what_is_no_key_is_told_how_one_is_written(text: str) -> None:
    with pytest.raises(ProofError, match=r"this is no key: one is written as `name\+id\+key`"):
        parse_public_key(text)


@pytest.mark.parametrize("at", range(0, 70, 3))
def test_a_key_with_another_letter_is_refused(at: int) -> None:
    key = OURS["log"]
    with pytest.raises(ProofError):
        parse_public_key(key[:at] + ("B" if key[at] != "B" else "C") + key[at + 1 :])
    with pytest.raises(ProofError):
        parse_public_key(key[:at])
