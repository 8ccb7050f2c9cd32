"""Bounds the work of a whole policy before any of it is done.

Loading evaluates the constraints for every model; a decision evaluates all rules, constraints and reserves, and the
gates for the models that a rule may consider.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...condition import LARGEST, STRING, CheckedExpr, Sizes, work_of
from ..compiled import CompiledCatalog, CompiledFeature, CompiledRule
from ..limits import LEAST_SIZES, MAX_DECISION_WORK, MAX_LISTED_CANDIDATES, MAX_LOAD_WORK
from ..source.document import Path
from .report import Report


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A condition, how often a decision or a load evaluates it, its place in the file, and its owner."""

    condition: CheckedExpr
    times: int
    path: Path
    owner: str


def sizes_by_name(features: Iterable[CompiledFeature], catalog: CompiledCatalog) -> Mapping[str, Sizes]:
    """The known sizes of values: of features with an ``enum``, and of facts of models in the catalog."""
    known = {name: largest([m.facts.get(name) for m in catalog.models]) for name in catalog.scope}
    for feature in features:
        members = feature.declaration.enum
        if members is not None and feature.declaration.type == STRING:
            known[feature.name] = largest(members)
    return known


def check_load(evaluated: Sequence[Evaluated], known: Mapping[str, Sizes], report: Report) -> None:
    """Report it if evaluating the constraints for every model of the catalog is too much work."""
    works = [_work_at(one, LARGEST, known) for one in evaluated]
    if sum(works) > MAX_LOAD_WORK:
        most = max(range(len(works)), key=works.__getitem__)
        heaviest = evaluated[most]
        message = (
            f"loading the policy takes up to {sum(works):,} steps, at most {MAX_LOAD_WORK:,} are allowed: "
            f"the most work is {heaviest.owner}, with {works[most]:,} for {heaviest.times:,} models"
        )
        help = "nest `exists` and `all` less, or shorten the lists in the catalog that they search"
        report.at(*heaviest.path).add("too-much-work", message, help)


def sizes_allowed(
    evaluated: Sequence[Evaluated],
    features: Iterable[CompiledFeature],
    known: Mapping[str, Sizes],
    report: Report,
) -> Sizes:
    """The largest sizes of features for which a decision stays within MAX_DECISION_WORK.

    They are the engine's own sizes, halved as often as needed. A policy that is too much work even for LEAST_SIZES or
    its own defaults is reported.
    """
    least = _longest_default(features)
    ladder = list(_halves(least))
    works = [_work_at(one, LARGEST, known) for one in evaluated]
    if sum(works) <= MAX_DECISION_WORK:
        return LARGEST
    at_least = [_work_at(one, least, known) for one in evaluated]
    if sum(at_least) > MAX_DECISION_WORK:
        most = max(range(len(at_least)), key=at_least.__getitem__)
        message = (
            f"a decision takes up to {sum(at_least):,} steps, at most {MAX_DECISION_WORK:,} are allowed: "
            f"the most work is {evaluated[most].owner}, with {at_least[most]:,}"
        )
        help = (
            "simplify patterns, nest `exists` and `all` less, or shorten defaults: this is for strings of "
            f"{least.characters:,} characters and arrays of {least.elements:,} elements"
        )
        report.at(*evaluated[most].path).add("too-much-work", message, help)
        return least
    fixed = sum(small for small, large in zip(at_least, works, strict=True) if small == large)
    growing = [one for one, small, large in zip(evaluated, at_least, works, strict=True) if small != large]
    low, high = 0, len(ladder) - 1  # above the limit at `low`, within it at `high`
    while high - low > 1:
        middle = (low + high) // 2
        if fixed + sum(_work_at(one, ladder[middle], known) for one in growing) <= MAX_DECISION_WORK:
            high = middle
        else:
            low = middle
    return ladder[high]


def check_candidates(rules: Sequence[CompiledRule], paths: Sequence[Path], report: Report) -> None:
    """Report the first rule with which there are too many candidates."""
    count = 0
    for rule, path in zip(rules, paths, strict=True):
        count += len(rule.candidates)
        if count > MAX_LISTED_CANDIDATES:
            message = (
                f"the rules have more than {MAX_LISTED_CANDIDATES:,} candidates, those of chains included"
            )
            help = "shorten chains that many rules fall back to"
            report.at(*path).add("too-many-candidates", message, help)
            return


def _work_at(one: Evaluated, sizes: Sizes, known: Mapping[str, Sizes]) -> int:
    """The steps of a condition, over all its evaluations."""
    return one.times * work_of(one.condition.expr, sizes, known)


def _halves(least: Sizes) -> Iterator[Sizes]:
    """The engine's own sizes, then repeatedly half of them, down to ``least``."""
    elements, characters = LARGEST
    while elements > least.elements or characters > least.characters:
        yield Sizes(max(elements, least.elements), max(characters, least.characters))
        elements, characters = elements // 2, characters // 2
    yield least


def _longest_default(features: Iterable[CompiledFeature]) -> Sizes:
    defaults = [f.default for f in features if isinstance(f.default, str | tuple)]
    return Sizes(*map(max, LEAST_SIZES, largest(defaults)))


def most_gated(rules: Iterable[CompiledRule]) -> int:
    """The most models that the gates check for one decision: candidates, steps, a judge."""
    return max((len(rule.candidates) + len(rule.steps) + 1 for rule in rules), default=0)


def largest(values: Iterable[object]) -> Sizes:
    """The smallest sizes that none of ``values`` exceeds."""
    elements, characters = 0, 0
    for value in values:
        if isinstance(value, tuple):
            elements = max(elements, len(value))
            characters = max(characters, sum(len(one) for one in value if isinstance(one, str)))
        elif isinstance(value, str):
            characters = max(characters, len(value))
    return Sizes(elements, characters)
