"""The parts of a replay's report: what goes elsewhere, what would have no target, and by which rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from routewright.engine.report import ReportTree
from routewright.ledger import Example, Judged, PlanChange, ReplayReport

from .page import Detail, Section
from .replay_consequences import baselines_section, consequences_section
from .shown import Drawn, Point, Shown

_FEW_MOVES: Final = 3
_MOST_PLACES: Final = 8
"""A matrix of more places is read by nobody; the list has them all."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is told: rows of a table, changes with examples, and the matrix."""

    rows: int
    examples: int
    matrix: bool


def replay_sections(report: ReplayReport, judged: Sequence[Judged], extent: Extent) -> list[Section]:
    """All parts that have something to tell."""
    made = (
        _checks(judged),
        _alone(report),
        consequences_section(report),
        _moves(report, extent),
        _dead_ends(report, extent),
        _differences(report),
        _targets(report, extent),
        _matrix(report, extent),
        _plans(report, extent),
        _rules(report, extent),
        baselines_section(report),
        _not_decided(report),
    )
    return [section for section in made if section is not None]


def share_text(rows: int, of: int) -> str:
    """A share in percent; what is some is never said to be none, nor what is not all to be all.

    >>> share_text(1, 8), share_text(1, 100_000), share_text(99_999, 100_000)
    ('12.5 %', 'under 0.1 %', 'over 99.9 %')
    """
    if not of:
        return "0.0 %"
    share = rows / of
    if rows and share < 0.0005:
        return "under 0.1 %"
    if rows < of and share >= 0.9995:
        return "over 99.9 %"
    return f"{share * 100:.1f} %"


def _checks(judged: Sequence[Judged]) -> Section | None:
    if not judged:
        return None
    rows = [[one.expression, "failed" if one.failed else "passed", one.text] for one in judged]
    bad = [at for at, one in enumerate(judged) if one.failed]
    return Section("checks", "Checks", "", Shown(["fail on", "result", "found"], rows, []), bad_rows=bad)


def _alone(report: ReplayReport) -> Section | None:
    if not report.alone:
        return None
    rows = [
        [
            one.assumption or "(nothing)",
            f"{one.decided:,}",
            f"{one.elsewhere:,}",
            share_text(one.elsewhere, one.decided),
            f"{one.new_dead_ends:,}",
        ]
        for one in report.alone
    ]
    return Section(
        "alone",
        "Each assumption by itself",
        "All else in this report is about all of them together.",
        Shown(["assumed", "decided again", "go elsewhere", "share", "no target any more"], rows, []),
    )


def _moves(report: ReplayReport, extent: Extent) -> Section | None:
    moves = [move for move in report.moves if move.is_change]
    if not moves:
        return None
    rows = [
        [
            move.before,
            move.after,
            f"{move.rows:,}",
            share_text(move.rows, report.compared),
            _such(move.examples),
        ]
        for move in moves[: extent.rows]
    ]
    if rest := moves[extent.rows :]:
        count = sum(move.rows for move in rest)
        rows.append([f"{len(rest)} more", "", f"{count:,}", share_text(count, report.compared), ""])
    points = [Point(f"{move.before} to {move.after}", float(move.rows), f"{move.rows:,}") for move in moves]
    chart = Drawn("bar", "decisions", {"": points})
    return Section(
        "moves",
        "What goes elsewhere",
        "",
        _with_examples(["from", "to", "decisions", "share"], rows, [chart]),
        details=[
            _detail(report, f"{move.before} to {move.after}", one)
            for move in moves[: extent.examples]
            for one in move.examples
            if _is_told(one)
        ],
    )


def _dead_ends(report: ReplayReport, extent: Extent) -> Section | None:
    moves = [move for move in report.moves if move.is_dead_end]
    if not moves:
        return None
    rows = [
        [move.before, move.after, f"{move.rows:,}", _such(move.examples)] for move in moves[: extent.rows]
    ]
    return Section(
        "dead-ends",
        "New dead ends",
        f"Decisions that had a target and would have none: {report.new_dead_ends:,}. Without a target are "
        f"{report.dead_ends_after:,} now and were {report.dead_ends_before:,} before.",
        _with_examples(["had", "outcome now", "decisions"], rows),
    )


