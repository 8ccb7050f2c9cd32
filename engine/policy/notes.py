"""Notes on a policy or a catalog: what is valid and no mistake, but which the author may not have meant.

They are about values that a policy refuses, or does not compute, below the engine's own limits, and about backends that
may be on this machine but do not count as local, whose models constraints on ``model.location`` exclude; about models
that never fit into memory, about verdicts that have nobody to escalate to, about quotas that count the same, and about
keys of canaries and splits that give values away or do not divide tasks anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..condition import LARGEST, Bounded, CheckedExpr, Sizes, always_within, render_expr, walk_typed
from ..report import Problem, sort_problems
from .compile.budget import sizes_by_name
from .compiled import CompiledCatalog, CompiledFeature, CompiledPolicy, CompiledRule, Quota
from .locality import callable_instead
from .reading.shape_problems import place_problem
from .shapes.catalog import Catalog
from .shapes.kinds import ServerBackend
from .source.document import Path
from .source.nodes import parse_yaml

_FACT = "model.location"


def place_notes(loaded: CompiledPolicy | CompiledCatalog) -> list[Problem]:
    """Notes on backends that may be local but do not count as local, and on models that need more memory than their
    backend has, each at its place in the YAML.

    Includes those of a rollout's candidate. An unknown location is only noted if the policy asks for it. Disabled
    backends are skipped.
    """
    if isinstance(loaded, CompiledCatalog):
        return sort_problems(_placed(_of_places(loaded, (), asking=None), loaded))
    found: list[Problem] = []
    for policy in loaded.with_candidate:
        inside = ("catalog",) if isinstance(policy.shape.catalog, Catalog) else ()
        notes = _of_places(policy.catalog, inside, asking=_who_asks(policy))
        found += _placed(notes, policy.catalog)
    return sort_problems(found)


def _who_asks(policy: CompiledPolicy) -> str | None:
    """The first constraint that asks where a model runs."""
    return next((one.name for one in policy.constraints if _FACT in one.require.names), None)


def _placed(notes: Iterable[Problem], file: CompiledPolicy | CompiledCatalog) -> list[Problem]:
    """The notes at their places in the YAML, which is parsed only where there are any."""
    found = list(notes)
    document = parse_yaml(file.text, file.source) if found else None
    return [place_problem(one, document) for one in found] if document else []


def _of_places(catalog: CompiledCatalog, inside: Path, *, asking: str | None) -> Iterator[Problem]:
    yield from _of_memory(catalog, inside)
    for id, backend in catalog.backends.items():
        if backend.disabled or not isinstance(backend, ServerBackend) or backend.host is None:
            continue
        path = (*inside, "backends", id, "host")
        if (call := callable_instead(backend.host)) is not None:
            message = f"`{backend.host}` is a listen address, not this machine: its models count as cloud"
            help = f"to call a server here, write `{call}`"
            yield Problem("address-to-listen-at", message, help, path=path)
        elif asking is not None and backend.server.may_forward:
            message = (
                f"it is unknown whether models of `{id}` run on this machine, so `{asking}` may exclude them"
            )
            help = "say `stays: true` if the server does the work itself, `location: cloud` if it does not"
            yield Problem("location-unknown", message, help, path=path)


def _of_memory(catalog: CompiledCatalog, inside: Path) -> Iterator[Problem]:
    for model in catalog.models:
        backend = catalog.backends[model.backend]
        limit_gb, needs_gb = getattr(backend, "memory_gb", None), model.shape.memory_gb
        if model.disabled is None and limit_gb is not None and needs_gb is not None and needs_gb > limit_gb:
            message = (
                f"`{model.id}` is never loaded: it needs {needs_gb:g} GB, and all models of `{model.backend}` "
                f"together have {limit_gb:g} GB"
            )
            path = (*inside, "models", model.id, "memory_gb")
            yield Problem("never-loaded", message, path=path)


def step_notes(policy: CompiledPolicy) -> list[Problem]:
    """A note on each step that escalates where its rule has no other model; those of a rollout's candidate too."""
    return sort_problems(note for one in policy.with_candidate for note in _placed(_of_steps(one), one))


def _of_steps(policy: CompiledPolicy) -> Iterator[Problem]:
    for number, rule in _rules(policy):
        if _has_another(rule, policy.catalog):
            continue
        for at, step in enumerate(rule.steps):
            if step.options.get("on_reject") == "escalate":
                message = f"`{rule.name}` has no other model to escalate to: a rejected answer is given all the same"
                path = ("rules", number, "steps", at, step.role, "on_reject")
                yield Problem(
                    "nobody-to-ask", message, "give the rule a `fallback`, or write `retry`", path=path
                )


def _has_another(rule: CompiledRule, catalog: CompiledCatalog) -> bool:
    """Whether a model is left once the rule's answer, or its ensemble's, is rejected."""
    usable = {one.model for one in rule.candidates if catalog.models[one.model].disabled is None}
    return bool(usable - set(rule.ensemble.members)) if rule.ensemble else len(usable) > 1


