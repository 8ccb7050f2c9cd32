"""Whatever a rule says of what is done beside the answer counts as another plan."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.command_line import POLICY
from support.replay_ledgers import compiled_text, replay_ledger

from routewright.ledger import Ledger

STEP = "steps: [{ verify: { with: large, on_reject: escalate } }]"
ENSEMBLE = "ensemble: { members: [small, large], combine: consensus_or_override, override: large }"


def _policy(said: str) -> str:
    targets = "use: [small], fallback: [large], reason: small work"
    assert targets in POLICY
    own = f"{said}, reason: small work" if said.startswith("ensemble") else f"{targets}, {said}"
    return POLICY.replace(targets, own)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (STEP, STEP.replace("escalate", "annotate"), "verify by large (on_reject annotate)"),
        (
            STEP,
            STEP.replace("escalate", "escalate, required: true"),
            "verify by large (on_reject escalate, required)",
        ),
        (ENSEMBLE, ENSEMBLE.replace("override: large", "override: small"), "override small"),
        (ENSEMBLE, ENSEMBLE.replace("consensus_or_override, override: large", "first"), "combine first"),
    ],
)
def test_what_changes_the_answer_is_another_plan(tmp_path: Path, before: str, after: str, told: str) -> None:
    path = tmp_path / "ledger.duckdb"
    replay_ledger(path, _policy(before))
    with Ledger.open(path) as ledger:
        report = ledger.replay(compiled_text(_policy(after)), consequences=False)
        same = ledger.replay(compiled_text(_policy(before)), consequences=False)
    assert (same.elsewhere, same.other_plan) == (0, 0)
    assert report.elsewhere == 0
    assert report.other_plan > 0
    assert all(
        told in change.steps_after and told not in change.steps_before for change in report.plan_changes
    )
