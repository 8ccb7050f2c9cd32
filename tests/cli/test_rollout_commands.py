"""What the commands say of a rollout and of sessions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import POLICY, CommandLine
from support.new_ledgers import new_ledger

from routewright import StateStore, load_policy
from routewright.backends.control import Canaries, CanaryEnd
from routewright.gateway import canary_digests

NEXT = """\
routewright: 1
name: next
catalog: { CATALOG }
features:
  complex_reasoning: { type: boolean, default: false }
  vision_needed: { type: boolean, default: false }
rules:
  - { name: more, when: complex_reasoning || vision_needed, use: [large], fallback: [small], sticky: session }
  - { name: otherwise, use: [small], fallback: [large] }
"""

CANARY = "mode: canary, percent: 10%, key: team, salt: s"
SHADOW = "mode: shadow"
KIMI = ("-f", "complex_reasoning=true")


def with_rollout(folder: Path, mode: str) -> CommandLine:
    command = CommandLine(folder)
    head, _, rest = POLICY.partition("catalog:\n")
    catalog, _, rules = rest.partition("features:\n")
    (folder / "catalog.yaml").write_text("\n".join(line[2:] for line in catalog.splitlines()) + "\n")
    small = rules.replace("use: [large], fallback: [small]", "use: [small]")
    features = f"catalog: catalog.yaml\nfeatures:\n  team: {{ type: string }}\n{small}"
    command.write("policy.yaml", f"{head}{features}rollout: {{ candidate: next.yaml, {mode} }}\n")
    command.write("next.yaml", NEXT.replace("{ CATALOG }", "catalog.yaml"))
    return command


def test_check_says_the_rollout_and_what_the_candidate_leaves_out(tmp_path: Path) -> None:
    ended = with_rollout(tmp_path, CANARY)("check", "policy.yaml")
    assert ended.code == 0
    lines = [line.rpartition(", sha256:")[0] or line for line in ended.out.splitlines()]
    assert lines == [
        "policy.yaml: ok, 2 rules, 2 models",
        "  rollout: canary of next.yaml: 10%, by team",
        "  candidate next.yaml: ok, 2 rules, 2 models",
        "  candidate next.yaml: has no constraint private_stays_here",
        "  limits by default: connect 10s, load 10m, first_token 2m, idle 2m, total 15m, deadline 20m",
    ]
    [said] = json.loads(with_rollout(tmp_path, CANARY)("check", "policy.yaml", "--format", "json").out)
    rollout = said["rollout"]
    assert rollout.pop("digest").startswith("sha256:")
    assert rollout == {
        "mode": "canary",
        "candidate": "next.yaml",
        "share": 0.1,
        "key": "team",
        "abort_when": [],
        "promote_when": [],
        "not_carried_out": [],
        "promises": {"left_out": {"constraint": ["private_stays_here"]}, "changed": {}, "added": {}},
        "other_models": [],
        "quotas_counted_anew": [],
    }


@pytest.mark.parametrize(
    ("part", "other", "changed"),
    [
        ("when: private,", "when: not not private,", ["private_stays_here"]),
        ("== 'local'", "== 'local' || context_length > 8000", ["private_stays_here"]),
        ("private: { type: boolean, default: false }", "private: { type: boolean }", ["private_stays_here"]),
        ("default: false }", "default: false, description: for people }", []),
        ("when: complex_reasoning ||", "when: private ||", []),
        ("require:", "disabled: false, reason: it must, require:", []),
    ],
)
def test_check_names_constraints_that_hold_otherwise_in_the_candidate(
    tmp_path: Path, part: str, other: str, changed: list[str]
) -> None:
    command = with_rollout(tmp_path, SHADOW)
    text = (tmp_path / "policy.yaml").read_text().partition("rollout:")[0]
    assert part in text
    command.write("next.yaml", text.replace(part, other))
    [said] = json.loads(command("check", "policy.yaml", "--format", "json").out)
    changes = {"constraint": changed} if changed else {}
    assert said["rollout"]["promises"] == {"left_out": {}, "changed": changes, "added": {}}
    line = "  candidate next.yaml: changes constraint private_stays_here"
    assert (f"\n{line}: `" in command("check", "policy.yaml").out) == bool(changed)


@pytest.mark.parametrize(
    ("part", "other", "found"),
    [
        ("", "", []),
        ("kind: ollama", "kind: ollama, timeouts: { total: 1m }", []),
        ("kind: ollama", 'kind: ollama, host: "http://192.168.1.20:11434"', ["small", "large"]),
        ("kind: ollama", "kind: ollama, location: cloud", ["small", "large"]),
        ('tag: "qwen3-coder:30b"', 'tag: "qwen3-coder:480b-cloud"', ["small"]),
        ("small: {", 'third: { backend: ollama, tag: "x:1b" }\n  small: {', []),
    ],
)
def test_check_names_models_that_are_others_or_elsewhere_in_the_candidates_catalog(
    tmp_path: Path, part: str, other: str, found: list[str]
) -> None:
    command = with_rollout(tmp_path, SHADOW)
    policy, catalog = ((tmp_path / name).read_text() for name in ("policy.yaml", "catalog.yaml"))
    assert part in catalog
    command.write("other.yaml", catalog.replace(part, other, 1))
    command.write("next.yaml", policy.partition("rollout:")[0].replace("catalog.yaml", "other.yaml"))
    [said] = json.loads(command("check", "policy.yaml", "--format", "json").out)
    assert said["rollout"]["other_models"] == found
    line = f"  candidate next.yaml: another model or place stands behind {', '.join(found)}"
    assert (line in command("check", "policy.yaml").out.splitlines()) == bool(found)


PROMISES = """\
controls:
  - { name: budget, max_cost: 50 USD, per: month, unknown_cost: allow }
  - { name: kept, of: budget, reserve: 20%, for: complex_reasoning }
  - { name: calls, max_requests: 100, per: day, for_each: team }
  - { name: cached, cache_ttl: 1d, cache_by: [team] }
  - { name: a_task, max_cost: 1 USD, per: request, unknown_cost: allow }
