"""``check``: folders, and kinds of files that are told by their content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import POLICY, CommandLine

from routewright.loading import shipped

SAMPLES = "tasks:\n  - { prompt: hello }\n  - { prompt: again, features: { private: true } }\n"
FOREIGN = {
    "Taskfile.yml": "version: 3\ntasks: { build: { cmds: [make] } }\n",
    "values.yaml": "password: secret\n",
    "list.yaml": "- one\n",
    ".hidden.yaml": "routewright: 1\n",
    "notes.txt": "routewright: 1\n",
}


def folder(command: CommandLine) -> None:
    (command.folder / "all" / "deep").mkdir(parents=True)
    command.write("all/policy.yaml", POLICY)
    command.write("all/deep/samples.yaml", SAMPLES)
    command.write("all/prompts.yaml", shipped("prompts.yaml").read_bytes())
    for name, text in FOREIGN.items():
        command.write(f"all/{name}", text)


def test_a_folder_is_checked_with_all_that_is_routewrights_in_it(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    folder(command)
    ended = command("check", "all")
    assert (ended.code, ended.err) == (0, "")
    lines = [line for line in ended.out.splitlines() if not line.startswith("  limits")]
    assert [line.split(",")[:2] for line in lines] == [
        ["all/deep/samples.yaml: ok", " a file of samples"],
        ["all/policy.yaml: ok", " 2 rules"],
        ["all/prompts.yaml: ok", " a file of prompts"],
    ]
    told = json.loads(command("check", "all", "--format", "json").out)
    assert [next(iter(one)) for one in told] == ["samples", "policy", "prompts"]


def test_a_mapping_of_an_import_is_checked_and_told_from_a_policy(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    mapping = (
        "routewright: 1\nid: id\nfeatures: { hard: hard }\ncalls: [ { model: model, status: status } ]\n"
    )
    command.write("map.yaml", mapping)
    command.write("bad.yaml", mapping.replace("model: model", "modle: model"))
    ended = command("check", "map.yaml", "bad.yaml")
    assert (ended.code, ended.out.splitlines()[0]) == (
        3,
        "map.yaml: ok, a mapping of an import, 1 call for each row, not read",
    )
    assert "bad.yaml:4:12: error[unknown-key]: unknown key `modle`" in ended.out
    run = command("run", "bad.yaml", "hello")
    assert (run.code, run.err.splitlines()[0]) == (
        3,
        "bad.yaml: error[not-a-policy]: this is a mapping of an import, not a policy",
    )
    command.write("rows.csv", "id,model\n1,a\n")
    imported = command("ledger", "import", "table", "rows.csv", "--map", "policy.yaml", "--dry-run")
    assert imported.err.splitlines()[0] == (
        "policy.yaml: error[not-an-import-mapping]: this is a file of the kind `policy`, not a mapping of an import"
    )


def test_what_is_wrong_in_a_folder_is_reported_where_it_is(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    folder(command)
    command.write("all/broken.yaml", POLICY.replace("use: [large]", "use: [lagre]"))
    command.write("all/deep/samples.yaml", SAMPLES + "  - { promt: hello }\n")
    command.write("all/prompts.yaml", "prompts: 1\n")
    ended = command("check", "all")
    assert ended.code == 3
    assert "all/broken.yaml:16:76: error[unknown-model]: unknown model `lagre`" in ended.out
    assert "all/deep/samples.yaml:4:7: error[unknown-key]: unknown key `promt`" in ended.out
    assert "all/prompts.yaml: error[bad-prompts]: prompt `screen` needs a text `user`" in ended.out
    assert "secret" not in ended.out


def test_a_step_that_escalates_to_nobody_is_a_note_and_no_mistake(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    step = "steps: [{ verify: { with: large, on_reject: escalate } }]"
    command.write("policy.yaml", POLICY + f"  - {{ name: last, use: [small], {step} }}\n")
    ended = command("check", "policy.yaml")
    assert ended.code == 0
    assert "note[nobody-to-ask]: `last` has no other model to escalate to" in ended.out


def test_a_folder_without_any_is_refused(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    (tmp_path / "none").mkdir()
    command.write("none/values.yaml", FOREIGN["values.yaml"])
    ended = command("check", "none")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: no policy, catalog or test file in `none`\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SAMPLES, "this is a file of sample tasks, not a policy"),
        ("prompts: 1\n", "this is a file of prompts of steps, not a policy"),
    ],
)
def test_what_is_no_policy_is_said_to_be_what_it_is(tmp_path: Path, text: str, message: str) -> None:
    command = CommandLine(tmp_path)
    command.write("other.yaml", text)
    ended = command("decide", "other.yaml")
    assert (ended.code, message in ended.err) == (3, True)
    foreign = command("decide", command.write("Taskfile.yml", FOREIGN["Taskfile.yml"]))
    assert "error[foreign-file]" in foreign.err
