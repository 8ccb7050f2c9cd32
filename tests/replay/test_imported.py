"""Imported requests are decided again by features as they came; where several models answered one, sums are exact."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_policy
from routewright.ledger import Consequence, Ledger, LedgerError, ReplayReport, Selection

DATA = Path(__file__).parents[3] / "shared" / "data"

published = pytest.mark.skipif(not DATA.is_dir(), reason="the published data is not beside the project")

MIXTRAL, GPT = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
CLAUDE, GEMINI = "claude-3-haiku-20240307", "gemini-2.0-flash-001"


def two_models(small: str, large: str, rules: str) -> CompiledPolicy:
    """A policy over `small` and `large`, which the logs call so; `when` reads the prompt."""
    return compile_policy(
        read_policy(
            f"""\
routewright: 1
name: by_prompt
catalog:
  routewright: 1
  backends: {{ away: {{ kind: openai, host: "https://models.example" }} }}
  models:
    small: {{ backend: away, aliases: ["{small}"] }}
    large: {{ backend: away, aliases: ["{large}"] }}
features:
  prompt: {{ type: string }}
rules:
{rules}
""",
            "p.yaml",
        )
    )


BY_PROMPT = """\
  - { name: percent, when: "prompt.contains('%') or size(prompt) > 300", use: [large] }
  - { name: rest, use: [small] }
"""
HALF = "  - { name: all, use: [small, large], choose: split, split: { weights: { small: 3, large: 1 } } }"


def is_hard(prompt: str) -> bool:
    return "%" in prompt or len(prompt) > 300


def imported(folder: Path, mapping: str, *files: Path) -> Ledger:
    (folder / "map.yaml").write_text(mapping)
    ledger = Ledger.open(folder / "l.duckdb")
    for file in files:
        assert ledger.import_file("table", file, mapping=folder / "map.yaml").bad == 0
    return ledger


def replayed(
    ledger: Ledger, policy: CompiledPolicy, name: str
) -> tuple[ReplayReport, Callable[[str], Consequence]]:
    report = ledger.replay(policy, Selection(import_name=name))
    return report, {one.name: one for one in report.consequences.metrics}.__getitem__


GSM8K = f"""\
routewright: 1
name: gsm8k
features: {{ prompt: prompt }}
calls:
  - {{ model: {{ value: {MIXTRAL} }}, outcomes: {{ correct: {MIXTRAL} }} }}
  - {{ model: {{ value: {GPT} }}, outcomes: {{ correct: {GPT} }} }}
"""


@published
def test_a_policy_on_prompts_has_exactly_the_accuracy_that_the_file_gives(tmp_path: Path) -> None:
    file = DATA / "routellm" / "gsm8k_responses.csv"
    with file.open(encoding="utf-8", newline="") as opened:
        rows = list(csv.DictReader(opened))
    right = sum(row[GPT if is_hard(row["prompt"]) else MIXTRAL] == "True" for row in rows)
    hard = sum(is_hard(row["prompt"]) for row in rows)
    assert 0 < hard < len(rows)

    ledger = imported(tmp_path, GSM8K, file)
    report, of = replayed(ledger, two_models(MIXTRAL, GPT, BY_PROMPT), "gsm8k")
    assert (report.rows, report.decided) == (len(rows), len(rows))
    assert {move.after: move.rows for move in report.moves} == {"large": hard, "small": len(rows) - hard}
    correct = of("correct")
    assert (correct.known.decisions, correct.known.total) == (len(rows), right)
    assert (correct.after.value, correct.after.verdict) == (right / len(rows), "identified")
    # Nobody routed these requests, and the file knows no costs.
    assert correct.before.total is None
    assert [one.name for one in report.consequences.metrics] == ["correct"]
    assert any("no state" in note for note in report.notes)

    # A split is known in the mean.
    wanted = sum(3 * (row[MIXTRAL] == "True") + (row[GPT] == "True") for row in rows) / 4 / len(rows)
    split = replayed(ledger, two_models(MIXTRAL, GPT, HALF), "gsm8k")[1]("correct")
    assert split.after.value == pytest.approx(wanted, rel=1e-12)
    assert split.after.verdict == "identified"


ARENA = """\
routewright: 1
name: arena
id: global_index
features: { prompt: question }
calls:
  - model: model
    status: { column: success, values: { "true": ok, "false": failed } }
    cost: inference_cost_usd
    currency: { value: USD }
    outcomes: { score: score }
