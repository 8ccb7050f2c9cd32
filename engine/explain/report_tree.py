"""Tells explanations and records as trees, from which every form for people is made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from itertools import islice

from ..condition import UNKNOWN, render_value
from ..decision import MARKS, Estimate, Outcome
from ..record import (
    CandidateRecord,
    ChoiceRecord,
    DecisionRecord,
    FeatureRecord,
    PlanRecord,
    choice_inputs,
    expected_of,
    split_point,
)
from ..report import ReportTree, duration_text, money_text
from .arm_text import arm_line, session_line
from .load_text import load_words
from .shapes import Change, Explained, PartValue, RuleExplanation, RunnerUp

MAX_SHOWN = 12
"""Places that a tree lists of those that changes lead to; the explanation holds all."""

_OUTCOMES: Mapping[Outcome, str] = {
    "no_match": "no rule",
    "no_target": "no eligible target",
    "undecided": "no decision",
}

_MARKS = {mark.name: mark.label for mark in MARKS if mark.name != "breaker_open_last"}
"""In a list together; ``breaker_open_last`` has a line of its own."""


def record_tree(record: DecisionRecord) -> ReportTree:
    """What was decided: outcome, rule, plan, and who was excluded."""
    root = root_of(record)
    if record.reason is not None and record.pin is None:
        root.add(f"reason: {record.reason}")
    erased = record.erased or {}
    given = (name for name, f in record.features.items() if f.source in ("given", "derived"))
    features = [name for name in given if f"features.{name}" not in erased]
    if features:
        root.add("features: " + ", ".join(_feature(record, name) for name in features))
    _add_feature_notes(root, record)
    _add_plan(root, record)
    excluded = [candidate for candidate in record.candidates if not candidate.eligible]
    if excluded:
        told = (f"{c.model} ({c.origin}): {c.gate}: {_detail(c.model, c.detail, record)}" for c in excluded)
        root.add("not eligible", told)
    _add_unenforced(root, record)
    return root


def plan_tree(record: DecisionRecord) -> ReportTree | None:
    """What is called for the task, in which role; None without a plan."""
    root = ReportTree("")
    _add_plan(root, record)
    return next((child for child in root.children if child.label == "plan"), None)


def explanation_tree(explanation: Explained) -> ReportTree:
    """What was decided and why: values, earlier rules, every gate, runner-up, what would have led elsewhere."""
    record = explanation.decided
    root = root_of(record)
    matched = next((rule for rule in explanation.rules if rule.place == "matched"), None)
    if matched is not None:
        add_matched(root, matched, record)
    _add_feature_notes(root, record)
    _add_plan(root, record)
    _add_gates(root, explanation)
    earlier = [rule for rule in explanation.rules if rule.place == "before"]
    if earlier:
        root.add("earlier rules that did not match", map(failed_text, earlier))
    if explanation.excluded:
        root.add("excluded from the chain", (f"{model}: {why}" for model, why in explanation.excluded))
    if explanation.disabled:
        root.add("disabled in this policy: " + ", ".join(explanation.disabled))
    if explanation.runner_up is not None:
        root.add(f"runner-up: rule {explanation.runner_up.rule}, to {_where(explanation.runner_up)}")
    _add_changes(root, explanation)
    _add_unenforced(root, record)
    return root


def outcome_text(record: DecisionRecord) -> str:
    """What became of the task, such as ``routed to kimi by rule hard``."""
    match record.outcome:
        case "routed" if record.pin is not None:
            return f"routed to {record.target} (pinned)"
        case "routed":
            return f"routed to {record.target} by rule {record.rule}"
        case "no_match":
            return "no rule matched"
        case "no_target" if record.pin is not None:
            return "no eligible target: the pinned model is excluded"
        case "no_target":
            return f"no eligible target: rule {record.rule} matched, every candidate is excluded"
        case _:
            return f"undecided: the condition of rule {record.rule} is unknown (on_unknown: fail)"


def root_of(record: DecisionRecord) -> ReportTree:
    """The first line of a tree, with the arm and the pin."""
    root = ReportTree(f"{record.operation}: {outcome_text(record)}")
    arm = arm_line(record)
    if arm is not None:
        root.add(arm)
    if record.pin is not None:
        root.add(_pinned(record))
    return root


def _pinned(record: DecisionRecord) -> str:
    if record.rule is None:
        return f"pinned: {record.pin}; no rule would have matched"
    verdict = record.verdicts[record.rules.index(record.rule)]
    unknown = " (its condition is unknown)" if verdict is None else ""
    return f"pinned: {record.pin}; the rules would have come to {record.rule}{unknown}"


def _detail(model: str, lasting: str | None, record: DecisionRecord) -> str | None:
    """Why a model failed its gate, with the numbers of the call where the words have any."""
    return record.details.get(model, lasting)


def add_matched(
    root: ReportTree, rule: RuleExplanation, record: DecisionRecord, hidden: Set[str] = frozenset()
) -> None:
    """Add the rule that matched, with the values of its condition but those of ``hidden`` names."""
    label = f"rule {rule.name}: {rule.condition}"
    node = root.add(
        label,
        (
            f"{part.text} is sensitive, and not shown" if part.text in hidden else _part(part, record)
            for part in rule.parts
        ),
    )
    if rule.note:
        node.add(rule.note)
    if record.reason is not None:
        node.add(f"reason: {record.reason}")


def _add_feature_notes(root: ReportTree, record: DecisionRecord) -> None:
    erased = record.erased or {}
    if erased:
        root.add(f"erased: {', '.join(sorted(erased))}")
    nulls = sorted(
        name
        for name, feature in record.features.items()
        if _is_null(feature) and f"features.{name}" not in erased
    )
    if nulls:
        help = "leave a feature out to have it derived or defaulted; many clients write unset fields as null"
        root.add(f"given as null, and so unknown: {', '.join(nulls)}", [f"help: {help}"])
    ignored = {name: value for name, value in record.ignored.items() if f"ignored.{name}" not in erased}
    if ignored:
        listed = ", ".join(f"{name} = {_value(value)}" for name, value in ignored.items())
        root.add(f"ignored, not declared: {listed}")


def _how(feature: FeatureRecord) -> str:
    if feature.value is None and feature.source == "derived":
        return "derived, and not a value that it allows"
    return "given as null" if _is_null(feature) else feature.source


def _is_null(feature: FeatureRecord) -> bool:
    return feature.source == "given" and feature.value is None


def _add_plan(root: ReportTree, record: DecisionRecord) -> None:
    request, plan = record.request, record.plan
    if request.prompt_tokens_source in ("counted", "estimated"):
        how = "estimated" if request.tokenizer is None else f"counted with {request.tokenizer}"
        tokens = "1 token" if request.prompt_tokens == 1 else f"{request.prompt_tokens} tokens"
        root.add(f"prompt: {tokens}, {how}")
    if plan is None:
        return
    by_model = {candidate.model: candidate for candidate in record.candidates}
    expected = expectations(record)
    loads = load_words(record, expected)
    node = root.add("plan")
    node.add(f"target: {_planned(by_model[plan.target], expected, loads)}")
    if plan.ensemble is not None:
        members = ", ".join(plan.ensemble.members)
        node.add(f"ensemble ({plan.ensemble.combine}, quorum {plan.ensemble.quorum}): {members}")
    if plan.ensemble_dropped is not None:
        node.add(f"ensemble not used: {plan.ensemble_dropped}")
    if plan.fallbacks:
        node.add(
            "then, if it fails", (_planned(by_model[model], expected, loads) for model in plan.fallbacks)
        )
    for step in plan.steps:
        options = "".join(f", {name}: {value}" for name, value in step.options.items())
        node.add(f"{step.role} with {step.model}{' (required)' if step.required else ''}{options}")
    for dropped in plan.dropped:
        candidate = by_model.get(dropped.model)
        same = candidate is None or candidate.gate == dropped.gate
        why = f"{dropped.gate}: {_detail(dropped.model, dropped.detail, record) if same else dropped.detail}"
        node.add(f"{dropped.role} with {dropped.model} is left out: {why}")
    if plan.max_cost_nano is not None:
        node.add(
            f"may cost {money_text(plan.max_cost_nano)} {plan.max_cost_currency} at most, all calls together"
        )
    node.add(_times(plan))
    if plan.cache_ttl_ms is not None:
        node.add(_cached(plan.cache_ttl_ms, plan.cache_by))
    if record.choice is not None and record.choice.how not in ("first", "pin", "session"):
        node.add(f"chosen: {chosen_text(record, record.choice, expected)}")
    session = session_line(record)
    if session is not None:
        node.add(session)
    for candidate in record.candidates:
        if "breaker_open_last" in candidate.marks:
            node.add(f"{candidate.model} is called although its breaker is open: no other model is left")
    unverified = sorted({mark for c in record.candidates if c.eligible for mark in c.marks} & _MARKS.keys())
    if unverified:
        node.add("not known, and passed: " + ", ".join(_MARKS[mark] for mark in unverified))


def expectations(record: DecisionRecord) -> Mapping[str, Estimate]:
    """What is expected of each candidate, by model."""
    return {candidate.model: expected_of(record, candidate) for candidate in record.candidates}


def _times(plan: PlanRecord) -> str:
    """How long what may take: the limits that are written, then the engine's."""
    written = {**plan.timeouts, "first_token_within_ms": plan.first_token_within_ms}
    written["deadline_ms"] = plan.deadline_ms
    defaults = _limits(plan.defaults or {})
    told = [_limits(written), defaults and f"by default {defaults}"]
    return f"limits: {'; '.join(filter(None, told)) or 'none'}"


