"""``replay``: what a changed policy would have made of recorded work, as text, Markdown, JSON and HTML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.command_line import POLICY, CommandLine
from support.executed_ledgers import SPLIT, split_ledger
from support.pages import ROOT
from support.replay_ledgers import compiled_text, replay_ledger
from syrupy.assertion import SnapshotAssertion

from routewright.cli.page import Detail, Page, Section
from routewright.cli.page_markdown import page_markdown
from routewright.cli.replay_page import replay_page
from routewright.cli.replay_sections import Extent
from routewright.cli.shown import Shown
from routewright.engine.report import ReportTree
from routewright.ledger import Ledger, ReplayReport, Selection, parse_check
from routewright.loading import load_policy

CANDIDATE = (
    POLICY.replace("context_length > 30000", "context_length > 8000")
    .replace(
        "require: model.location == 'local'",
        "require: model.location == 'local' && !has(model.context_length)",
    )
    .replace("use: [small], fallback: [large], reason: small work", "use: [small], reason: small work")
)
"""Long prompts go to the large model, what is private to none, and short ones have no fallback any more."""


EXTENT = Extent(rows=9, examples=9, matrix=False)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    command = CommandLine(tmp_path_factory.mktemp("replay"))
    command.ledger.parent.mkdir(parents=True)
    replay_ledger(command.ledger, POLICY)
    command.write("next.yaml", CANDIDATE)
    feature = "  private: { type: boolean, default: false }\n"
    more = POLICY.replace(feature, f"{feature}  urgent: {{ type: boolean }}\n")
    command.write("urgent.yaml", more.replace("complex_reasoning || context", "urgent || context"))
    return command


@pytest.fixture(scope="module")
def report(command: CommandLine) -> ReplayReport:
    with Ledger.open(command.ledger) as ledger:
        return ledger.replay(load_policy(command.folder / "next.yaml"))


def test_the_report_says_what_goes_elsewhere_and_why(
    command: CommandLine, snapshot: SnapshotAssertion
) -> None:
    ended = command("replay", "next.yaml", "--fail-on", "changed>60%")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == snapshot


def test_a_comment_has_the_same_in_markdown(command: CommandLine, snapshot: SnapshotAssertion) -> None:
    ended = command("replay", "next.yaml", "--format", "markdown")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == snapshot


def test_a_policy_that_decides_alike_changes_nothing(command: CommandLine) -> None:
    ended = command("replay", "policy.yaml")
    assert "nothing changes: all 40 decisions keep the rule, target, fallbacks and steps\n" in ended.out
    assert len(ended.out.splitlines()) == 6


@pytest.mark.parametrize(
    ("bound", "fails"),
    [
        ("changed>50%", None),
        ("changed>49.9%", "20 of 40 go elsewhere (50 %)"),
        ("changed >= 20", "20 of 40 go elsewhere (50 %)"),
        ("changed>20", None),
        ("no_target>0", "10 of 40 had a target and have none (25 %)"),
        ("other_plan<=10", "10 of 40 keep the target with another plan (25 %)"),
        ("not_decided>0", None),
    ],
)
def test_a_bound_compares_decisions(report: ReplayReport, bound: str, fails: str | None) -> None:
    [judged] = report.judge(bound)
    assert (judged.expression, judged.failed) == (bound, fails is not None)
    assert fails in (None, judged.text)


def test_a_bound_that_is_passed_makes_the_status_1(command: CommandLine) -> None:
    bounds = ("--fail-on", "changed>20", "--fail-on", "no_target>0")
    ended = command("replay", "next.yaml", *bounds, "--format", "json", "--no-consequences")
    assert ended.code == 1
    assert [one["failed"] for one in json.loads(ended.out)["checks"]] == [False, True]
    assert ended.err == "failed: no_target>0: 10 of 40 had a target and have none (25 %)\n"


def test_what_cannot_be_judged_fails(command: CommandLine) -> None:
    ended = command("replay", "next.yaml", "--since", "2030-01-01", "--fail-on", "changed>5%")
    assert ended.code == 1
    assert "failed: changed>5%: cannot be judged: no decision was selected\n" in ended.err


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (
            "chnaged>5%",
            "`chnaged>5%` is not a bound to fail on: `chnaged` is not known\n  = help: did you mean `changed`? ",
        ),
        (
            "no-target>0",
            "`no-target>0` is not a bound to fail on: `no-target` is not known\n  = help: did you mean `no_target`",
        ),
        ("cost>5", "`cost>5` has no unit: cost is compared in percent\n  = help: write `cost>5%`\n"),
        (
            "changed>5 percent",
            "`changed>5 percent` is not a bound to fail on\n  = help: write `changed>5%`\n",
        ),
        (
            "success < -1 points",
            "`success < -1 points` is not a bound to fail on\n  = help: write `success<-1%`\n",
        ),
        (
            "changed=5%",
            "`changed=5%` is not a bound to fail on\n  = help: a name, one of >, >=, <, <=, and a number, with `%` for "
            "a share: `changed>5%`\n",
        ),
        (">5%", "`>5%` is not a bound to fail on\n  = help: a name, one of >, >=, <, <=, and a number, "),
    ],
)
def test_a_wrong_bound_is_told_before_anything_is_read(
    command: CommandLine, bound: str, message: str
) -> None:
    ended = command("replay", "nowhere.yaml", "--ledger", "nowhere.duckdb", "--fail-on", bound)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")


def test_the_report_says_what_comes_of_each_assumption(
    command: CommandLine, snapshot: SnapshotAssertion
) -> None:
    flags = (
        "--assume",
        "small=down",
        "--assume",
        "price:small=1,2",
        "--each",
        "--examples",
        "0",
        "--no-consequences",
    )
    ended = command("replay", *flags)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == snapshot
    assert (
        "\n├── assumed: chat: routed to large by rule otherwise\n"
        in command("replay", *flags[:2], "--no-consequences").out
    )
    told = json.loads(command("replay", "next.yaml", *flags, "--format", "json").out)
    assert told["assumed"] == ["small=down", "price:small=1,2"]
    assert told["candidate"]["digest"] != compiled_text(CANDIDATE).digest
    assert [one["new_dead_ends"] for one in told["alone"]] == [10, 20, 10]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--assume", "smal=down"],
            "error: cannot assume `smal=down`: unknown model or backend `smal`\n  | smal=down\n  | ^^^^\n"
            "  = help: did you mean `small`? in the catalog: large, ollama, small\n",
        ),
        (["next.yaml", "--each"], "error: --each is about what --assume says\n"),
        ([], "error: name a candidate policy, or give --assume or --self\n"),
        (
            ["--self", "--assume", "small=down"],
            "error: --self compares with what was recorded: it takes no --assume\n",
        ),
    ],
)
def test_what_cannot_be_assumed_is_a_mistake_of_the_command(
    command: CommandLine, flags: list[str], message: str
) -> None:
    ended = command("replay", *flags)
    assert (ended.code, ended.out, ended.err) == (2, "", message)


def test_one_replay_writes_several_files(command: CommandLine) -> None:
    files = ("c.md", "c.html", "c.json", "c.txt")
    options = [word for name in files for word in ("-o", name)]
    assert command("replay", "next.yaml", "--no-consequences", *options).code == 0
    texts = {name: (command.folder / name).read_text(encoding="utf-8") for name in files}
    assert texts["c.md"].startswith("### Replay under first\n")
    assert texts["c.html"].startswith("<!DOCTYPE html>")
    assert json.loads(texts["c.json"])["elsewhere"] == 20
    assert texts["c.txt"].startswith("Replay under first\ncandidate: first sha256:")
    again = command("replay", "next.yaml", "-o", "c.md")
    assert (again.code, again.err.splitlines()[0]) == (2, "error: `c.md` is there already")
    unnamed = command("replay", "next.yaml", "-o", "comment")
    assert unnamed.err.startswith("error: the name of `comment` does not say what form it has\n")
    assert not Path(command.folder, "comment").exists()


def test_a_mistake_in_the_condition_is_shown_at_its_place(command: CommandLine) -> None:
    ended = command("replay", "next.yaml", "--where", "outcome = 'routed'\n  AND matched_role = 'hard'")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[:3] == [
        "where:2:7: error[sql]: referenced column `matched_role` not found in FROM clause",
        "  |   AND matched_role = 'hard'",
        "  |       ^^^^^^^^^^^^",
    ]
    assert "help: candidate bindings: `matched_rule`, " in ended.err


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("false) OR (true", "where:1:6: error[sql]: syntax error at or near `)`\n"),
        ("false) UNION SELECT decision_id FROM (SELECT * FROM decision_rows WHERE true", "near `)`\n"),
        ("true); SELECT (true", "error: a condition is one expression in SQL"),
        ("true, true", "near `,`\n"),
        (
            "team =\n 'a' OR",
            "where:2:8: error[sql]: the condition ends within an expression\n  |  'a' OR\n  |        ^\n",
        ),
        ("true ORDER BY 1", "near `ORDER`\n"),
        ("  ", "error: a condition is one expression in SQL, such as `team = 'research'`\n"),
    ],
)
def test_a_condition_is_one_expression(command: CommandLine, condition: str, message: str) -> None:
    ended = command("replay", "next.yaml", "--where", condition)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


@pytest.mark.parametrize("share", ["0%", "500%", "nan", "-1%", "5 percent"])
def test_a_share_is_above_0_and_at_most_all(command: CommandLine, share: str) -> None:
    ended = command("replay", "next.yaml", f"--sample={share}")
    assert (ended.code, ended.err.splitlines()[0]) == (2, f"error: `{share}` is not a share")


def test_a_sample_is_told_in_percent(report: ReplayReport) -> None:
    page = replay_page(replace(report, selection=Selection(sample=0.025)), [], EXTENT, None)
    assert "a sample of 2.5 % of them" in page.facts


def test_plans_that_differ_alike_are_one_row(report: ReplayReport) -> None:
    [change] = report.plan_changes
    other = replace(change, fallbacks_before=("third", *change.fallbacks_before), fallbacks_after=("third",))
    page = replay_page(replace(report, plan_changes=(change, other)), [], EXTENT, None)
    [section] = [one for one in page.sections if one.title == "What keeps its target with another plan"]
    assert section.shown is not None
    [row] = section.shown.rows
    assert row[:3] == ["small", "fallbacks: without large", "20"]


def test_an_example_with_nothing_to_tell_is_an_id_alone(report: ReplayReport) -> None:
    [change] = report.plan_changes
    bare = [replace(one, recorded=None, candidate=None) for one in change.examples]
    page = replay_page(
        replace(report, plan_changes=(replace(change, examples=tuple(bare)),)), [], EXTENT, None
    )
    [section] = [one for one in page.sections if one.title == "What keeps its target with another plan"]
    assert section.shown is not None
    assert section.details == []
    assert section.shown.rows[0][-1] == bare[0].decision_id


def test_a_selection_bounds_what_is_replayed(command: CommandLine) -> None:
    flags = (
        "--since",
        "2026-01-01T09:10:00",
        "--until",
        "2026-01-01T09:20:00",
        "--where",
        "matched_rule = 'hard'",
    )
    out = command("replay", "next.yaml", *flags, "--no-consequences", "--timezone", "Asia/Tokyo").out
    assert "decided between 2026-01-01 09:10:00 Asia/Tokyo and 2026-01-01 09:19:00 Asia/Tokyo\n" in out
    assert "only where matched_rule = 'hard'\n" in out
    assert "3 of 6 decisions would go elsewhere" in out


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (
            ["--until", "2025-01-01"],
            "note: the ledger has 40 such decisions, but none that was made in this time\n",
        ),
        (["--simulated"], "note: the ledger has no simulated work, and 40 real decisions"),
    ],
)
def test_an_empty_selection_says_why(command: CommandLine, flags: list[str], why: str) -> None:
    ended = command("replay", "next.yaml", *flags)
    assert ended.code == 0
    assert ended.out.endswith("\n\nno decision was selected\n")
    assert ended.err.startswith(why)


def test_what_is_sensitive_is_in_no_report(tmp_path: Path) -> None:
    """A report is handed on, and nothing is ever erased from it."""
    command = CommandLine(tmp_path)
    secret = POLICY.replace("features:\n", "features:\n  who: { type: string, sensitive: true }\n")
    command.write("policy.yaml", secret)
    by_name = "when: has(who), use: [large]"
    command.write("next.yaml", secret.replace("rules:\n", f"rules:\n  - {{ name: named, {by_name} }}\n", 1))
    given = ("--feature", "who=Quxiolani", "--simulate", "--quiet")
    assert command("run", "policy.yaml", "hello", *given).code == 0
    for form in ("text", "json", "markdown", "html"):
        ended = command("replay", "next.yaml", "--simulated", "--format", form)
        assert "who is sensitive" in ended.out and "Quxiolani" not in ended.out


def test_of_nothing_there_is_nothing_to_know(command: CommandLine) -> None:
    """The shipped policy has quotas, a cache and a split, of which a replay of something would say how they count."""
    shipped = Path(__file__).parents[2] / "policies" / "hybrid.yaml"
    ended = command("replay", str(shipped), "--root", str(shipped.parent), "--since", "2030-01-01")
    assert len(ended.err.splitlines()) == 1


def test_work_that_is_simulated_is_named_where_there_is_no_other(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    replay_ledger(tmp_path / "l.duckdb", POLICY, 1, simulated=True)
    for what in ("policy.yaml", "--self"):
        ended = command("replay", what, "--ledger", "l.duckdb")
        told = "note: the ledger has no real work, and 1 simulated decision, which --simulated replays\n"
        assert ended.err == told


def test_what_cannot_be_decided_again_is_counted_with_what_can_be_done(command: CommandLine) -> None:
    ended = command("replay", "urgent.yaml", "--fail-on", "not_decided>50%", "--fail-on", "changed>0")
    assert ended.code == 1
    assert ended.out.splitlines()[5] == "none of 40 decisions could be decided again"
    assert "  feature `urgent` (40)  " in ended.out
    assert "help: give the feature a default, " in ended.out
    assert ended.err.splitlines() == [
        "failed: not_decided>50%: 40 of 40 could not be decided again (100 %)",
        "failed: changed>0: cannot be judged: no decision could be decided again",
    ]


def test_a_report_tells_changed_promises_that_no_count_shows(command: CommandLine) -> None:
    command.write("promise.yaml", POLICY.replace("when: private, req", "when: private && private, req"))
    out = command("replay", "promise.yaml").out
    assert "nothing changes: " in out
    before = "when private require model.location == 'local'"
    now = before.replace("private", "private && private")
    assert out.endswith(f"changes constraint private_stays_here: `{before}` before, `{now}` now\n")


def test_self_has_no_report(command: CommandLine) -> None:
    assert command("replay", "--self").out == "40 decisions made again: 0 differences\n"
    ended = command("replay", "--self", "--fail-on", "changed>0")
    assert (ended.code, ended.out) == (2, "")


LONG = "<script>|`*_[x](y) @org/team #1 www.x.example ~~ $x$ -->\x1b[31m\u202e" * 150


def test_a_comment_fits_whatever_it_tells() -> None:
    tree = ReportTree(LONG, [ReportTree(LONG) for _ in range(20)])
    detail = Detail(LONG, [tree, tree], "routewright ledger show 0")
    rows = [[LONG, LONG, "1"] for _ in range(15)]
    section = Section("s", LONG, LONG, Shown([LONG, "to", "n"], rows, []), lines=[LONG], details=[detail] * 9)
    text = page_markdown(Page(LONG, [LONG] * 5, [LONG], [section] * 9, [LONG, LONG]))
    assert 40_000 < len(text.encode()) <= 65_536
    assert text.count("<details>") == text.count("</details>") > 0
    assert text.endswith("_More does not fit into a comment: another form of this report has all of it._\n")
    # Escaped signs, and entities of the lines that are HTML, do nothing; a comment parts what would be a reference.
    for line in text.splitlines():
        summary = line.startswith("<details>")
        bare = re.sub(r"<details><summary>|</summary>|</details>|<!-- -->", " ", line)
        bare = re.sub(r"&[a-z]+;" if summary else r"\\.", "", bare)
        assert re.findall(r"@\w|#\d|<|www\.|\x1b|\u202e" + ("" if summary else r"|\]\(|`\*"), bare) == []
    for line in text.splitlines():
        if line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 4, line


def test_the_page_names_every_key_of_the_json(
    command: CommandLine, report: ReplayReport, large: ReplayReport
) -> None:
    page = (ROOT / "docs" / "replay.md").read_text(encoding="utf-8")
    ended = command(
        "replay", "urgent.yaml", "--fail-on", "changed>0", "--format", "json", "--no-consequences"
    )
    values = [json.loads(ended.out), report.values(), large.values()]
    assert {name for name in keys_of(values) if f"`{name}`" not in page} == set()


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from keys_of(one)


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A ledger of a policy that leaves the model to chance, and two candidates that do not."""
    command = CommandLine(tmp_path_factory.mktemp("split"))
    command.ledger.parent.mkdir(parents=True)
    split_ledger(command.ledger, compiled_text(SPLIT), 600)
    head, _, _ = SPLIT.partition("rules:")
    command.write("large.yaml", f"{head}rules:\n  - {{ name: all, use: [large] }}\n")
    command.write("other.yaml", f"{head}rules:\n  - {{ name: all, use: [huge] }}\n")
    return command


