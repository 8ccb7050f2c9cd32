"""Records are explained under the digests that they hold, whatever form digests had when they were made.

``recorded`` holds records as an older engine wrote them, with the texts that a ledger keeps under their digests.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from routewright.engine.explain.explanation import explain
from routewright.engine.explain.recomputing import as_recorded, recompute
from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.engine.record.fields import DecisionRecord
from routewright.engine.record.reading import read_record
from routewright.engine.report.errors import RecordError

_KEPT = Path(__file__).parent / "recorded"

RECORDS = [read_record(line) for line in (_KEPT / "records.jsonl").read_text("utf-8").splitlines()]


def policy(text: str | None = None) -> CompiledPolicy:
    catalog = read_catalog((_KEPT / "catalog.yaml").read_text("utf-8"), "catalog.yaml")
    return compile_policy(read_policy(text or _text(), "policy.yaml"), catalog)


def _text() -> str:
    return (_KEPT / "policy.yaml").read_text("utf-8")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.rule)
def test_a_record_with_digests_of_an_older_form_is_explained(record: DecisionRecord) -> None:
    found = policy()
    assert (found.digest, found.catalog.digest) != (record.policy.digest, record.catalog.digest)
    known = as_recorded(found, record)
    assert recompute(known, record).id == record.id
    explanation = explain(known, record)
    assert explanation.record.canonical() == record.canonical()
    assert [rule.name for rule in explanation.rules] == ["judged", "shared", "otherwise"]


def test_a_record_keeps_its_bytes_through_reading() -> None:
    lines = (_KEPT / "records.jsonl").read_text("utf-8").splitlines()
    assert [record.canonical().decode() for record in RECORDS] == lines
    assert any("health_detail" not in line for line in lines), "fields were added since"


def test_taking_a_policy_as_recorded_leaves_it_as_it_was() -> None:
    found = policy()
    digests = found.digest, found.catalog.digest
    recompute(as_recorded(found, RECORDS[0]), RECORDS[0])
    assert (found.digest, found.catalog.digest) == digests


def test_another_digest_is_refused_with_the_way_to_explain_a_recorded_text() -> None:
    with pytest.raises(
        RecordError, match=r"made under the policy sha256:\w+, this one is sha256:\w+"
    ) as raised:
        explain(policy(), RECORDS[0])
    assert raised.value.help is not None and "`as_recorded(policy, record)`" in raised.value.help


def test_another_policy_is_refused_also_as_recorded() -> None:
    other = policy(_text().replace("hard >= 0.5", "hard >= 0.9"))
    with pytest.raises(RecordError, match="decide differently"):
        recompute(as_recorded(other, RECORDS[0]), RECORDS[0])
