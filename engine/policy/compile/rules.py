"""Compiles rules, chains, steps and ensembles: every model reference resolved."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence

from ...condition import Declaration, PatternError, compile_pattern
from ...report import closest
from ..compiled import (
    Candidate,
    CompiledCatalog,
    CompiledEnsemble,
    CompiledFeature,
    CompiledModel,
    CompiledRule,
    CompiledSplit,
    CompiledStep,
)
from ..labels import chain_help, joined
from ..shapes.policy import ChainEntry, Ensemble, Policy, Rule
from ..shapes.steps import STEPS, Step
from .report import Report

_ESCAPED_OR_CLASS = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_GROUP = re.compile(r"\((?!\?)|\(\?P?<[A-Za-z_]")
"""The beginning of a group that is captured, in a pattern without escapes and character classes."""


def find_model(name: str, catalog: CompiledCatalog | None, report: Report) -> CompiledModel | None:
    """The model that ``name`` stands for, or None after noting why there is none (silent without a catalog)."""
    if catalog is None:
        return None
    found = catalog.names.get(name, ())
    if len(found) == 1:
        return catalog.models[found[0]]
    if report.full:
        return None  # searching for a suggestion would be wasted
    if found:
        meant = ", ".join(catalog.models[i].id for i in found)
        report.add("ambiguous-model", f"`{name}` names {len(found)} models", f"one of: {meant}")
    else:
        chains = report.document.root.children.get("chains")
        help = chain_help(name) if chains and name in chains.children else catalog.hint(name)
        report.add("unknown-model", f"unknown model `{name}`", help)
    return None


class RuleCompiler:
    """Compiles the rules of one policy; ``disabled`` collects what is taken out."""

    def __init__(
        self,
        policy: Policy,
        catalog: CompiledCatalog | None,
        features: Sequence[CompiledFeature],
        scope: Mapping[str, Declaration],
        report: Report,
    ) -> None:
        self._policy = policy
        self._catalog = catalog
        self._slots = {feature.name: slot for slot, feature in enumerate(features)}
        self._scope = scope
        self._report = report
        self.disabled: list[str] = []
        self._chains = {name: self._entries(name, chain) for name, chain in policy.chains.items()}
        if "none" in self._chains:
            message = "a chain cannot be called `none`: `fallback: none` says that there is none"
            report.at("chains", "none").add("reserved-name", message, at_key=True)

    def compile(self) -> tuple[CompiledRule, ...]:
        """The rules that are not disabled, in the order of the file."""
        rules: list[CompiledRule] = []
        for number, rule in enumerate(self._policy.rules):
            compiled = self._rule(len(rules), rule, self._report.at("rules", number))
            if rule.disabled:
                self.disabled.append(f"rule {rule.name}")
            elif compiled is not None:
                rules.append(compiled)
        return tuple(rules)

    def _rule(self, index: int, rule: Rule, report: Report) -> CompiledRule | None:
        when = report.at("when").condition(rule.when, self._scope)
        self._check_parts(rule, report)
        ensemble = self._ensemble(rule.ensemble, report.at("ensemble")) if rule.ensemble else None
        self._check_currencies(rule, used := self._models(rule.use or (), report.at("use")), report)
        first = [Candidate(model.index, "use") for model in used]
        if ensemble is not None:
            first = [Candidate(member, "ensemble") for member in ensemble.members]
        after, excluded = self._fallback(rule, report.at("fallback"))
        split = self._split(rule, used, report)
        steps = self._steps(rule.steps, report.at("steps"))
        if when is None:
            return None
        candidates: dict[int, Candidate] = {}
        for candidate in (*first, *after):
            candidates.setdefault(candidate.model, candidate)
        return CompiledRule(
            index=index,
            name=rule.name,
            when=when,
            on_unknown=rule.on_unknown,
            candidates=tuple(candidates.values()),
            chosen_from=len({candidate.model for candidate in first}),
            choose=rule.choose,
            split=split,
            ensemble=ensemble,
            steps=steps,
            reason=rule.reason,
            sticky=rule.sticky is not None,
            excluded=excluded,
        )

    def _check_parts(self, rule: Rule, report: Report) -> None:
        if rule.use and rule.ensemble:
            report.unfit("ensemble", "a rule has `use` or `ensemble`, not both")
        if not rule.use and not rule.ensemble and not report.lost("ensemble"):
            report.missing("use", f"{report.name} needs `use` or `ensemble`")
        if rule.ensemble and rule.choose != "first":
            report.unfit("choose", "`choose` belongs to `use`, not to an ensemble")
        if rule.ensemble and rule.sticky:
            report.unfit("sticky", "`sticky` belongs to `use`, not to an ensemble")

    def _check_currencies(self, rule: Rule, used: Sequence[CompiledModel], report: Report) -> None:
        """The cheapest of prices in two currencies is not a question that numbers answer."""
        currencies = {model.shape.price.currency for model in used if model.shape.price is not None}
        if rule.choose == "cheapest" and len(currencies) > 1:
            message = f"`choose: cheapest` cannot compare prices in {' and '.join(sorted(currencies))}"
            report.at("choose").add("mixed-currencies", message, "nothing is converted")

    def _models(self, names: Sequence[str], report: Report) -> list[CompiledModel]:
        found: dict[int, CompiledModel] = {}
        for number, name in enumerate(names):
            model = self._new_model(name, found, report.at(number))
            if model is not None:
                found[model.index] = model
        return list(found.values())

    def _new_model(self, name: str, found: Container[int], report: Report) -> CompiledModel | None:
        """The model that ``name`` stands for; None after noting that there is none, or that it is found already."""
        model = find_model(name, self._catalog, report)
        if model is None or model.index not in found:
            return model
        message = f"`{name}` is listed twice"
        if name != model.id:
            message = f"`{name}` is `{model.id}`, which is listed already"
        report.add("duplicate-model", message)
        return None

    def _entries(
        self, name: str, chain: Sequence[str | ChainEntry]
    ) -> tuple[list[Candidate], list[tuple[str, str]]]:
        entries: dict[int, Candidate] = {}
        excluded: list[tuple[str, str]] = []
        for number, entry in enumerate(chain):
            here = self._report.at("chains", name, number)
            if isinstance(entry, str):
                model = self._new_model(entry, entries, here)
            else:
                model = self._new_model(entry.model, () if entry.disabled else entries, here.at("model"))
            if model is None:
                continue
            if isinstance(entry, ChainEntry) and entry.disabled:
                excluded.append((model.id, entry.reason or f"chain {name} disables it"))
                self.disabled.append(f"chain {name}: {model.id}")
            else:
                entries[model.index] = Candidate(model.index, f"chain {name}")
        return list(entries.values()), excluded

    def _fallback(self, rule: Rule, report: Report) -> tuple[list[Candidate], tuple[tuple[str, str], ...]]:
        if isinstance(rule.fallback, list):
            return [Candidate(model.index, "fallback") for model in self._models(rule.fallback, report)], ()
        if rule.fallback in self._chains:
            entries, excluded = self._chains[rule.fallback]
            return entries, tuple(excluded)
        if rule.fallback != "none" and not self._report.has_lost("chains", rule.fallback):
            # Only a name that looks like a model's was meant as one.
            names = {} if self._catalog is None or report.full else self._catalog.names
            meant = rule.fallback if rule.fallback in names else closest(rule.fallback, names)
            help = f"a single model is written as a list: [{meant}]" if meant else ""
            report.unknown("chain", rule.fallback, [*self._chains, "none"], help)
        return [], ()

    def _split(self, rule: Rule, used: Sequence[CompiledModel], report: Report) -> CompiledSplit | None:
        if rule.split is None:
            if rule.choose == "split":
                report.missing("split", "`choose: split` needs `split` with weights", at=["choose"])
            return None
        if rule.choose != "split" and not report.lost("choose"):
            report.unfit("split", "`split` belongs to `choose: split`")
        weights = dict.fromkeys((model.index for model in used), 0)
        given: set[int] = set()
        # Of a list that could not be read whole, nothing can be said to be missing.
        whole = len(used) == len(rule.use or ()) and not report.at("use").incomplete
        listed = report.at("split", "weights")
        for name, weight in rule.split.weights.items():
            model = self._new_model(name, given, listed.at(name))
            if model is not None and model.index in weights:
                given.add(model.index)
                weights[model.index] = weight
            elif model is not None and whole:
                message = f"`{name}` has a weight but is not in `use`"
                listed.at(name).add("unfit-value", message, at_key=True)
        if used and given and whole and not any(weights.values()):
            listed.add("wrong-value", "all weights are 0", at_key=True)
        key = rule.split.key
        report.at("split", "key").feature(key, self._slots)
        slot = self._slots.get(key) if key else None
        return CompiledSplit(tuple(weights.values()), slot, key, rule.split.salt)

    def _steps(self, steps: Sequence[Step], report: Report) -> tuple[CompiledStep, ...]:
        compiled = []
        for number, step in enumerate(steps):
            here = report.at(number)
            bodies = [(role, body) for role in STEPS if (body := getattr(step, role)) is not None]
            if len(bodies) != 1:
                if bodies or not here.incomplete:
                    here.add("wrong-value", f"a step is exactly one of {', '.join(STEPS)}")
                continue
            role, body = bodies[0]
            model = self._chatting(body.with_, here.at(role, "with"))
            if model is not None:
                compiled.append(CompiledStep(role, model.index, body.required, body.options()))
        return tuple(compiled)

    def _chatting(self, name: str, report: Report) -> CompiledModel | None:
        """The model of a step, a judge or an override; notes one that does not chat, as all of them are asked to."""
        model = find_model(name, self._catalog, report)
        if model is not None and "chat" not in model.operations:
            offers = joined([f"`{operation}`" for operation in sorted(model.operations)]) or "nothing"
            report.add("unfit-value", f"`{name}` does not chat: it offers {offers}")
        return model

    def _check_label(self, ensemble: Ensemble, report: Report) -> None:
        label, combine = ensemble.label, ensemble.combine
        if label is None:
            if combine == "vote":
                help = "such as '(?i)(approve|reject)': its first group is what an answer votes for"
                report.missing("label", "`combine: vote` needs `label`", help, at=["combine"])
            return
        if combine not in ("vote", "consensus_or_override"):
            report.unfit("label", "`label` belongs to `combine: vote` and `combine: consensus_or_override`")
        here = report.at("label")
        try:
            compile_pattern(label)
        except PatternError as error:
            here.add("bad-pattern", f"`label`: {error}")
            return
        if not _GROUP.search(_ESCAPED_OR_CLASS.sub("", label)):
            help = "put what is the label in round brackets"
            here.add("bad-pattern", "`label` has no group: an answer's label is its first", help)

    def _ensemble(self, ensemble: Ensemble, report: Report) -> CompiledEnsemble | None:
        members = self._models(ensemble.members, report.at("members"))
        incomplete = report.at("members").incomplete
        quorum = ensemble.quorum or (1 if ensemble.combine == "first" else len(ensemble.members))
        if quorum > len(ensemble.members) and not incomplete:
            report.at("quorum").add("wrong-value", f"only {len(ensemble.members)} members can answer")
        roles: dict[str, CompiledModel | None] = {}
        for role, combine in (("judge", "judge"), ("override", "consensus_or_override")):
            name = getattr(ensemble, role)
            if name is not None and ensemble.combine != combine:
                report.unfit(role, f"`{role}` belongs to `combine: {combine}`")
            elif name is not None:
                roles[role] = self._chatting(name, report.at(role))
            elif ensemble.combine == combine:
                report.missing(role, f"`combine: {combine}` needs `{role}`", at=["combine"])
        self._check_label(ensemble, report)
        judge, override = roles.get("judge"), roles.get("override")
        whole = len(members) == len(ensemble.members) and not incomplete
        if override is not None and override not in members and whole:
            report.at("override").add("unfit-value", "`override` must be one of the members")
        if not members:
            return None
        return CompiledEnsemble(
            members=tuple(model.index for model in members),
            combine=ensemble.combine,
            quorum=quorum,
            judge=judge.index if judge else None,
            override=override.index if override else None,
            label=ensemble.label,
        )