def test_the_report_says_what_it_would_have_cost(split: CommandLine, snapshot: SnapshotAssertion) -> None:
    ended = split("replay", "large.yaml", "--examples", "0", "--format", "markdown")
    section = ended.out.partition("#### What it would")[2].partition("####")[0]
    assert section == snapshot


@pytest.mark.parametrize(
    ("bound", "failed"),
    [
        ("cost>+10%", "cost in USD changes by +?.? %, from ? to 3"),
        ("cost>+200%", None),
        ("cost<+10%", None),
        ("latency>+0%", None),
        ("success<-1%", None),
        ("success<=0%", "success changes by +0 points, from 1 to 1"),
    ],
)
def test_a_bound_may_be_on_what_comes_of_it(large: ReplayReport, bound: str, failed: str | None) -> None:
    [judged] = large.judge(bound)
    assert judged.failed == (failed is not None)
    if failed is not None:
        assert re.fullmatch(re.escape(failed).replace("\\?", "[0-9.]*"), judged.text), judged


@pytest.fixture(scope="module")
def large(split: CommandLine) -> ReplayReport:
    with Ledger.open(split.ledger) as ledger:
        return ledger.replay(load_policy(split.folder / "large.yaml"))


@pytest.mark.parametrize("asked", [True, False])
def test_a_bound_on_what_nobody_knows_fails(split: CommandLine, asked: bool) -> None:
    with Ledger.open(split.ledger) as ledger:
        report = ledger.replay(load_policy(split.folder / "other.yaml"), consequences=asked)
    [judged] = report.judge("cost>+500%")
    why = "cost in USD (not identified): " if asked else "nothing of the kind was measured, or "
    assert judged.failed and judged.text.startswith(f"cannot be judged: {why}")


