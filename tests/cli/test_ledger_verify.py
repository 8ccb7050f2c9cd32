"""``ledger checkpoint``, ``verify``, ``witness`` and ``prove``, as an auditor and a second machine use them."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
from support.command_line import CommandLine


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
    assert found.out.splitlines()[-1] == "every row is as it was recorded"
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
    assert (newest.code, newest.out) == (0, since.out) and "kept elsewhere" in newest.err
    assert "newer" in command("ledger", "verify", "--since", "newer").err
    proved = command("ledger", "prove", id, "-o", "receipt")
    assert (proved.code, proved.out, proved.err) == (0, "", "")
    checked = command("ledger", "verify", "--receipt", "receipt", "--key", key)
    assert (checked.code, checked.out.startswith(f"decision `{id}` was leaf ")) == (0, True)
    assert command("ledger", "prove", id, "--attempt", "1", "-o", "attempt").code == 0
    checked = command("ledger", "verify", "--receipt", "attempt", "--key", key)
    assert checked.out.startswith(f"attempt 1 of decision `{id}` was leaf ")
    unknown = command("ledger", "verify", "--receipt", "receipt")
    assert (unknown.code, "none of the keys has signed" in unknown.err) == (1, True)

    [path] = tmp_path.rglob("*.duckdb")
    with duckdb.connect(str(path)) as client:
        client.execute("UPDATE attempt_rows SET output_tokens = 1")
    found = command("ledger", "verify", "--checkpoint", "kept", "--format", "json")
    told = json.loads(found.out)
    assert (found.code, told["fault_count"], told["covered"]) == (1, 1, told["size"])
    assert told["faults"][0]["what"] == f"attempt 1 of decision `{id}` has changed since it was recorded"