assertions:
  - { name: stays, never: private && model.location == 'cloud' }
  - { always: private || true }
"""


@pytest.mark.parametrize(
    ("part", "other", "lines"),
    [
        ("", "", []),
        ("name: budget, max_cost", "description: for people, name: budget, timezone: UTC, max_cost", []),
        ("50 USD", "80 USD", ["changes quota budget"]),
        (", for_each: team", "", ["changes quota calls"]),
        (
            "  - { name: kept, of: budget, reserve: 20%, for: complex_reasoning }\n",
            "",
            ["has no reserve kept"],
        ),
        (
            "for: complex_reasoning",
            "for: private",
            [
                "changes reserve kept: `0.2 of budget when complex_reasoning` before, `0.2 of budget when private` now"
            ],
        ),
        ("cache_by: [team]", "cache_by: []", ["changes limit cache_by"]),
        (", cache_by: [team]", "", ["has no limit cache_by"]),
        ("name: a_task, max_cost: 1 USD", "name: its, max_cost: 1.0 USD", []),
        ("max_cost: 1 USD", "max_cost: 2 USD", ["changes limit max_cost per request"]),
        ("controls:\n", "controls:\n  - { name: more, max_attempts: 9 }\n", ["adds limit max_attempts"]),
        ("'cloud' }", "'cloud' && complex_reasoning }", ["changes assertion stays"]),
        ("  - { always: private || true }\n", "", ["has no assertion always private || true"]),
    ],
)
def test_check_names_each_promise_that_the_candidate_does_not_keep(
    tmp_path: Path, part: str, other: str, lines: list[str]
) -> None:
    command = with_rollout(tmp_path, SHADOW)
    head, _, rollout = (tmp_path / "policy.yaml").read_text().partition("rollout:")
    assert part in PROMISES
    command.write("policy.yaml", f"{head}{PROMISES}rollout:{rollout}")
    command.write("next.yaml", head + PROMISES.replace(part, other, 1))
    said = [line.partition("next.yaml: ")[2] for line in command("check", "policy.yaml").out.splitlines()]
    assert [line for line in said if line and not line.startswith(("ok, ", "not supported"))] == lines


def test_check_says_that_the_candidate_does_not_seal_a_feature(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    for file, declared in (
        ("policy.yaml", "{ type: string, sensitive: true }"),
        ("next.yaml", "{ type: string }"),
    ):
        text = (tmp_path / file).read_text()
        assert "features:\n" in text
        command.write(file, text.replace("features:\n", f"features:\n  who: {declared}\n", 1))
    assert "next.yaml: has no sensitive feature who\n" in command("check", "policy.yaml").out


@pytest.mark.parametrize(
    ("mode", "line"),
    [
        (SHADOW, "  rollout: shadow of next.yaml"),
        ("mode: full", "  rollout: full of next.yaml"),
        ("mode: canary, percent: 0.5%", "  rollout: canary of next.yaml: 0.5%, at random"),
    ],
)
def test_check_says_each_mode(tmp_path: Path, mode: str, line: str) -> None:
    assert with_rollout(tmp_path, mode)("check", "policy.yaml").out.splitlines()[1] == line


def test_check_says_which_quotas_begin_at_zero_with_the_candidate(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, CANARY)
    controls = "controls: [{ name: NAME, max_requests: 3, per: day MORE }]\n"
    policy = (tmp_path / "policy.yaml").read_text()
    for name, more, lines in (
        ("daily", "", ["its quotas count under first in this rollout, and begin at zero by itself, as next"]),
        ("daily", ", scope: machine", []),
        ("weekly", ", scope: machine", ["quota weekly begins at zero: the policy has none of that name"]),
    ):
        command.write("policy.yaml", policy + controls.replace("NAME", "daily").replace("MORE", more))
        candidate = controls.replace("NAME", name).replace("MORE", more)
        command.write("next.yaml", NEXT.replace("{ CATALOG }", "catalog.yaml") + candidate)
        said = [line.strip() for line in command("check", "policy.yaml").out.splitlines()]
        assert [line for line in said if "zero" in line] == [f"candidate next.yaml: {line}" for line in lines]


def test_check_reports_problems_of_the_candidate(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    command.write("next.yaml", (tmp_path / "next.yaml").read_text().replace("use: [small]", "use: [smal]"))
    ended = command("check", "policy.yaml")
    assert ended.code == 3
    assert ended.out.startswith("next.yaml:9:30: error[unknown-model]: unknown model `smal`")


def test_decide_says_where_the_candidate_of_a_shadow_would_have_gone(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    said = command("decide", "policy.yaml", *KIMI).out.splitlines()
    assert said[:3] == [
        "chat: routed to small by rule hard",
        "├── shadow: the candidate next.yaml is decided beside, not executed",
        "│   └── it differs: routed to large by rule more",
    ]
    same = command("decide", "policy.yaml").out.splitlines()
    assert same[2] == "│   └── the same: routed to small by rule otherwise"
    explained = command("decide", "policy.yaml", *KIMI, "--explain", "--format", "markdown").out
    assert "  - it differs: routed to large by rule more" in explained


def test_a_shadow_that_would_check_the_answer_is_not_the_same(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    text = (tmp_path / "next.yaml").read_text()
    command.write("next.yaml", text.replace("fallback: [large] }", "steps: [{ verify: { with: large } }] }"))
    said = command("decide", "policy.yaml").out.splitlines()
    assert said[2:7] == [
        "│   └── the same model by another plan: routed to small by rule otherwise",
        "│       ├── target: small (use)",
        "│       ├── verify with large, on_reject: annotate",
        "│       ├── limits: by default connect 10s, load 10m, first_token 2m, idle 2m, total 15m, deadline 20m",
        "│       └── not known, and passed: whether the prompt fits, health",
    ]
    command.write("tasks.jsonl", "{}\n")
    table = command("decide", "policy.yaml", "--tasks", "tasks.jsonl").out.splitlines()
    assert table[2].endswith("small, by another plan")
    ended = command("run", "policy.yaml", "hello", "--simulate")
    assert " | shadow: the same model, another plan | " in ended.err.splitlines()[-1]


def test_both_records_of_a_shadow_are_json_the_executed_one_first(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    lines = command("decide", "policy.yaml", *KIMI, "--format", "jsonl").out.splitlines()
    array = json.loads(command("decide", "policy.yaml", *KIMI, "--format", "json").out)
    for control, shadow in (map(json.loads, lines), array):
        assert (control["arm"]["arm"], control["target"]) == ("control", "small")
        assert (shadow["arm"]["arm"], shadow["target"]) == ("candidate", "large")


def test_decide_says_the_arm_and_shows_the_other(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, CANARY)
    says = "├── canary: 10% of tasks go to the candidate next.yaml; "
    picked = command("decide", "policy.yaml", *KIMI, "-f", "team=research").out.splitlines()
    assert picked[0] == "chat: routed to small by rule hard"
    assert picked[1].startswith(f"{says}team=research falls at 0.") and picked[1].endswith(": control")
    other = command("decide", "policy.yaml", *KIMI, "--arm", "candidate", "--format", "json")
    record = json.loads(other.out)
    assert (record["target"], record["policy"]["name"], record["arm_point"]) == ("large", "next", None)
    tree = command("decide", "policy.yaml", *KIMI, "--arm", "candidate").out.splitlines()
    assert tree[1] == f"{says}candidate, as asked for"


def test_a_feature_of_the_candidate_alone_is_read_as_it_declares_it(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    said = command("decide", "policy.yaml", "-f", "vision_needed=true").out.splitlines()
    assert said[2] == "│   └── it differs: routed to large by rule more"
    assert command("decide", "policy.yaml", "-f", "vision_needed=perhaps").code == 2


def test_without_a_rollout_no_arm_can_be_asked_for(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("decide", "policy.yaml", "--arm", "candidate")
    assert (ended.code, ended.err) == (
        2,
        "error: policy `first` has no rollout, so there is no `candidate`\n",
    )


def test_a_table_of_tasks_has_the_arm_and_the_candidate(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    command.write("tasks.jsonl", '{"features": {"complex_reasoning": true}}\n{}\n')
    lines = command("decide", "policy.yaml", "--tasks", "tasks.jsonl").out.splitlines()
    assert lines[0].split()[-2:] == ["arm", "candidate"]
    assert [line.split()[-2:] for line in lines[2:]] == [["control", "large"], ["control", "small"]]
    plain = command("decide", "next.yaml", "--tasks", "tasks.jsonl").out.splitlines()
    assert plain[0].split() == ["task", "target", "rule", "fallbacks"]


@pytest.mark.parametrize(
    ("mode", "part"),
    [
        (SHADOW, "shadow: large"),
        ("mode: canary, percent: 100%", "candidate (canary 100%)"),
        ("mode: canary, percent: 0%", "control (canary 0%)"),
        ("mode: full", "candidate (full)"),
    ],
)
def test_run_ends_with_the_arm_in_its_line(tmp_path: Path, mode: str, part: str) -> None:
    ended = with_rollout(tmp_path, mode)("run", "policy.yaml", "hello", *KIMI, "--simulate")
    assert ended.code == 0
    assert f" | {part} | " in ended.err.splitlines()[-1]


def test_a_session_is_kept_from_one_run_to_the_next(tmp_path: Path) -> None:
    """The first answer comes from the fallback; the rule's own model is well again, and the session is none of its."""
    command = with_rollout(tmp_path, "mode: full")
    run = ("run", "policy.yaml", "hello", *KIMI, "--simulate", "--state", "state.sqlite", "--session", "s1")
    assert command(*run).code == 0
    found = command("ledger", "sql", "SELECT session_id, target FROM decision_records", "--format", "csv").out
    assert found == "session_id,target\ns1,large\n"
    command(*run)
    record = json.loads(command("ledger", "show", "--format", "json").out)["record"]
    assert (record["choice"]["session"], record["state"]["session_model"]) == ("kept", "large")


