"""``ledger checkpoint``, ``verify``, ``witness`` and ``prove``, as an auditor and a second machine use them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import duckdb
from support.command_line import POLICY, CommandLine


def test_an_auditor_finds_what_was_changed(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    ran = command("run", "policy.yaml", "hello", "--simulate", "--format", "json")
    id = json.loads(ran.out)["decision_id"]
    signed = command(
        "ledger", "checkpoint", "--origin", "example.com/ledger", "-o", "request", "--for-witness", "0"
    )
    assert (signed.code, signed.err) == (0, "")
    assert signed.out == (tmp_path / "request").read_text()
    assert signed.out.startswith("old 0\n\nexample.com/ledger\n")
    key = command("ledger", "checkpoint", "--key").out.strip()
    cosigned = command("ledger", "witness", "request", "-k", key, "-o", "kept")
    assert (cosigned.code, cosigned.err, cosigned.out.count("\n— ")) == (0, "", 2)

    found = command("ledger", "verify", "--checkpoint", "kept")
    assert (found.code, found.err) == (0, "")
    assert found.out.splitlines()[-2:] == [
        "agrees with `kept`: 6 leaves, signed by example.com/ledger",
        "every row is as it was recorded",
    ]
    assert "(1 decision, 1 attempt, 2 policies, 2 parts)" in found.out
    since = command("ledger", "verify", "--since", "kept")
    size = since.out.partition("log: ")[2].partition(" ")[0]
    assert (since.code, since.err, since.out.splitlines()[-2:]) == (
        0,
        "",
        [
            "every row of the newest 0 leaves is as it was recorded",
            f"rows of the {size} leaves before were not read",
        ],
    )
    newest = command("ledger", "verify", "--since", "newest")
    without = "".join(line for line in since.out.splitlines(True) if not line.startswith("agrees"))
    assert (newest.code, newest.out) == (0, without) and "kept elsewhere" in newest.err
    assert "newer" in command("ledger", "verify", "--since", "newer").err
    proved = command("ledger", "prove", id, "-o", "receipt")
    leaf = "leaf 4 of 6, counted from 0"
    assert (proved.code, proved.out, proved.err) == (0, f"wrote receipt: decision `{id}`, {leaf}\n", "")
    checked = command("ledger", "verify", "--receipt", "receipt")
    assert (checked.code, checked.err, re.sub("(20|sha256:).*", "…", checked.out).splitlines()) == (
        0,
        "",
        [
            f"decision `{id}` was in the log `example.com/ledger` when its checkpoint of 6 leaves was signed: {leaf}",
            "signed by example.com/ledger",
            "",
            "time      …",
            "policy    first …",
            "outcome   routed",
            "rule      otherwise",
            "target    small",
            "mode      exploit, simulated",
        ],
    )

    [path] = tmp_path.rglob("*.duckdb")
    with duckdb.connect(str(path)) as client:
        client.execute("UPDATE attempt_rows SET output_tokens = 1")
    found = command("ledger", "verify", "--checkpoint", "kept")
    assert found.out.splitlines()[:3] == [
        "1 fault:",
        f"leaf 5: attempt 1 of decision `{id}` has changed since it was recorded",
        "",
    ]
    found = command("ledger", "verify", "--checkpoint", "kept", "--format", "json")
    told = json.loads(found.out)
    assert (found.code, told["fault_count"], told["covered"]) == (1, 1, told["size"])
    assert [one["name"] for one in told["agreed"]] == ["`kept`", "the checkpoint beside the ledger"]
    assert told["faults"][0]["what"] == f"attempt 1 of decision `{id}` has changed since it was recorded"


def test_a_receipt_says_what_it_proves_of_calls_and_outcomes_and_who_may_read_it(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    sensitive = POLICY.replace("features:\n", "features:\n  who: { type: string, sensitive: true }\n")
    command.write("policy.yaml", sensitive)
    ran = command(
        "run", "policy.yaml", "hello", "--feature", "who=Quxiolani", "--simulate", "--format", "json"
    )
    id = json.loads(ran.out)["decision_id"]
    assert command("ledger", "outcome", id, "score=0.5").code == 0
    command.write("key", command("ledger", "checkpoint", "--key").out)
    proved = command("ledger", "prove", id, "-o", "receipt")
    assert proved.err == (
        "it holds sensitive values (features.who): give it to those alone who may read them\n"
    )
    assert command("ledger", "prove", id, "--attempt", "1", "-o", "attempt").err == ""
    assert command("ledger", "prove", id, "--outcome", "score", "-o", "outcome").err == ""
    for wrong, said in ((("--attempt", "9"), "attempt 9"), (("--outcome", "skore"), "outcome `skore`")):
        refused = command("ledger", "prove", id, *wrong, "-o", "none")
        assert (refused.code, refused.out) == (2, "")
        assert f"has no {said}\n  = help: its attempts: 1; its outcomes: score\n" in refused.err

    shutil.rmtree(command.configuration.parent / "keys")
    unknown = command("ledger", "verify", "--receipt", "attempt")
    assert (unknown.code, "error: no key was given" in unknown.err) == (1, True)
    neither = command("ledger", "verify", "--receipt", "attempt", "--key", "keys")
    assert (neither.code, "`keys` is neither a key nor a file" in neither.err) == (2, True)
    other = command("ledger", "verify", "--receipt", "attempt", "--checkpoint", "receipt")
    assert (other.code, "only the ledger can tell" in other.err) == (2, True)
    attempt = command("ledger", "verify", "--receipt", "attempt", "--key", "key").out.splitlines()
    assert attempt[5].split()[:6] == ["1", "answer", "small", "ollama", "ok,", "simulated"]
    assert attempt[7] == f"decision  {id}"
    outcome = command("ledger", "verify", "--receipt", "outcome", "--key", "key").out.splitlines()
    assert outcome[5].split() == ["score", "0.5", "manual"]


def test_imports_are_named_as_not_covered(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    call = {"id": "1", "time": "2026-01-01T00:00:00Z", "model": "gpt", "status": "ok"}
    command.write("calls.jsonl", json.dumps(call) + "\n")
    assert command("ledger", "import", "calls", "calls.jsonl").code == 0
    found = command("ledger", "verify")
    assert (found.code, found.out.splitlines()[2:]) == (
        0,
        [
            "there is no row to compare",
            "not covered: 1 import with 1 call, as what another router has logged has no leaves",
        ],
    )