def _differences(report: ReplayReport) -> Section | None:
    if not report.differences:
        return None
    return Section(
        "promises",
        "What the candidate promises otherwise",
        f"Compared with {report.policies[0].name}, the recorded policy with the most decisions.",
        None,
        lines=[
            f"the candidate {line}" if " stands behind " not in line else line for line in report.differences
        ],
    )


def _targets(report: ReplayReport, extent: Extent) -> Section | None:
    if not report.decided or (not report.elsewhere and report.compared):
        return None
    before, after = Counter[str](), Counter[str]()
    for move in report.moves:
        before[move.before] += move.rows
        after[move.after] += move.rows
    named = {*before, *after} if report.compared else {*after}
    names = sorted(named, key=lambda name: (-abs(after[name] - before[name]), -before[name], name))
    if not report.compared:  # no log says what each had before
        rows = [[name, f"{after[name]:,}"] for name in names[: extent.rows]]
        if rest := names[extent.rows :]:
            rows.append([f"{len(rest)} more", f"{sum(after[name] for name in rest):,}"])
        return Section(
            "targets", "How many decisions each model gets", "", Shown(["target", "decisions"], rows, [])
        )
    rows = [
        [name, f"{before[name]:,}", f"{after[name]:,}", _change(after[name] - before[name])]
        for name in names[: extent.rows]
    ]
    if rest := names[extent.rows :]:
        was, now = (sum(counted[name] for name in rest) for counted in (before, after))
        rows.append([f"{len(rest)} more", f"{was:,}", f"{now:,}", _change(now - was)])
    points = [
        Point(f"{name}, {when}", float(counted[name]), f"{counted[name]:,}")
        for name in names[: extent.rows]
        for when, counted in (("before", before), ("now", after))
    ]
    return Section(
        "targets",
        "How many decisions each model gets",
        "",
        Shown(["target", "before", "now", "change"], rows, [Drawn("bar", "decisions", {"": points})]),
    )


def _matrix(report: ReplayReport, extent: Extent) -> Section | None:
    """From where to where, for the places that most moves are of; a list of few moves says the same."""
    moves = [move for move in report.moves if move.is_change]
    if not extent.matrix or len(moves) <= _FEW_MOVES:
        return None
    counts = {(move.before, move.after): move.rows for move in report.moves}
    left, reached = Counter[str](), Counter[str]()
    for move in moves:
        left[move.before] += move.rows
        reached[move.after] += move.rows
    rows, columns = ([name for name, _ in one.most_common(_MOST_PLACES)] for one in (left, reached))
    cells = [
        [before, *(f"{counts[before, after]:,}" if (before, after) in counts else "" for after in columns)]
        for before in rows
    ]
    more = " Places with fewer moves are left out." if max(len(left), len(reached)) > _MOST_PLACES else ""
    return Section(
        "matrix",
        "From where to where",
        f"A row for where decisions went, a column for where they would go.{more}",
        Shown(["from \\ to", *columns], cells, []),
    )


def _plans(report: ReplayReport, extent: Extent) -> Section | None:
    if not report.plan_changes:
        return None
    # Plans that differ in the same way are one row here, whatever else they have in common.
    alike: dict[tuple[str, str], list[PlanChange]] = {}
    for one in report.plan_changes:
        alike.setdefault((one.target, "; ".join(_plan_differences(one))), []).append(one)
    told = [
        (target, how, sum(one.rows for one in changes), changes[0].examples)
        for (target, how), changes in alike.items()
    ]
    told.sort(key=lambda one: -one[2])
    rows = [
        [target, how, f"{count:,}", _such(examples)] for target, how, count, examples in told[: extent.rows]
    ]
    if rest := told[extent.rows :]:
        rows.append([f"{len(rest)} more", "", f"{sum(count for _, _, count, _ in rest):,}", ""])
    return Section(
        "plans",
        "What keeps its target with another plan",
        "",
        _with_examples(["target", "difference", "decisions"], rows),
        details=[
            _detail(report, f"{target} with another plan", one)
            for target, _, _, examples in told[: extent.examples]
            for one in examples[:1]
            if _is_told(one)
        ],
    )