def test_tail_tells_a_shadow_from_what_was_not_executed(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, SHADOW)
    command("run", "policy.yaml", "hello", *KIMI, "--simulate")
    lines = command("ledger", "tail").out.splitlines()[2:]
    assert sorted(line.split()[-1] if "shadow" in line else "ok" for line in lines) == ["ok", "shadow"]


# --- the rule that ends a canary -----------------------------------------------------------------------------

ENDING = (
    "mode: canary, percent: 10%, abort_when: [{ metric: success, is: below, plus: -0.02 }], "
    "promote_when: [{ metric: cost, is: below, times: 0.9 }, { metric: latency_ms, is: below, times: 2, plus: 100 }]"
)


def test_check_says_what_ends_a_canary(tmp_path: Path) -> None:
    lines = with_rollout(tmp_path, ENDING)("check", "policy.yaml").out.splitlines()
    assert lines[1:4] == [
        "  rollout: canary of next.yaml: 10%, at random",
        "  rollout: aborted when success below the control's less 0.02",
        "  rollout: promoted when cost below 0.9 times the control's and "
        "latency_ms below 2 times the control's plus 100",
    ]


def test_a_canary_that_has_ended_is_shown_and_begun_anew(tmp_path: Path) -> None:
    command = with_rollout(tmp_path, ENDING)
    policy = load_policy(tmp_path / "policy.yaml")
    digests = canary_digests(policy)
    assert digests is not None
    canaries = Canaries(StateStore(tmp_path / "s.db"))
    new_ledger(tmp_path / "l.duckdb")
    where = ("--ledger", "l.duckdb", "--state", "s.db")
    goes_on = command("rollout", "policy.yaml", *where)
    assert (goes_on.code, goes_on.out.splitlines()[2:5]) == (
        0,
        [
            "canary: 10% of tasks go to the candidate next.yaml",
            "0 decisions of the control, 0 decisions of the candidate",
            "keep going: not sure yet: success below the control's less 0.02; cost below 0.9 times the control's; "
            "latency_ms below 2 times the control's plus 100",
        ],
    )
    assert canaries.claim_look(*digests, at_us=1_000_000, every_us=1)
    assert canaries.end(*digests, CanaryEnd("abort", "the reason", 1_000_000), since_us=0)
    ended = command("rollout", "policy.yaml", *where)
    assert ended.code == 1
    assert ended.out.splitlines()[4] == (
        "1970-01-01T00:00:01Z: the canary of policy `first` was aborted: the control executes all tasks, "
        "as this is sure: the reason"
    )
    said = json.loads(command("rollout", "policy.yaml", "--format", "json", *where).out)
    assert said["ended"] == {"verdict": "abort", "reason": "the reason", "at": "1970-01-01T00:00:01Z"}
    anew = command("rollout", "policy.yaml", "--reset", *where)
    assert anew.code == 0 and " since 20" in anew.out
    assert canaries.get(*digests).end is None and canaries.get(*digests).since_us > 1_000_000


def test_what_is_simulated_is_told_and_not_counted_and_before_the_first_task_nothing_is(
    tmp_path: Path,
) -> None:
    command = with_rollout(tmp_path, ENDING)
    before = command("rollout", "policy.yaml")
    assert before.code == 0
    assert before.err == f"nothing is recorded yet: there is no ledger at `{command.ledger}`\n"
    assert command("rollout", "policy.yaml", "--ledger", "none.duckdb").code == 6
    assert command("run", "policy.yaml", "hello", "--simulate", "--quiet").code == 0
    after = command("rollout", "policy.yaml")
    assert (after.code, after.out) == (0, before.out)
    assert "\n0 decisions of the control, 0 decisions of the candidate\n" in after.out
    assert after.err == "1 simulated decision is not counted: a canary is judged by real work\n"
    assert json.loads(command("rollout", "policy.yaml", "--format", "json").out)["simulated"] == 1


def test_a_policy_without_a_rule_has_nothing_to_show(tmp_path: Path) -> None:
    ended = with_rollout(tmp_path, CANARY)("rollout", "policy.yaml")
    assert (ended.code, ended.err.splitlines()[0]) == (
        2,
        "error: policy `first` has no canary that ends by itself",
    )
