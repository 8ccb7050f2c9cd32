"""Erases values and decisions from a ledger, or says what that would erase."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from routewright.ledger import Erased, ToErase

from .opened import ledger_at, print_notices
from .progress import stage_progress
from .writer import counted, writer


def erase(path: Path | None, what: ToErase | None, snapshots: Sequence[Path], *, yes: bool) -> None:
    """Erase ``what``, or finish what was cut short, and take ``snapshots`` anew;
    without ``yes`` say what would be erased.
    """
    erased_some = what is None
    with ledger_at(path, create=False) as opened:
        if what is None:
            with stage_progress() as tell:
                tell("writing the file anew")
                opened.finish_erasing()
            writer.text("the ledger's files have nothing of what was erased or pruned any more")
        elif not yes:
            writer.text(f"would erase {_told(opened.would_erase(what), what)}")
            writer.text("nothing was erased: with --yes it is, and nobody can bring it back")
        else:
            with stage_progress() as tell:
                tell("erasing, and writing the file anew")
                found = opened.erase(what)
            writer.text(f"erased {_told(found, what)}")
            _tell(found)
            erased_some = found.decisions > 0
        if what is None or yes:
            for file in snapshots:
                opened.snapshot(file)
                writer.text(f"taken anew: {file}")
            if erased_some:
                writer.note(
                    "copies that were made before still have it: snapshots, exports, reports, receipts, backups, and "
                    "imports"
                )
    print_notices(opened)


def _told(erased: Erased, what: ToErase) -> str:
    decisions = counted(erased.decisions, "decision")
    if erased.values is None:
        return f"{decisions} with {'its' if erased.decisions == 1 else 'their'} calls and outcomes"
    return f"{', '.join(what.features)}: {counted(erased.values, 'value')} of {decisions}"


def _tell(erased: Erased) -> None:
    """What remains of it, on standard error."""
    if erased.unsealed:
        writer.note(
            f"the values of {counted(erased.unsealed, 'decision')} had no salt: the digests of their records still "
            "cover them, so whoever knows all else of a record can find a value of few possibilities by trying; "
            "declare the feature `sensitive: true`"
        )
    if erased.under_way:
        writer.note(
            f"{counted(erased.under_way, 'decision')} under way and not looked at: erase again once it has ended"
        )