"""


@published
def test_any_policy_of_two_models_has_the_files_exact_sums(tmp_path: Path) -> None:
    files = {model: DATA / "routerarena" / f"{model}.jsonl" for model in (CLAUDE, GEMINI)}
    rows: dict[str, dict[str, Any]] = {
        model: {one["global_index"]: one for one in map(_read, file.read_text().splitlines())}
        for model, file in files.items()
    }
    ledger = imported(tmp_path, ARENA, *files.values())
    for small, large in ((CLAUDE, GEMINI), (GEMINI, CLAUDE)):
        chosen = [rows[large if is_hard(one["question"]) else small][id] for id, one in rows[small].items()]
        report, of = replayed(ledger, two_models(small, large, BY_PROMPT), "arena")
        cost, score, success = of("cost"), of("score"), of("success")
        exact = [one["inference_cost_usd"].quantize(Decimal("1e-9")) for one in chosen]
        assert (cost.known.total, cost.unit) == (sum(exact, Decimal(0)), "USD")
        total = float(sum(Fraction(one["score"]) for one in chosen))
        assert score.known.total == pytest.approx(total, rel=1e-15)
        assert score.after.value == pytest.approx(total / len(chosen), rel=1e-12)
        assert success.known.total == sum(one["success"] for one in chosen)
        assert (report.decided, cost.known.unknown, cost.after.verdict) == (len(chosen), 0, "identified")
        cheapest, best = report.consequences.baselines
        gemini = (("large" if large == GEMINI else "small", 1.0),)
        assert cheapest.shares == best.shares == gemini
        assert cheapest.estimates[0].all.value == pytest.approx(0.03842 / len(chosen), rel=1e-4)
        assert best.estimates[1].all.value == pytest.approx(0.6901, abs=5e-5)


def _read(line: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(line, parse_float=Decimal)
    return found


LOG = """\
routewright: 1
name: log
target: chosen
time: { column: at, unit: s }
session: talk
features: { prompt: prompt }
calls:
  - { model: chosen, total_ms: took, status: { value: ok }, outcomes: { score: score } }
"""


def _log(folder: Path) -> Ledger:
    """Three requests: of the last one the log says no time."""
    lines = [
        "at,talk,prompt,chosen,took,score",
        "1780000000,a,5%,Big,100,1",
        "1780003600,,x,tiny,50,0.5",
        ",,y%,other,9,",
    ]
    (folder / "log.csv").write_text("\n".join(lines) + "\n")
    return imported(folder, LOG, folder / "log.csv")


def test_targets_of_another_router_are_compared_by_the_catalogs_names(tmp_path: Path) -> None:
    ledger = _log(tmp_path)
    report, of = replayed(ledger, two_models("tiny", "Big", BY_PROMPT), "log")
    assert {(move.before, move.after): move.rows for move in report.moves} == {
        ("large", "large"): 1,
        ("small", "small"): 1,
        ("other", "large"): 1,
    }
    assert report.elsewhere == 1
    assert any("other" in note for note in report.notes)
    assert (of("score").kept.total, of("score").kept.decisions) == (1.5, 2)
    assert of("score").after.without_support == pytest.approx(1 / 3)

    # What has no time is not decided by it.
    by_time = two_models("tiny", "Big", '  - { name: night, when: "state.hour < 24", use: [small] }')
    report, _ = replayed(ledger, by_time, "log")
    [why] = report.not_decided
    assert (report.decided, why.reason, why.missing) == (
        2,
        "feature_missing",
        (("the time of the request", 1),),
    )

    with pytest.raises(LedgerError, match="no import `nothing`") as error:
        ledger.replay(by_time, Selection(import_name="nothing"))
    assert "log" in (error.value.help or "")
    with pytest.raises(LedgerError, match="no policy"):
        ledger.replay_self(Selection(import_name="log"))
    with pytest.raises(LedgerError, match="no policy"):
        ledger.replay(None, Selection(import_name="log"))


BOTH = """\
routewright: 1
name: both
features: { prompt: prompt }
calls:
  - { model: { value: A }, outcomes: { correct: a } }
  - { model: { value: B }, outcomes: { correct: b } }
"""


def test_what_no_log_says_is_compared_with_nothing(tmp_path: Path) -> None:
    """Where several models answered each request and none is named as the choice, nobody knows what would change."""
    (tmp_path / "both.csv").write_text("prompt,a,b\n5%,1,0\nx,0,1\n")
    ledger = imported(tmp_path, BOTH, tmp_path / "both.csv")
    report, of = replayed(ledger, two_models("A", "B", BY_PROMPT), "both")
    assert (report.decided, report.unknown_before, report.compared) == (2, 2, 0)
    assert (report.elsewhere, report.elsewhere_share, report.dead_ends_before) == (0, None, 0)
    assert not any(move.is_change for move in report.moves)
    [judged] = report.judge("changed>5%")
    assert judged.failed and "does not say where" in judged.text
    assert of("correct").after.value == 0
    assert not any("prompt" in note for note in report.notes)


def test_an_answer_that_broke_off_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "both.csv").write_text("prompt,a,b\n5%,ok,partial\n6%,ok,ok\nx,lost,ok\ny,skipped,ok\n")
    mapping = BOTH.replace("outcomes: { correct: a }", "status: a").replace(
        "outcomes: { correct: b }", "status: b"
    )
    _, of = replayed(
        imported(tmp_path, mapping, tmp_path / "both.csv"), two_models("A", "B", BY_PROMPT), "both"
    )
    assert (of("success").known.total, of("success").known.unknown) == (1, 1)


def test_a_feature_that_no_imported_request_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "both.csv").write_text("prompt,a,b\n5%,1,0\nx,0,1\n")
    ledger = imported(tmp_path, BOTH.replace("features: { prompt: prompt }\n", ""), tmp_path / "both.csv")
    report, _ = replayed(ledger, two_models("A", "B", BY_PROMPT), "both")
    assert [note for note in report.notes if "prompt" in note] == [
        "no request of the import has a value of prompt, which the candidate reads: it is unknown, or its default; "
        "`features` of a mapping says which column has it"
    ]
