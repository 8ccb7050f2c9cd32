"""Compiles rules, chains, steps and ensembles: every model reference resolved."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping, Sequence
from typing import Literal

from ...condition import Declaration, PatternError, compile_pattern
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
from ..labels import chain_help, joined, owner
from ..shapes import STEPS, ChainEntry, Ensemble, Policy, Rule, Step
from ..source import Path
from .report import Report

_ESCAPED_OR_CLASS = re.compile(r"\\.|\[\^?\]?[^\]]*\]", re.DOTALL)
_GROUP = re.compile(r"\((?!\?)|\(\?P?<[A-Za-z_]")
"""The beginning of a group that is captured, in a pattern without escapes and character classes."""


def find_model(
    name: str, catalog: CompiledCatalog | None, report: Report, path: Path
) -> CompiledModel | None:
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
        report.add("ambiguous-model", f"`{name}` names {len(found)} models", path, f"one of: {meant}")
    else:
        chains = report.document.root.children.get("chains")
        help = chain_help(name) if chains and name in chains.children else catalog.hint(name)
        report.add("unknown-model", f"unknown model `{name}`", path, help)
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
            report.add("reserved-name", message, ("chains", "none"), at_key=True)

    def compile(self) -> tuple[CompiledRule, ...]:
        """The rules that are not disabled, in the order of the file."""
        rules: list[CompiledRule] = []
        for number, rule in enumerate(self._policy.rules):
            compiled = self._rule(len(rules), rule, ("rules", number))
            if rule.disabled:
                self.disabled.append(f"rule {rule.name}")
            elif compiled is not None:
                rules.append(compiled)
        return tuple(rules)

    def _rule(self, index: int, rule: Rule, path: Path) -> CompiledRule | None:
        when = self._report.condition(rule.when, (*path, "when"), self._scope)
        self._check_parts(rule, path)
        ensemble = self._ensemble(rule.ensemble, (*path, "ensemble")) if rule.ensemble else None
        self._check_currencies(rule, used := self._models(rule.use or (), (*path, "use")), path)
        first = [Candidate(model.index, "use") for model in used]
        if ensemble is not None:
            first = [Candidate(member, "ensemble") for member in ensemble.members]
        after, excluded = self._fallback(rule, path)
        split = self._split(rule, used, path)
        steps = self._steps(rule.steps, (*path, "steps"))
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

    def _check_parts(self, rule: Rule, path: Path) -> None:
        if rule.use and rule.ensemble:
            self._report.add(
                "unfit-key", "a rule has `use` or `ensemble`, not both", (*path, "ensemble"), at_key=True
            )
        lost = any(self._report.lost((*path, key)) for key in ("use", "ensemble"))
        if not rule.use and not rule.ensemble and not lost:
            message = f"{owner(path, self._report.document)} needs `use` or `ensemble`"
            self._report.add("missing-key", message, path)
        if rule.ensemble and rule.choose != "first":
            self._report.add(
                "unfit-key", "`choose` belongs to `use`, not to an ensemble", (*path, "choose"), at_key=True
            )
        if rule.ensemble and rule.sticky:
            self._report.add(
                "unfit-key", "`sticky` belongs to `use`, not to an ensemble", (*path, "sticky"), at_key=True
            )

    def _check_currencies(self, rule: Rule, used: Sequence[CompiledModel], path: Path) -> None:
        """The cheapest of prices in two currencies is not a question that numbers answer."""
        currencies = {model.shape.price.currency for model in used if model.shape.price is not None}
        if rule.choose == "cheapest" and len(currencies) > 1:
            message = f"`choose: cheapest` cannot compare prices in {' and '.join(sorted(currencies))}"
            self._report.add("mixed-currencies", message, (*path, "choose"), "nothing is converted")

    def _models(self, names: Sequence[str], path: Path) -> list[CompiledModel]:
        found: dict[int, CompiledModel] = {}
        for number, name in enumerate(names):
            model = find_model(name, self._catalog, self._report, (*path, number))
            if model is not None and not self._is_repeat(name, model, found, (*path, number)):
                found[model.index] = model
        return list(found.values())

    def _is_repeat(self, name: str, model: CompiledModel, found: Container[int], path: Path) -> bool:
        if model.index not in found:
            return False
        message = f"`{name}` is listed twice"
        if name != model.id:
            message = f"`{name}` is `{model.id}`, which is listed already"
        self._report.add("duplicate-model", message, path)
        return True

    def _entries(
        self, name: str, chain: Sequence[str | ChainEntry]
    ) -> tuple[list[Candidate], list[tuple[str, str]]]:
        entries: dict[int, Candidate] = {}
        excluded: list[tuple[str, str]] = []
        for number, entry in enumerate(chain):
            path: Path = ("chains", name, number)
            reference = entry.model if isinstance(entry, ChainEntry) else entry
            here = (*path, "model") if isinstance(entry, ChainEntry) else path
            model = find_model(reference, self._catalog, self._report, here)
            if model is None:
                continue
            if isinstance(entry, ChainEntry) and entry.disabled:
                excluded.append((model.id, entry.reason or f"chain {name} disables it"))
                self.disabled.append(f"chain {name}: {model.id}")
            elif not self._is_repeat(reference, model, entries, here):
                entries[model.index] = Candidate(model.index, f"chain {name}")
        return list(entries.values()), excluded

    def _fallback(self, rule: Rule, path: Path) -> tuple[list[Candidate], tuple[tuple[str, str], ...]]:
        if isinstance(rule.fallback, list):
            models = self._models(rule.fallback, (*path, "fallback"))
            return [Candidate(model.index, "fallback") for model in models], ()
        if rule.fallback == "none":
            return [], ()
        if rule.fallback not in self._chains:
            lost = self._report.lost(("chains",)) or self._report.lost(
                ("chains", rule.fallback), misspelt=False
            )
            if not lost:
                # Only a name that is a model's was meant as one.
                meant = self._catalog is not None and rule.fallback in self._catalog.names
                help = f"a single model is written as a list: [{rule.fallback}]" if meant else ""
                known = [*self._chains, "none"]
                self._report.unknown("chain", rule.fallback, known, (*path, "fallback"), help)
            return [], ()
        entries, excluded = self._chains[rule.fallback]
        return entries, tuple(excluded)

    def _split(self, rule: Rule, used: Sequence[CompiledModel], path: Path) -> CompiledSplit | None:
        if rule.split is None:
            if rule.choose == "split" and not self._report.lost((*path, "split")):
                self._report.add(
                    "missing-key", "`choose: split` needs `split` with weights", (*path, "choose")
                )
            return None
        here = (*path, "split")
        if rule.choose != "split" and not self._report.lost((*path, "choose")):
            self._report.add("unfit-key", "`split` belongs to `choose: split`", here, at_key=True)
        weights = dict.fromkeys((model.index for model in used), 0)
        given: set[int] = set()
        # Of a list that could not be read whole, nothing can be said to be missing.
        whole = len(used) == len(rule.use or ()) and not self._report.incomplete((*path, "use"))
        for name, weight in rule.split.weights.items():
            model = find_model(name, self._catalog, self._report, (*here, "weights", name))
            if model is not None and model.index not in weights:
                if not whole:
                    continue
                message = f"`{name}` has a weight but is not in `use`"
                self._report.add("unfit-value", message, (*here, "weights", name), at_key=True)
            elif model is not None and not self._is_repeat(name, model, given, (*here, "weights", name)):
                given.add(model.index)
                weights[model.index] = weight
        if used and given and whole and not any(weights.values()):
            self._report.add("wrong-value", "all weights are 0", (*here, "weights"), at_key=True)
        key = rule.split.key
        self._report.feature(key, self._slots, (*here, "key"))
        return CompiledSplit(
            tuple(weights.values()), self._slots.get(key) if key else None, key, rule.split.salt
        )

    def _steps(self, steps: Sequence[Step], path: Path) -> tuple[CompiledStep, ...]:
        compiled = []
        for number, step in enumerate(steps):
            bodies = [(role, body) for role in STEPS if (body := getattr(step, role)) is not None]
            if len(bodies) != 1:
                if bodies or not self._report.incomplete((*path, number)):
                    message = f"a step is exactly one of {', '.join(STEPS)}"
                    self._report.add("wrong-value", message, (*path, number))
                continue
            role, body = bodies[0]
            model = self._chatting(body.with_, (*path, number, role, "with"))
            if model is not None:
                compiled.append(CompiledStep(role, model.index, body.required, body.options()))
        return tuple(compiled)

    def _chatting(self, name: str, path: Path) -> CompiledModel | None:
        """The model of a step, a judge or an override; notes one that does not chat, as all of them are asked to."""
        model = find_model(name, self._catalog, self._report, path)
        if model is not None and "chat" not in model.operations:
            offers = joined([f"`{operation}`" for operation in sorted(model.operations)]) or "nothing"
            self._report.add("unfit-value", f"`{name}` does not chat: it offers {offers}", path)
        return model

    def _check_label(self, ensemble: Ensemble, path: Path) -> None:
        label, combine = ensemble.label, ensemble.combine
        if label is None:
            if combine == "vote" and not self._report.lost((*path, "label")):
                help = "such as '(?i)(approve|reject)': its first group is what an answer votes for"
                self._report.add("missing-key", "`combine: vote` needs `label`", (*path, "combine"), help)
            return
        here = (*path, "label")
        if combine not in ("vote", "consensus_or_override"):
            message = "`label` belongs to `combine: vote` and `combine: consensus_or_override`"
            self._report.add("unfit-key", message, here, at_key=True)
        try:
            compile_pattern(label)
        except PatternError as error:
            self._report.add("bad-pattern", f"`label`: {error}", here)
            return
        if not _GROUP.search(_ESCAPED_OR_CLASS.sub("", label)):
            help = "put what is the label in round brackets"
            self._report.add(
                "bad-pattern", "`label` has no group: an answer's label is its first", here, help
            )

    def _ensemble(self, ensemble: Ensemble, path: Path) -> CompiledEnsemble | None:
        members = self._models(ensemble.members, (*path, "members"))
        quorum = ensemble.quorum or (1 if ensemble.combine == "first" else len(ensemble.members))
        if quorum > len(ensemble.members) and not self._report.incomplete((*path, "members")):
            self._report.add(
                "wrong-value", f"only {len(ensemble.members)} members can answer", (*path, "quorum")
            )
        roles: dict[Literal["judge", "override"], CompiledModel | None] = {}
        for role, combine in (("judge", "judge"), ("override", "consensus_or_override")):
            name = ensemble.judge if role == "judge" else ensemble.override
            if name is None and ensemble.combine == combine and not self._report.lost((*path, role)):
                self._report.add("missing-key", f"`combine: {combine}` needs `{role}`", (*path, "combine"))
            elif name is not None and ensemble.combine != combine:
                self._report.add(
                    "unfit-key", f"`{role}` belongs to `combine: {combine}`", (*path, role), at_key=True
                )
            elif name is not None:
                roles["judge" if role == "judge" else "override"] = self._chatting(name, (*path, role))
        self._check_label(ensemble, path)
        judge, override = roles.get("judge"), roles.get("override")
        whole = len(members) == len(ensemble.members) and not self._report.incomplete((*path, "members"))
        if override is not None and override not in members and whole:
            self._report.add("unfit-value", "`override` must be one of the members", (*path, "override"))
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
