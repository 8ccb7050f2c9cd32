"""Shows what the rule of a canary says, and begins a canary anew."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import typer

from routewright.backends.control import Canaries, KeptCanary
from routewright.engine.explain import share_text
from routewright.engine.policy import CompiledPolicy
from routewright.engine.report import TaskError, iso_time
from routewright.gateway import canary_digests, canary_end_text, now_us
from routewright.ledger import Finding, JudgedCanary, canary_without_ledger, default_ledger_path
from routewright.loading import load_policy

from .exit_codes import ExitCode
from .opened import ledger_at, print_notices, shown_policy, state_store
from .options import RolloutFlags
from .writer import counted, writer

_HOLDS = {True: "sure", False: "surely not", None: "not sure yet"}


def show_rollout(how: RolloutFlags) -> None:
    """Print the verdict on a policy's canary. Raises typer.Exit if it was aborted, TaskError if it has no rule."""
    shown = shown_policy(how.policy)
    policy = load_policy(shown.path, root=how.root)
    digests = canary_digests(policy)
    if digests is None:
        raise TaskError(
            f"policy `{policy.name}` has no canary that ends by itself",
            help="that is a `rollout` with `mode: canary` and `abort_when` or `promote_when`; the view `rollout_arms` "
            "compares the arms of any canary",
        )
    canaries = Canaries(state_store(how.state, must_exist=True))
    if how.reset:
        canaries.begin_anew(*digests, at_us=now_us())
    kept = canaries.get(*digests)
    judged = _judged(policy, how, kept)
    shown.announce(json=how.format == "json")
    if how.format == "json":
        writer.json_value(_values(policy, kept, judged))
    else:
        _print(policy, kept, judged)
    if kept.end is not None and kept.end.verdict == "abort":
        raise typer.Exit(ExitCode.CHECK_FAILED)


def _judged(policy: CompiledPolicy, how: RolloutFlags, kept: KeptCanary) -> JudgedCanary:
    """The verdict by the ledger; before the first task there is none, unless one is named."""
    path = default_ledger_path()
    if how.ledger is None and not path.exists():
        writer.note(f"nothing is recorded yet: there is no ledger at `{path}`")
        return canary_without_ledger(policy)
    with ledger_at(how.ledger, create=False) as opened:
        judged = opened.judge_canary(policy, since_us=kept.since_us)
        print_notices(opened)
    if judged.simulated:
        these = (
            "1 simulated decision is"
            if judged.simulated == 1
            else f"{judged.simulated:,} simulated decisions are"
        )
        writer.note(f"{these} not counted: a canary is judged by real work")
    return judged


def _print(policy: CompiledPolicy, kept: KeptCanary, judged: JudgedCanary) -> None:
    rollout = policy.rollout
    assert rollout is not None
    writer.text(f"canary: {share_text(rollout.share or 0.0)} of tasks go to the candidate {rollout.file}")
    since = f" since {iso_time(kept.since_us)}" if kept.since_us else ""
    counts = ", ".join(
        f"{counted(count, 'decision')} of the {arm}" for arm, count in judged.decisions.items()
    )
    writer.text(f"{counts}{since}")
    if kept.end is None:
        writer.text(f"{judged.verdict.decision}: {judged.verdict.reason}")
    else:
        writer.text(f"{iso_time(kept.end.at_us)}: {canary_end_text(policy, kept.end)}")
    writer.text()
    rows = [[when, str(one.condition), _HOLDS[one.holds], *_reach(one)] for when, one in _found(judged)]
    writer.table(["when", "condition", "holds", "from", "to"], rows)
    if any(found for *_, found, _ in rows):
        writer.text("from, to: the candidate's mean, less what it is compared with, is surely between these")
    for arm, count in judged.unknown_costs.items():
        if count:
            writer.note(f"the cost of {counted(count, 'decision')} of the {arm} is unknown")


def _found(judged: JudgedCanary) -> Iterator[tuple[str, Finding]]:
    yield from (("abort_when", one) for one in judged.verdict.abort_when)
    yield from (("promote_when", one) for one in judged.verdict.promote_when)


def _reach(one: Finding) -> tuple[str, str]:
    """Where the candidate's mean less what it is compared with is."""
    found = one.difference
    return ("", "") if found is None else (f"{found.low:.6g}", f"{found.high:.6g}")


def _values(policy: CompiledPolicy, kept: KeptCanary, judged: JudgedCanary) -> dict[str, object]:
    rollout, end = policy.rollout, kept.end
    assert rollout is not None
    return {
        "candidate": rollout.file,
        "share": rollout.share,
        "since": iso_time(kept.since_us) if kept.since_us else None,
        "ended": None
        if end is None
        else {"verdict": end.verdict, "reason": end.reason, "at": iso_time(end.at_us)},
        "verdict": judged.verdict.decision,
        "reason": judged.verdict.reason,
        "decisions": dict(judged.decisions),
        "unknown_costs": dict(judged.unknown_costs),
        "simulated": judged.simulated,
        "conditions": [
            {
                "when": when,
                **asdict(one.condition),
                "holds": one.holds,
                "difference": None if one.difference is None else [one.difference.low, one.difference.high],
            }
            for when, one in _found(judged)
        ],
    }
