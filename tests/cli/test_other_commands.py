"""``check``, ``eval``, ``models``, ``schema``, ``ledger`` and what all commands have in common."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import typer
from support.command_line import HYBRID, POLICY, CommandLine
from support.ledger_rows import attempt, broken, decision
from support.new_ledgers import new_ledger
from syrupy.assertion import SnapshotAssertion
from typer.main import get_command

from routewright.cli import app
from routewright.ledger import Ledger
from routewright.loading.loading import shipped


def command_paths() -> list[tuple[str, ...]]:
    """The words that lead to each command and group."""
    found: list[tuple[str, ...]] = []

    def walk(command: object, path: tuple[str, ...]) -> None:
        found.append(path)
        for name, child in getattr(command, "commands", {}).items():
            walk(child, (*path, name))

    assert isinstance(app, typer.Typer)
    walk(get_command(app), ())
    return found


# --- help --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", command_paths(), ids=" ".join)
def test_the_help_of_every_command_has_an_example(tmp_path: Path, path: tuple[str, ...]) -> None:
    # The whole texts are in docs/cli.md, which is compared with the program.
    ended = CommandLine(tmp_path)(*path, "--help")
    assert (ended.code, ended.err) == (0, "")
    if path not in ((), ("ledger",)):
        assert f"Example:\n    routewright {' '.join(path)}" in ended.out


@pytest.mark.parametrize("path", [(), ("ledger",)], ids=" ".join)
def test_without_a_command_the_help_is_shown_as_a_mistake(tmp_path: Path, path: tuple[str, ...]) -> None:
    command = CommandLine(tmp_path)
    ended = command(*path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == command(*path, "--help").out


def test_a_misspelt_command_gets_a_hint(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("deicde")
    assert (ended.code, ended.out) == (2, "")
    assert "no such command 'deicde'. Did you mean 'decide'?" in ended.err


# --- check -------------------------------------------------------------------------------------------------

BROKEN = POLICY.replace("use: [large]", "use: [lagre]").replace("when: private,", "when: privat,")


def test_check_shows_all_problems_of_all_files(tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    command = CommandLine(tmp_path)
    command.write("broken.yaml", BROKEN)
    command.write("binary.yaml", bytes(range(256)))
    command.write("nowhere.yaml", "routewright: 1\nname: x\ncatalog: .\nrules: [{ name: a, use: [m] }]\n")
    ended = command("check", "broken.yaml", "binary.yaml", "none.yaml", "nowhere.yaml", "policy.yaml")
    assert (ended.code, ended.err) == (3, "")
    assert ended.out.split("policy.yaml: ok")[0] == snapshot
    assert "policy.yaml: ok, 2 rules, 2 models, sha256:" in ended.out


def test_check_as_json_holds_every_problem_with_its_place(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("broken.yaml", BROKEN)
    ended = command("check", "policy.yaml", "broken.yaml", "--format", "json")
    assert (ended.code, ended.err) == (3, "")
    fine, broken = json.loads(ended.out)
    waits = fine.pop("defaults_ms")
    assert fine == {"policy": "policy.yaml", "problems": [], "not_carried_out": []}
    assert (waits["connect"], waits["deadline"]) == (10_000, 1_200_000)
    places = [(p["file"], p["line"], p["column"], p["code"]) for p in broken["problems"]]
    assert places == [("broken.yaml", 14, 39, "unknown-name"), ("broken.yaml", 16, 76, "unknown-model")]


def test_check_lists_what_is_not_carried_out(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("check", HYBRID)
    assert (ended.code, ended.err) == (0, "")
    assert (
        "  not supported yet: assertion private_work_never_leaves: not proven over all tasks\n" in ended.out
    )


def test_check_notes_a_server_here_whose_models_do_not_count_as_local(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write(
        "lab.yaml",
        """\
routewright: 1
name: lab
catalog:
  routewright: 1
  backends: { lab: { kind: openai, host: "http://localhost:8000" } }
  models: { small: { backend: lab } }