def _plan_differences(change: PlanChange) -> Iterator[str]:
    for what, before, after in (
        ("fallbacks", change.fallbacks_before, change.fallbacks_after),
        ("steps", change.steps_before, change.steps_after),
    ):
        if before == after:
            continue
        gone, new = (
            [one for one in ones if one not in others] for ones, others in ((before, after), (after, before))
        )
        said = [*(f"without {name}" for name in gone), *(f"with {name}" for name in new)]
        yield f"{what}: {', '.join(said)}" if said else f"{what}: {', '.join(after)} in another order"


def _rules(report: ReplayReport, extent: Extent) -> Section | None:
    """The rules by how many more or fewer they decide than before; none where they all decide as many."""
    if all(one.before == one.after for one in report.rules):
        return None
    if report.selection.import_name is not None:  # which no rule of ours has decided
        hits = [[one.rule or "(no rule)", f"{one.after:,}"] for one in report.rules if one.after][
            : extent.rows
        ]
        return Section("rules", "Rules", "", Shown(["rule", "decides"], hits, []))
    rows = [
        [one.rule or "(no rule)", f"{one.before:,}", f"{one.after:,}", _change(one.after - one.before)]
        for one in report.rules[: extent.rows]
    ]
    if rest := report.rules[extent.rows :]:
        before, after = sum(one.before for one in rest), sum(one.after for one in rest)
        rows.append([f"{len(rest)} more", f"{before:,}", f"{after:,}", _change(after - before)])
    return Section("rules", "Rules", "", Shown(["rule", "decided before", "now", "change"], rows, []))


def _not_decided(report: ReplayReport) -> Section | None:
    if not report.not_decided:
        return None
    rows = [
        [
            one.text,
            f"{one.rows:,}",
            ", ".join(f"{name} ({count:,})" for name, count in one.missing),
            one.example,
        ]
        for one in report.not_decided
    ]
    return Section(
        "not-decided",
        "Not decided again",
        "Nothing is guessed: these are in no other number.",
        Shown(["why", "decisions", "what", "such as"], rows, []),
        lines=[f"help: {one.help}" for one in report.not_decided],
    )


def _is_told(example: Example) -> bool:
    """Whether there is more to tell of an example than its id, which stands in the table."""
    return any(one is not None for one in (example.recorded, example.candidate, example.missing))


def _detail(report: ReplayReport, what: str, example: Example) -> Detail:
    now = "assumed" if report.candidate is None else "candidate"
    alike = f", and {example.rows - 1:,} alike" if example.rows > 1 else ""
    trees = [
        ReportTree(f"{side}: {tree.label}", tree.children)
        for side, tree in (("recorded", example.recorded), (now, example.candidate))
        if tree is not None
    ]
    if example.missing is not None:
        trees.append(ReportTree(f"not explained: {example.missing}"))
    command = f"routewright ledger show {example.decision_id}"
    return Detail(f"{what}: {example.decision_id}{alike}", trees, command)


def _with_examples(header: list[str], rows: list[list[str]], charts: Sequence[Drawn] = ()) -> Shown:
    """A table whose last cells are ids of examples; without the column if there are none."""
    if any(row[-1] for row in rows):
        return Shown([*header, "such as"], rows, list(charts))
    return Shown(header, [row[:-1] for row in rows], list(charts))


def _such(examples: Sequence[Example]) -> str:
    return examples[0].decision_id if examples else ""


def _change(change: int) -> str:
    return f"{change:+,}" if change else ""
