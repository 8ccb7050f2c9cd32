"""Prunes a ledger of its oldest months, or says what that would drop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from routewright.ledger import Pruned, first_of_month, months_ago
from routewright.loading import user_key_folder

from .opened import ledger_at, print_notices
from .progress import stage_progress
from .writer import counted, writer


def prune(
    path: Path | None,
    before: str | None,
    keep: int | None,
    reason: str | None,
    snapshots: Sequence[Path],
    *,
    yes: bool,
) -> None:
    """Drop what was decided before a month, or all but the newest ``keep`` months and the present one;
    without ``yes`` say what would be dropped.
    """
    first = months_ago(keep or 0, datetime.now(UTC)) if before is None else first_of_month(before)
    with ledger_at(path, create=False) as opened:
        if not yes:
            found = opened.would_prune(first)
            _print("would prune", found, first)
            if found.months:
                writer.text("nothing was pruned: with --yes it is, and nobody can bring it back")
            print_notices(opened)
            return
        with stage_progress() as tell:
            found = opened.prune(first, user_key_folder(), reason=reason, tell=tell)
        _print("pruned", found, first)
        if found.checkpoint is not None:
            writer.text(
                f"before, a checkpoint of {counted(found.checkpoint, 'leaf', 'leaves')} was signed, which proves what "
                "was there; the ledger keeps it, in the table `prunings`"
            )
            writer.text(
                "afterwards, another one was signed, which proves what was pruned; it is beside the ledger: keep a "
                "copy elsewhere (`ledger checkpoint -o FILE`)"
            )
        for file in snapshots:
            opened.snapshot(file)
            writer.text(f"taken anew: {file}")
        if found.months:
            writer.note(
                "copies that were made before still have it: snapshots, exports, reports, receipts, and backups"
            )
        print_notices(opened)


def _print(what: str, found: Pruned, before: date) -> None:
    if not found.months:
        writer.text(f"nothing to prune: the ledger has nothing from before {before} (UTC)")
        return
    decisions, attempts, outcomes, imported = (
        sum(counts) for counts in zip((0, 0, 0, 0), *(one[1:] for one in found.months), strict=True)
    )
    dropped = f"{counted(decisions, 'decision')} with {counted(attempts, 'call')} and {counted(outcomes, 'outcome')}"
    also = f", and {counted(imported, 'imported request')}" if imported else ""
    writer.text(f"{what} {dropped}{also}: all from before {before} (UTC)")
    writer.table(
        ["month", "decisions", "calls", "outcomes", "imported"],
        [[one.month, *(f"{count:,}" for count in one[1:])] for one in found.months],
    )
    for name, digest in found.policies:
        writer.text(f"no decision of the policy {name} {digest} is left")
    if (mb := round(found.bytes / 1e6, 1)) > 0:
        writer.text(f"the file {'is' if what == 'pruned' else 'would be'} about {mb:,} MB smaller")
    writer.text(
        f"no question, report, replay or `ledger show` can tell of the time before {before} then; texts of policies "
        "and the log stay"
    )