constraints: [{ name: stays_here, require: model.location == 'local' }]
rules: [{ name: all, use: [small] }]
""",
    )
    ended = command("check", "lab.yaml")
    assert (ended.code, ended.err) == (0, "")
    assert [line for line in ended.out.splitlines()[1:] if not line.startswith("  limits")] == [
        "lab.yaml:5:42: note[location-unknown]: it is unknown whether models of `lab` run on this machine, so "
        "`stays_here` may exclude them",
        '  |   backends: { lab: { kind: openai, host: "http://localhost:8000" } }',
        "  |                                          ^^^^^^^^^^^^^^^^^^^^^^^",
        "  = help: say `stays: true` if the server does the work itself, `location: cloud` if it does not",
    ]
    (told,) = json.loads(command("check", "lab.yaml", "--format", "json").out)
    assert [note["code"] for note in told["notes"]] == ["location-unknown"]


def test_check_takes_catalogs_and_test_files_for_what_they_are(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    catalog = POLICY.partition("catalog:\n")[2].partition("features:")[0]
    command.write("catalog.yaml", "\n".join(line.removeprefix("  ") for line in catalog.splitlines()))
    cases = "routewright: 1\npolicy: policy.yaml\ncases: [{ name: a, expect: { target: small } }]\n"
    command.write("policy.test.yaml", cases)
    command.write("broken.yaml", BROKEN)
    command.write("broken.test.yaml", cases.replace("policy.yaml", "broken.yaml"))
    ended = command("check", "catalog.yaml", "policy.test.yaml")
    assert (ended.code, ended.err) == (0, "")
    first, second = ended.out.splitlines()
    assert first.startswith("catalog.yaml: ok, a catalog, 1 backend, 2 models, sha256:")
    assert second == "policy.test.yaml: ok, a test file, 1 case for policy.yaml, not run"
    broken = command("check", "broken.test.yaml")
    assert broken.code == 3
    assert "broken.yaml:14:39: error[unknown-name]" in broken.out
    assert broken.out.endswith("\nbroken.test.yaml: 2 problems\n")
    told = json.loads(command("check", "catalog.yaml", "policy.test.yaml", "--format", "json").out)
    assert told == [
        {"catalog": "catalog.yaml", "problems": [], "not_carried_out": []},
        {"tests": "policy.test.yaml", "problems": [], "not_carried_out": [], "policy": "policy.yaml"},
    ]
    alone, of_policy = command("models", "catalog.yaml"), command("models", "policy.yaml", "--offline")
    assert alone.out == of_policy.out.replace("policy.yaml", "catalog.yaml")
    refused = command("decide", "catalog.yaml")
    assert (refused.code, refused.out) == (3, "")
    assert "catalog.yaml: error[not-a-policy]: this is a catalog, not a policy\n" in refused.err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read_end_with_the_code_of_what_they_are(used: CommandLine) -> None:
    for path in (used.folder / "policy.yaml", used.ledger):
        path.chmod(0)
    assert used("check", "policy.yaml").code == 3
    assert used("models", "policy.yaml").code == 3
    assert used("ledger", "tail").code == 6


# --- eval --------------------------------------------------------------------------------------------------


def test_eval_shows_the_value_of_every_part(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("eval", "n > 3 || urgent", "-f", "n=null", "-f", "urgent=true")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "true  (boolean)\n"
        "  n > 3 || urgent = true\n"
        "    n > 3 = unknown\n"
        "      n = unknown\n"
        "    urgent = true\n"
    )


def test_eval_as_json_tells_unknown_from_a_value(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("eval", "1 / n", "-f", "n=0", "--format", "json")
    assert json.loads(ended.out) == {
        "value": None,
        "known": False,
        "type": "integer",
        "parts": [
            {"text": "1 / n", "value": None, "depth": 0},
            {"text": "n", "value": 0, "depth": 1},
        ],
    }


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_json_is_json_whatever_the_output_can_say(tmp_path: Path, encoding: str) -> None:
    arguments = ("eval", "name", "-f", "name=café 漢 😀", "--format", "json")
    ended = CommandLine(tmp_path).process(*arguments, environment={"PYTHONIOENCODING": encoding})
    assert json.loads(ended.out)["value"] == "café 漢 😀"


def test_eval_takes_types_and_defaults_from_a_policy(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("eval", "private || context_length > 1", "--policy", "policy.yaml")
    assert ended.out.splitlines()[0] == "unknown  (boolean)"


def test_a_mistake_in_an_expression_is_shown_at_its_place(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("eval", "n > 3 || urgnt", "-f", "n=1", "-f", "urgent=true")
    assert (ended.code, ended.out) == (3, "")
    assert "  | n > 3 || urgnt\n  |          ^^^^^\n  = help: did you mean `urgent`?" in ended.err


# --- models and schema -------------------------------------------------------------------------------------


def test_models_with_a_capability_are_those_that_have_it(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    ended = command("models", "policy.yaml", "-c", "tools", "--format", "json")
    assert [model["id"] for model in json.loads(ended.out)] == ["small"]
    every = command("models", "policy.yaml", "--format", "json")
    assert [model["id"] for model in json.loads(every.out)] == ["small", "large"]


@pytest.mark.parametrize("kind", ["policy", "catalog", "test"])
def test_schemas_are_the_shipped_ones(tmp_path: Path, kind: str) -> None:
    ended = CommandLine(tmp_path)("schema", kind)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == shipped(f"{kind}.schema.json").read_text(encoding="utf-8")


# --- ledger ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def used_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a command line whose ledger has one decision, and one that had no target."""
    command = CommandLine(tmp_path_factory.mktemp("used"))
    assert command("run", "policy.yaml", "hello", "--simulate", "--quiet").code == 0
    assert (
        command(
            "run", "policy.yaml", "hello", "--simulate", "--quiet", "-f", "private=true", "--pin", "large"
        ).code
        == 4
    )
    return command.folder