def test_an_example_was_recorded_as_its_change_says(command: CommandLine) -> None:
    rules = "rules:\n  - { name: all, use: [large] }\n"
    # For this candidate all tasks are one class, which was recorded with several plans.
    candidate = compiled_text(POLICY.partition("constraints:")[0] + rules)
    with Ledger.open(command.ledger) as ledger:
        report = ledger.replay(candidate, consequences=False)
        found = {
            (move.before, ledger.find(example.decision_id).record.target)
            for move in report.moves
            for example in move.examples
        }
        told = [example for move in report.moves for example in move.examples]
    assert {before for before, _ in found} == {"small"} and all(before == target for before, target in found)
    assert {one.recorded.label for one in told if one.recorded} == {
        "chat: routed to small by rule hard",
        "chat: routed to small by rule otherwise",
    }
    assert all(one.candidate and one.candidate.label == "chat: routed to large by rule all" for one in told)


def test_a_bound_on_what_is_known_of_a_part_alone_fails(large: ReplayReport) -> None:
    [cost, *_] = large.consequences.metrics
    part = replace(
        cost, after=replace(cost.after, verdict="partially identified", reason="some is not known")
    )
    [whole, judged] = [parse_check("cost>+500%").judge_change([one], "") for one in (cost, part)]
    assert (whole.failed, judged.failed, judged.value) == (False, True, None)
    assert judged.text == "cannot be judged: cost in USD (partially identified): some is not known"