def _limits(by_name: Mapping[str, int | None]) -> str:
    return ", ".join(
        f"{name.removesuffix('_ms')} {duration_text(ms)}" for name, ms in by_name.items() if ms is not None
    )


def _cached(ttl_ms: int, by: Sequence[str] | None) -> str:
    equal = ["the request", *(["all facts that the caller gives"] if by is None else by)]
    are = "are" if len(equal) > 1 else "is"
    return f"an answer of the last {duration_text(ttl_ms)} may be reused if {' and '.join(equal)} {are} equal"


def chosen_text(record: DecisionRecord, choice: ChoiceRecord, expected: Mapping[str, Estimate]) -> str:
    """How one of several models was chosen, and by which numbers."""
    if choice.how == "split":
        by = "at random" if choice.key is None else f"by {choice.key}"
        return f"split {by}, at {split_point(record):.6g}"
    shown = []
    for name, value in choice_inputs(record).items():
        if value is None:
            text = "unknown"
        elif choice.how == "cheapest":
            text = f"{money_text(float(value), 6)} {expected[name].currency}"
        else:
            text = _milliseconds(float(value))
            load_ms = expected[name].load_ms
            if load_ms:
                text += f", of which {load_ms} for loading"
        shown.append(f"{name}: {text}")
    return f"{choice.how} ({', '.join(shown)})"


