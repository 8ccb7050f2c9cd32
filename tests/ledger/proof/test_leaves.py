"""A leaf has the bytes that the page defines, and a row's digest is of its canonical JSON."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from routewright.engine.record.digest import digest_of_values
from routewright.ledger.errors import ProofError
from routewright.ledger.proof.leaf import Kind, Leaf, named_id, parse_leaf, values_digest
from routewright.ledger.proof.merkle import leaf_hash

_FOLDER = Path(__file__).parent / "vectors"
VECTORS: dict[str, Any] = json.loads((_FOLDER / "leaves.json").read_text("utf-8"))
RECORDS: dict[str, Any] = json.loads((_FOLDER / "records.json").read_text("utf-8"))


@pytest.mark.parametrize("vector", VECTORS["leaves"], ids=lambda vector: Kind(vector["kind"]).name)
def test_leaves_have_their_bytes(vector: dict[str, Any]) -> None:
    id, digest = bytes.fromhex(vector["id"]), bytes.fromhex(vector["digest"])
    leaf = Leaf(Kind(vector["kind"]), id, vector["number"], digest)
    assert leaf.encoded().hex() == vector["leaf"]
    assert leaf_hash(leaf.encoded()).hex() == vector["hash"]
    assert parse_leaf(bytes.fromhex(vector["leaf"])) == leaf


def test_digests_of_values() -> None:
    for one in VECTORS["values"]:
        assert values_digest(one["values"]).hex() == one["digest"]
        told = {name: value for name, value in one["values"].items() if value is not None}
        if told.get("cost_nano"):
            told["cost_nano"] = str(told["cost_nano"])
        assert hashlib.sha256(rfc8785.dumps(told)).hexdigest() == one["digest"]
    for one in VECTORS["ids"]:
        assert named_id(one["kind"], one["digest"]).hex() == one["id"]


def test_digests_of_records() -> None:
    assert [digest_of_values(one["record"]) for one in RECORDS["records"]] == [
        one["digest"] for one in RECORDS["records"]
    ]
    first, erased, _ = RECORDS["records"]
    assert first["digest"] == erased["digest"]
    assert first["record"].keys() - {"erased"} == erased["record"].keys() - {"erased"}


def test_a_value_that_is_unknown_adds_nothing() -> None:
    assert values_digest({"a": 1}) == values_digest({"a": 1, "b": None})
    assert values_digest({"a": 2**53}) == values_digest({"a": str(2**53)})
    assert values_digest({"a": 1}) != values_digest({"a": "1"})


@pytest.mark.parametrize(("at", "byte"), [(0, 2), (0, 0), (1, 0), (1, 99)])
def test_leaves_of_other_versions_and_kinds_are_refused(at: int, byte: int) -> None:
    leaf = bytearray(bytes.fromhex(VECTORS["leaves"][0]["leaf"]))
    leaf[at] = byte
    with pytest.raises(ProofError, match="is not known to this version"):
        parse_leaf(bytes(leaf))
    with pytest.raises(ProofError, match="54 bytes, and not 53"):
        parse_leaf(bytes(leaf[:-1]))


SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh") | st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
        SIMPLE
        | FLOATS
        | st.dictionaries(st.text("ab\u00e9\ufb33\U0001f600", max_size=3), st.text("a\u00e9\n\x7f\u2028")),
    )
)
def test_digests_of_any_values_are_of_their_canonical_json(values: dict[str, Any]) -> None:
    told = {
        name: str(value) if type(value) is int and abs(value) >= 2**53 else value
        for name, value in values.items()
        if value is not None
    }
    assert values_digest(values) == hashlib.sha256(rfc8785.dumps(told)).digest()
