"""``ledger erase`` says what it would erase, erases when told so, and says what is left."""

from __future__ import annotations

import re
from pathlib import Path

from support.command_line import POLICY, CommandLine


def test_it_erases_only_when_told_so_and_verify_and_show_say_so(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    text = (tmp_path / "policy.yaml").read_text()
    command.write(
        "policy.yaml", text.replace("features:\n", "features:\n  who: { type: string, sensitive: true }\n")
    )
    assert (
        command("run", "policy.yaml", "hello", "--feature", "who=Quxiolani", "--simulate", "--quiet").code
        == 0
    )
    named = ("ledger", "erase", "--feature", "who", "--where", "simulated", "--reason", "asked")
    asked = command(*named)
    assert (asked.code, asked.out) == (
        0,
        "would erase who: 1 value of 1 decision\nnothing was erased: with --yes it is, and nobody can bring it back\n",
    )
    erased = command(*named, "--yes")
    assert (erased.code, erased.out) == (0, "erased who: 1 value of 1 decision\n")
    assert "no salt" not in erased.err and "copies that were made before" in erased.err
    verified = command("ledger", "verify")
    assert verified.out.endswith("every row is as it was recorded, but for what was erased of 1 decision\n")
    shown = command("ledger", "show").out
    assert re.search("\nerased    features.who on 20..-..-..: asked\n", shown)
    assert "\n├── erased: features.who\n" in shown and "as null" not in shown and "who =" not in shown
    assert (
        "not explained" not in shown
        and "├── rule otherwise: true" in shown
        and "instead of 9: large (rule hard)" in shown
    )
    again = command(*named, "--yes")
    assert again.out == "erased who: 0 values of 0 decisions\n" and "copies" not in again.err
    assert "--finish" in command("ledger", "erase").err
    assert command("ledger", "erase", "--finish").code == 0


def test_a_name_that_the_ledger_does_not_know_is_not_erased(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    tagged = ("--tag", "user=ada", "--simulate", "--quiet")
    assert command("run", "policy.yaml", "hello", *tagged).code == 0
    for flags, said in (
        (
            ("--feature", "privat"),
            "no feature `privat`; nothing was erased\n  = help: did you mean `private`?",
        ),
        (
            ("--user", "adda"),
            "error: no decision has the user `adda`, as a tag, feature or metadata `user`; nothing was erased\n"
            "  = help: did you mean `ada`? it knows: ada\n",
        ),
    ):
        ended = command("ledger", "erase", *flags, "--yes")
        assert (ended.code, ended.out) == (2, "")
        assert said in ended.err
    assert command("ledger", "erase", "--feature", "context_length", "--yes").code == 0
    assert command("ledger", "verify").out.endswith(
        "every row is as it was recorded, but for what was erased of 1 decision; "
        "of 1 decision the rest of the record could not be compared\n"
    )
    assert command("ledger", "erase", "--user", "ada", "--yes").out.startswith("erased 1 decision ")


def test_a_user_is_found_whichever_way_it_was_recorded(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", POLICY.replace("features:\n", "features:\n  user: { type: string }\n"))
    for given in (
        ("--tag", "user=ada"),
        ("--feature", "user=ada"),
        ("--metadata", "user=ada"),
        ("--tag", "user=bob", "--feature", "user=ada"),
        ("--tag", "user=bob", "--metadata", "user=eve"),
    ):
        assert command("run", "policy.yaml", "hello", *given, "--simulate", "--quiet").code == 0
    assert command("ledger", "erase", "--user", "ada").out.startswith(
        "would erase 4 decisions with their calls"
    )
    assert command("ledger", "erase", "--user", "eve").out.startswith("would erase 1 decision with its calls")
    assert command("ledger", "erase", "--user", "ada", "--yes").code == 0
    assert command("ledger", "tail", "--format", "json").out.count("decision_id") == 1
