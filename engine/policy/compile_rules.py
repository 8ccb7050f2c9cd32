"""Rules, chains, steps and ensembles in, compiled rules out: every model reference resolved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..condition.types import Declaration
from ..suggest import suggest
from .compiled import (
    Candidate,
    CompiledCatalog,
    CompiledEnsemble,
    CompiledFeature,
    CompiledModel,
    CompiledRule,
    CompiledSplit,
    CompiledStep,
    Role,
)
from .nodes import Path
from .report import Report
from .shape import ChainEntry, Ensemble, Policy, Rule, Step
from .unenforced import unenforced_of_rule

__all__ = ["RuleCompiler", "find_model"]

_ROLES: tuple[Role, ...] = ("screen", "draft", "verify", "refine")


def find_model(
    name: str, catalog: CompiledCatalog | None, report: Report, path: Path
) -> CompiledModel | None:
    """The model that ``name`` stands for, or None after noting why there is none (silent without a catalog)."""
    if catalog is None:
        return None
    found = catalog.names.get(name, ())
    if len(found) == 1:
        return catalog.models[found[0]]
    if found:
        meant = ", ".join(f"{catalog.models[i].backend}:{catalog.models[i].tag}" for i in found)
        report.add("ambiguous-model", f"`{name}` names {len(found)} models", path, f"one of: {meant}")
    else:
        report.add("unknown-model", f"unknown model `{name}`", path, catalog.hint(name))
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
        used = self._models(rule.use or (), (*path, "use"))
        first = [Candidate(model.index, "use") for model in used]
        if ensemble is not None:
            first = [Candidate(member, "ensemble") for member in ensemble.members]
        after, taken_out = self._fallback(rule, path)
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
            taken_out=taken_out,
            unenforced=unenforced_of_rule(rule),
        )

    def _check_parts(self, rule: Rule, path: Path) -> None:
        if rule.use and rule.ensemble:
            self._report.add(
                "unfit-key", "a rule has `use` or `ensemble`, not both", (*path, "ensemble"), at_key=True
            )
        if not rule.use and not rule.ensemble and not self._lost(path):
            self._report.add("missing-key", f"rule `{rule.name}` needs `use` or `ensemble`", path)
        if rule.ensemble and rule.choose != "first":
            self._report.add("unfit-key", "`choose` belongs to `use`, not to an ensemble", (*path, "choose"))

    def _lost(self, path: Path) -> bool:
        """Whether a rule's candidates were there but could not be read (their place in the list may differ)."""
        return any(
            len(lost) >= 3 and lost[0] == path[0] and lost[2] in ("use", "ensemble")
            for lost in self._report.set_aside
        )

    def _models(self, names: Sequence[str], path: Path) -> list[CompiledModel]:
        found: dict[int, CompiledModel] = {}
        for number, name in enumerate(names):
            model = find_model(name, self._catalog, self._report, (*path, number))
            if model is not None and found.setdefault(model.index, model) is not model:
                continue
            if model is not None and list(names[:number]).count(name):
                self._report.add("duplicate-model", f"`{name}` is listed twice", (*path, number))
        return list(found.values())

    def _entries(
        self, name: str, chain: Sequence[str | ChainEntry]
    ) -> tuple[list[Candidate], list[tuple[str, str]]]:
        entries: list[Candidate] = []
        taken_out: list[tuple[str, str]] = []
        for number, entry in enumerate(chain):
            path: Path = ("chains", name, number)
            reference = entry.model if isinstance(entry, ChainEntry) else entry
            here = (*path, "model") if isinstance(entry, ChainEntry) else path
            model = find_model(reference, self._catalog, self._report, here)
            if model is None:
                continue
            if isinstance(entry, ChainEntry) and entry.disabled:
                taken_out.append((model.id, entry.reason or f"chain {name} disables it"))
                self.disabled.append(f"chain {name}: {model.id}")
            elif any(other.model == model.index for other in entries):
                self._report.add("duplicate-model", f"`{reference}` is in the chain `{name}` already", here)
            else:
                entries.append(Candidate(model.index, f"chain {name}"))
        return entries, taken_out

    def _fallback(self, rule: Rule, path: Path) -> tuple[list[Candidate], tuple[tuple[str, str], ...]]:
        if isinstance(rule.fallback, list):
            models = self._models(rule.fallback, (*path, "fallback"))
            return [Candidate(model.index, "fallback") for model in models], ()
        if rule.fallback == "none":
            return [], ()
        if rule.fallback not in self._chains:
            if not self._report.lacks("chains", rule.fallback):
                hint = suggest(rule.fallback, [*self._chains, "none"])
                help = f"{hint}; a single model is written as a list: [{rule.fallback}]"
                self._report.add(
                    "unknown-chain", f"unknown chain `{rule.fallback}`", (*path, "fallback"), help
                )
            return [], ()
        entries, taken_out = self._chains[rule.fallback]
        return entries, tuple(taken_out)

    def _split(self, rule: Rule, used: Sequence[CompiledModel], path: Path) -> CompiledSplit | None:
        if rule.split is None:
            if rule.choose == "split":
                self._report.add(
                    "missing-key", "`choose: split` needs `split` with weights", (*path, "choose")
                )
            return None
        here = (*path, "split")
        if rule.choose != "split":
            self._report.add("unfit-key", "`split` belongs to `choose: split`", here, at_key=True)
        weights = dict.fromkeys((model.index for model in used), 0)
        for name, weight in rule.split.weights.items():
            model = find_model(name, self._catalog, self._report, (*here, "weights", name))
            if model is not None and model.index not in weights:
                message = f"`{name}` has a weight but is not in `use`"
                self._report.add("unfit-value", message, (*here, "weights", name), at_key=True)
            elif model is not None:
                weights[model.index] = weight
        if used and not any(weights.values()):
            self._report.add("wrong-value", "all weights are 0", (*here, "weights"), at_key=True)
        key = rule.split.key
        if key is not None and key not in self._slots:
            hint = suggest(key, self._slots)
            self._report.add("unknown-name", f"unknown feature `{key}`", (*here, "key"), hint)
        return CompiledSplit(
            tuple(weights.values()), self._slots.get(key) if key else None, key, rule.split.salt
        )

    def _steps(self, steps: Sequence[Step], path: Path) -> tuple[CompiledStep, ...]:
        compiled = []
        for number, step in enumerate(steps):
            bodies = [(role, body) for role in _ROLES if (body := getattr(step, role)) is not None]
            if len(bodies) != 1:
                if not self._lost_step(path):
                    message = f"a step is exactly one of {', '.join(_ROLES)}"
                    self._report.add("wrong-value", message, (*path, number))
                continue
            role, body = bodies[0]
            model = find_model(body.with_, self._catalog, self._report, (*path, number, role, "with"))
            if model is not None:
                options = body.model_dump(by_alias=True, exclude={"with_", "required"})
                compiled.append(CompiledStep(role, model.index, body.required, options))
        return tuple(compiled)

    def _lost_step(self, path: Path) -> bool:
        return any("steps" in lost and lost[0] == path[0] for lost in self._report.set_aside)

    def _ensemble(self, ensemble: Ensemble, path: Path) -> CompiledEnsemble | None:
        members = self._models(ensemble.members, (*path, "members"))
        quorum = ensemble.quorum or len(ensemble.members)
        if quorum > len(ensemble.members):
            self._report.add(
                "wrong-value", f"only {len(ensemble.members)} members can answer", (*path, "quorum")
            )
        roles: dict[Literal["judge", "override"], CompiledModel | None] = {}
        for role, combine in (("judge", "judge"), ("override", "consensus_or_override")):
            name = ensemble.judge if role == "judge" else ensemble.override
            if name is None and ensemble.combine == combine:
                self._report.add("missing-key", f"`combine: {combine}` needs `{role}`", (*path, "combine"))
            elif name is not None and ensemble.combine != combine:
                self._report.add(
                    "unfit-key", f"`{role}` belongs to `combine: {combine}`", (*path, role), at_key=True
                )
            elif name is not None:
                roles["judge" if role == "judge" else "override"] = find_model(
                    name, self._catalog, self._report, (*path, role)
                )
        judge, override = roles.get("judge"), roles.get("override")
        if override is not None and override not in members:
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