def _milliseconds(ms: float) -> str:
    """A mean of measured times has more digits than a reader has use for."""
    return f"{ms:.0f} ms" if ms >= 100 else f"{ms:.3g} ms"


def _planned(candidate: CandidateRecord, expected: Mapping[str, Estimate], loads: Mapping[str, str]) -> str:
    text = f"{candidate.model} ({candidate.origin})"
    estimate = expected[candidate.model]
    if estimate.latency_ms is not None:
        text += f", about {_milliseconds(estimate.latency_ms)} ({estimate.latency_source})"
    if candidate.model in loads:
        text += f", {loads[candidate.model]}"
    if 0 < candidate.probability < 1:
        text += f", with a share of {candidate.probability:.3g}"
    return text


def _add_gates(root: ReportTree, explanation: Explained) -> None:
    excluded = [candidate for candidate in explanation.candidates if candidate.failures]
    if excluded:
        node = root.add("not eligible")
        for candidate in excluded:
            node.add(
                f"{candidate.model} ({candidate.origin})",
                (f"{f.gate}: {f.detail}" for f in candidate.failures),
            )
    steps = [step for step in explanation.steps if step.failures]
    if steps:
        node = root.add("steps left out")
        for step in steps:
            node.add(f"{step.role} with {step.model}", (f"{f.gate}: {f.detail}" for f in step.failures))


def _add_changes(root: ReportTree, explanation: Explained) -> None:
    node = root.add("what would have led elsewhere")
    places: dict[str, list[str]] = {}
    for change in explanation.changes:
        where = _where(change) + (f" (rule {change.rule})" if change.rule else "")
        what = " and ".join(_changed(name, *values) for name, values in change.features.items())
        places.setdefault(where, []).append(what)
    for where, ways in islice(places.items(), MAX_SHOWN):
        node.add(f"{', or '.join(ways)}: {where}")
    more = len(places) - MAX_SHOWN
    if more > 0:
        node.add(f"and {more} more place{'' if more == 1 else 's'}")
    if not explanation.changes:
        node.add("no change of one or two features" + ("" if explanation.searched else " that was tried"))
    if not explanation.searched:
        node.add("not every value could be tried", explanation.not_covered)


def _changed(name: str, old: object, new: object) -> str:
    if new is None:
        return f"{name} left out instead of {_value(old)}"
    return f"{name} = {_value(new)} instead of {_value(old)}"


def _where(place: Change | RunnerUp) -> str:
    if place.drawn_from:
        return f"one of {', '.join(place.drawn_from)}, at random"
    return place.target or _OUTCOMES[place.outcome]


def _add_unenforced(root: ReportTree, record: DecisionRecord) -> None:
    if record.plan is not None and record.plan.unenforced:
        root.add("in the policy, not supported yet", record.plan.unenforced)


def failed_text(rule: RuleExplanation) -> str:
    """A rule and the parts of its condition that failed."""
    parts = (
        ", ".join(f"{part.text} is {_value(part.value)}{_reason(part)}" for part in rule.parts)
        or rule.condition
    )
    return f"{rule.name}: {parts}" + (f" ({rule.note})" if rule.note else "")


def _part(part: PartValue, record: DecisionRecord) -> str:
    feature = record.features.get(part.text)
    source = "" if feature is None else f" ({_how(feature)})"
    return f"{part.text} = {_value(part.value)}{source}{_reason(part)}"


def _reason(part: PartValue) -> str:
    return "" if part.reason is None else f" ({part.reason})"


def _feature(record: DecisionRecord, name: str) -> str:
    feature = record.features[name]
    how = "" if feature.source == "given" and feature.value is not None else f" ({_how(feature)})"
    return f"{name} = {_value(feature.value)}{how}"


def _value(value: object) -> str:
    """A value as conditions write it."""
    if value is None or value is UNKNOWN:
        return "unknown"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, Mapping):
        return json.dumps(value, ensure_ascii=False)
    return render_value(value)