BENCHMARK = """\
routewright: 1
name: bench
id: n
calls:
  - model: model
    status: { value: ok }
    cost: cost
    currency: { value: USD }
    outcomes: { score: score }
"""


def test_a_benchmark_is_told_without_what_no_log_says(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    command = CommandLine(tmp_path)
    command.write("bench.yaml", BENCHMARK)
    models = (("large", 0.125, 1), ("small", 0.0625, 0.5))
    rows = [f"{n},{model},{cost},{score}\n" for model, cost, score in models for n in range(120)]
    command.write("bench.csv", "n,model,cost,score\n" + "".join(rows))
    assert command("ledger", "import", "table", "bench.csv", "--map", "bench.yaml").code == 0
    assert command("replay", "policy.yaml", "--import", "bench").out == snapshot
    judged = command("replay", "policy.yaml", "--import", "bench", "--fail-on", "cost>+10%")
    why = "cannot be judged: cost in USD: the log does not say what was done before"
    assert (judged.code, f"failed: cost>+10%: {why}\n" in judged.err) == (1, True)


def test_imported_requests_are_chosen_by_a_feature(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("bench.yaml", f"{BENCHMARK}features: {{ level: {{ column: score, type: number }} }}\n")
    rows = [f"{n},large,1,{n}\n" for n in range(5)]
    command.write("bench.csv", "n,model,cost,score\n" + "".join(rows))
    assert command("ledger", "import", "table", "bench.csv", "--map", "bench.yaml").code == 0
    replay = ("replay", "policy.yaml", "--import", "bench", "--where")
    refused = command(*replay, "features.complexity > 2").err
    [condition] = re.findall("`(decision_id IN .*)`", refused)
    chosen = command(*replay, condition.replace("complexity", "level").replace("0.7", "2"))
    assert "recorded under: import bench, 2 decisions\n" in chosen.out