@pytest.fixture
def used(used_once: Path, tmp_path: Path) -> CommandLine:
    """A command line in a copy of that folder."""
    shutil.copytree(used_once, tmp_path, dirs_exist_ok=True)
    return CommandLine(tmp_path)


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("table", "outcome    n  cost\n---------  -  ----\nno_target  1  null\nrouted     1  null\n"),
        ("csv", "outcome,n,cost\nno_target,1,\nrouted,1,\n"),
        (
            "json",
            '[{"outcome": "no_target", "n": 1, "cost": null},\n {"outcome": "routed", "n": 1, "cost": null}]\n',
        ),
    ],
)
def test_sql_is_answered_in_every_form(used: CommandLine, format: str, expected: str) -> None:
    cost = "max(known_cost_usd) AS cost"
    statement = f"SELECT outcome, count(*) AS n, {cost} FROM all_decisions_flat GROUP BY 1 ORDER BY 1"
    ended = used("ledger", "sql", statement, "--format", format)
    assert (ended.code, ended.out, ended.err) == (0, expected, "")


def test_more_rows_than_asked_for_are_told_of(used: CommandLine) -> None:
    ended = used(
        "ledger", "sql", "SELECT 1 AS one FROM decision_records", "--max-rows", "1", "--format", "csv"
    )
    assert (ended.code, ended.out) == (0, "one\n1\n")
    assert ended.err == "stopped after row 1: there are more, see --max-rows\n"


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "DROP TABLE decisions",
            "error: `DROP` was not run: a statement can read the ledger and nothing else",
        ),
        ("SELEC 1", "error: syntax error at or near `SELEC`\n  | SELEC 1\n  | ^^^^^\n"),
        ("FROM decision", "error: table with name decision does not exist\n  | FROM decision\n"),
        ("SELECT 1; SELECT 2", "error: one statement was expected, and there are 2; none was run"),
        ("", "error: there is no statement to run"),
        (
            "FROM read_csv('/etc/hosts')",
            "error: cannot open `/etc/hosts`: a statement can read the ledger and nothing else",
        ),
    ],
)
def test_statements_that_are_refused_say_why(used: CommandLine, statement: str, message: str) -> None:
    ended = used("ledger", "sql", statement)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(message)


@pytest.mark.parametrize("name", ["none.duckdb", "policy.yaml", "folder", "none/there.duckdb"])
def test_what_is_no_ledger_is_refused_and_left_as_it_is(tmp_path: Path, name: str) -> None:
    command = CommandLine(tmp_path)
    (tmp_path / "folder").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    for ended in (
        command("ledger", "sql", "SELECT 1", "--ledger", name),
        command("ledger", "tail", "--ledger", name),
    ):
        assert (ended.code, ended.out) == (6, "")
        assert ended.err.startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert (tmp_path / "policy.yaml").read_text() == POLICY


def test_tail_shows_the_newest_decisions_oldest_first(used: CommandLine) -> None:
    rows = json.loads(used("ledger", "tail", "--format", "json").out)
    assert [(row["outcome"], row["answered_by"], row["attempts"]) for row in rows] == [
        ("routed", "small", 1),
        ("no_target", None, 0),
    ]
    table = used("ledger", "tail", "-n", "1").out.splitlines()
    assert table[0].split()[:5] == ["decision", "time", "(UTC)", "rule", "target"]
    [line] = table[2:]
    assert "  no_target  " in line and line.endswith("not executed")
    assert " ok, simulated " in used("ledger", "tail").out


@pytest.mark.parametrize("command", [("sql", "SELECT 1 AS one"), ("tail",)], ids=["sql", "tail"])
def test_who_asks_the_ledger_hears_of_what_is_in_no_view(used: CommandLine, command: tuple[str, ...]) -> None:
    assert "rejected" not in used("ledger", *command).err
    before = used("ledger", *command).out
    writer = Ledger.open(used.ledger).writer()
    for number in range(2):
        writer.add(broken(decision(number, reason=f"{number}")))
    writer.close()
    ended = used("ledger", *command)
    assert (ended.code, ended.out) == (0, before)
    assert ended.err == (
        "2 entries could not be stored as rows, and no table but `rejected` has them: ask"
        ' `routewright ledger sql "SELECT writer, entry, error FROM rejected"`\n'
    )


def test_tail_tells_costs_in_two_currencies_from_unknown_ones(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    euros = attempt(1, 2, currency="EUR")
    unknown = attempt(2, cost_nano=None, currency=None, cost_source=None)
    refused = attempt(3, cost_nano=0)
    ledger.append(
        [decision(1), decision(2), decision(3)],
        [attempt(1), euros, unknown, refused, attempt(3, 2, currency="EUR")],
    )
    shown = command("ledger", "tail", "--ledger", str(ledger.path)).out.splitlines()[2:]
    assert [line.split("  ")[-1].strip() for line in shown] == [
        "0.000725 EUR + 0.000725 USD",
        "unknown",
        "0.000725 EUR",
    ]
    rows = json.loads(command("ledger", "tail", "--format", "json", "--ledger", str(ledger.path)).out)
    columns = "known_cost_usd", "known_cost_eur", "unknown_cost_calls"
    asked = ledger.query(f"SELECT {', '.join(columns)} FROM all_decisions_flat ORDER BY decision_id").rows
    assert [tuple(row.get(name) for name in columns) for row in rows] == [
        (None if usd is None else float(usd), None if eur is None else float(eur), calls)
        for usd, eur, calls in asked
    ]