def quota_notes(policy: CompiledPolicy) -> list[Problem]:
    """A note on each quota that counts what an earlier one counts; those of a rollout's candidate too."""
    found = _placed(_of_quotas(policy), policy)
    candidate = None if policy.rollout is None else policy.rollout.candidate
    return sort_problems([*found, *(() if candidate is None else quota_notes(candidate))])


def _of_quotas(policy: CompiledPolicy) -> Iterator[Problem]:
    numbers = {control.name: number for number, control in enumerate(policy.shape.controls)}
    counted: dict[Quota, Quota] = {}
    # A reserve makes of the larger limit another one for some tasks; calls of other policies may count under one name.
    for quota in (quota for quota in policy.quotas if not quota.reserves and not quota.shared):
        first = counted.setdefault(replace(quota, name="", limit=0), quota)
        if first is not quota:
            message = f"`{quota.name}` counts the same as `{first.name}`: only the smaller limit matters"
            yield Problem(
                "same-quota", message, "keep one of them", path=("controls", numbers[quota.name], "name")
            )


def key_notes(policy: CompiledPolicy) -> list[Problem]:
    """A note on each key of a canary or split whose values are sensitive, and on a canary that falls as a split does;
    those of a rollout's candidate too."""
    found = [note for one in policy.with_candidate for note in _placed(_of_split_keys(one), one)]
    return sort_problems([*found, *_placed(_of_canary(policy), policy)])


def _of_split_keys(policy: CompiledPolicy) -> Iterator[Problem]:
    for number, rule in _rules(policy):
        if rule.split is not None and rule.split.key is not None:
            yield from _of_key(policy.features[rule.split.key], ("rules", number, "split", "key"))


def _of_canary(policy: CompiledPolicy) -> Iterator[Problem]:
    rollout = policy.rollout
    if rollout is None or rollout.mode != "canary" or rollout.key is None:
        return
    yield from _of_key(policy.features[rollout.key], ("rollout", "key"))
    alike = [
        f"rule `{rule.name}`{'' if one is policy else ' of the candidate'}"
        for one in policy.with_candidate
        for rule in one.rules
        if rule.split is not None
        and (rule.split.key_name, rule.split.salt) == (rollout.key_name, rollout.salt)
    ]
    if alike:
        message = (
            f"the canary and the split of {' and '.join(alike)} go by the same `key` and `salt`, so both divide alike: "
            "each arm gets one end of the split"
        )
        help = "give the rollout another `salt`, such as `salt: canary-1`"
        yield Problem("same-salt", message, help, path=("rollout", "salt" if rollout.salt else "key"))


def _of_key(feature: CompiledFeature, path: Path) -> Iterator[Problem]:
    if feature.sensitive:
        message = (
            f"`{feature.name}` is sensitive, and records keep where its value falls under this key: who guesses the "
            "value can check it, also after it was erased"
        )
        yield Problem(
            "sensitive-key", message, "use another key, or none to draw each task by itself", path=path
        )


def limit_notes(policy: CompiledPolicy) -> list[Problem]:
    """A note on each part of a condition that long values cut short, and one on values that are refused."""
    return _placed(_of_sizes(policy), policy)


def _of_sizes(policy: CompiledPolicy) -> Iterator[Problem]:
    if policy.sizes < LARGEST:
        message = (
            f"features with {_more_than(policy.sizes)} are refused, as the conditions could take too long"
        )
        yield Problem("bounded-values", message, path=("features",))
    known = sizes_by_name(policy.features, policy.catalog)
    for condition, path in _conditions(policy):
        for node in walk_typed(condition.expr):
            if isinstance(node, Bounded) and (sizes := always_within(node, known)) < policy.sizes:
                message = f"`{render_expr(node.source)}` is unknown where it may take more than {node.limit:,} steps"
                help = f"it never does unless a value has {_more_than(sizes)}" if sizes >= (0, 0) else None
                yield Problem("bounded-condition", message, help, path=path)


def _more_than(sizes: Sizes) -> str:
    return f"more than {sizes.elements:,} elements or {sizes.characters:,} characters"


def _conditions(policy: CompiledPolicy) -> Iterator[tuple[CheckedExpr, Path]]:
    for number, rule in _rules(policy):
        yield rule.when, ("rules", number, "when")
    constraints = [number for number, one in enumerate(policy.shape.constraints) if not one.disabled]
    for number, constraint in zip(constraints, policy.constraints, strict=True):
        yield constraint.when, ("constraints", number, "when")
        yield constraint.require, ("constraints", number, "require")


def _rules(policy: CompiledPolicy) -> Iterator[tuple[int, CompiledRule]]:
    """The rules, each with its position in the file, where disabled ones count too."""
    numbers = [number for number, rule in enumerate(policy.shape.rules) if not rule.disabled]
    return zip(numbers, policy.rules, strict=True)
