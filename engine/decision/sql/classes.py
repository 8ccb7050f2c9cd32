"""Says in SQL (DuckDB's) what tells tasks apart under a policy: tasks alike in all of it get the same plan.

It is to recorded tasks what the key of a remembered plan is to one (see ``PlanMemory``), with the open values closed:
of a price, a length, a latency or a draw it is what they come to. Conditions are columns here, made by the target
``sql``; so are the facts of a request, as ``request_facts`` leaves them. What a state comes to is a number that whoever
has the states gives to each (``span``).

INVARIANT: every expression is an integer or NULL, and no text of a policy is in it but as a literal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import combinations
from math import nextafter
from typing import Final, NamedTuple

from ...condition import BOOLEAN, INTEGER, STRING, sql_text
from ...policy import MAX_EXACT, CompiledModel, CompiledPolicy, CompiledRule, CompiledSplit, Quota, nano_units
from ..choose import NOMINAL_TOKENS
from ..token_limits import TOO_HIGH, TOO_LOW, affordable_tokens

MOST_SPLIT: Final = 6
"""So many members of a split can be told apart by where a point falls; each one more doubles the places."""


class KeyPart(NamedTuple):
    """One thing that tells tasks apart: an SQL expression for a whole number from 0 to below ``values``.

    Where ``values`` is None, the expression is any value of any type.
    """

    name: str
    sql: str
    values: int | None


def condition_column(position: int) -> str:
    """The column with the verdict of the policy's condition at ``position``: BOOLEAN, NULL is unknown."""
    return f"c{position}"


def feature_column(slot: int) -> str:
    """The column with the value of the feature at ``slot``; NULL is unknown."""
    return f"f{slot}"


def quota_column(position: int) -> str:
    """The column with what is used of the quota at ``position``: BIGINT, NULL where nobody knows."""
    return f"q{position}"


def require_column(constraint: int, model: int) -> str:
    """The column with what a constraint that compares requires of a model: BOOLEAN, NULL is unknown."""
    return f"r{constraint}_{model}"


def point_column(rule: int) -> str:
    """The column with where a task falls in the split of a rule: DOUBLE, NULL where it needs a draw and has none."""
    return f"p{rule}"


RULE: Final = "rule"
"""The column with the rule that matched: 0 for none, else twice its position and 1, or 2 where it is undecided."""


def rule_sql(policy: CompiledPolicy, conditions: Sequence[str]) -> str:
    """The expression for ``RULE``, where ``conditions`` are those of the rules.

    A condition is computed for the rows alone that no rule before it has matched.
    """
    cases = []
    for rule, condition in zip(policy.rules, conditions, strict=True):
        code = 2 * rule.index + 1
        match rule.on_unknown:
            case "skip":
                cases.append(f"WHEN {condition} THEN {code}")
            case "match":
                cases.append(f"WHEN coalesce({condition}, true) THEN {code}")
            case "fail":
                either = f"(CASE WHEN {condition} THEN {code} ELSE {code + 1} END)"
                cases.append(f"WHEN coalesce({condition}, true) THEN {either}")
    return f"(CASE {' '.join(cases)} ELSE 0 END)" if cases else "0"


def compared_models(policy: CompiledPolicy) -> Iterator[tuple[int, int]]:
    """Constraints that compare a model with features or with the state, each with each model that a plan may have."""
    for position, constraint in enumerate(policy.constraints):
        if constraint.by_model is None:
            yield from ((position, model) for model in sorted(models_in_plans(policy)))


def models_in_plans(policy: CompiledPolicy, pins: Collection[str] = ()) -> set[int]:
    """The models that rules may put into a plan, and those that pins name."""
    found = {model for rule in policy.rules for model in models_of_rule(rule)}
    pinned = (policy.catalog.find(pin) for pin in pins)
    return found | {model.index for model in pinned if model is not None}


def models_of_rule(rule: CompiledRule) -> set[int]:
    """The models that a rule may put into a plan."""
    found: set[int] = {candidate.model for candidate in rule.candidates}
    found.update(step.model for step in rule.steps)
    if rule.ensemble is not None:
        found.update(rule.ensemble.members)
        found.update(at for at in (rule.ensemble.judge, rule.ensemble.override) if at is not None)
    return found


def key_parts(policy: CompiledPolicy, pins: Collection[str] = ()) -> list[KeyPart]:
    """Everything that tells tasks apart but ``span``, where their pins are among ``pins``.

    Columns: those of ``request_columns`` and ``length_columns``, ``rule``, ``pin``, ``session`` and ``session_model``
    (NULL where there is none), and of the request ``prompt_tokens``, ``max_output_tokens``, ``images``, ``tools``,
    ``json_schema``.
    """
    models = [policy.catalog.models[at] for at in sorted(models_in_plans(policy, pins))]
    return [
        KeyPart("rule", RULE, 2 * len(policy.rules) + 1),
        KeyPart("operation", "op", 3),
        *([KeyPart("pin", "pin", None)] if pins else []),
        *_constraints(policy, models),
        *_needs(policy),
        *_lengths(models),
        *_costs(policy, models),
        *_quotas(policy, models),
        *_orders(policy),
        *_sessions(policy),
        *_splits(policy),
    ]


def _verdict(column: str) -> str:
    return f"(CASE WHEN {column} THEN 1 WHEN {column} IS NULL THEN 2 ELSE 0 END)"


def _constraints(policy: CompiledPolicy, models: Sequence[CompiledModel]) -> Iterator[KeyPart]:
    first = len(policy.rules)
    for position in range(len(policy.constraints)):
        yield KeyPart(f"when_{position}", _verdict(condition_column(first + position)), 3)
    for position, model in compared_models(policy):
        yield KeyPart(f"require_{position}_{model}", _verdict(require_column(position, model)), 3)


def _needs(policy: CompiledPolicy) -> Iterator[KeyPart]:
    for slot, feature in enumerate(policy.features):
        if feature.needs:
            column = feature_column(slot)
            yield KeyPart(f"needs_{slot}", _verdict(column), 3)
    for fact in ("images", "tools"):
        yield KeyPart(fact, f"(coalesce({fact}, 0) > 0)::INTEGER", 2)
    yield KeyPart("json_schema", "coalesce(json_schema, false)::INTEGER", 2)


def request_columns(policy: CompiledPolicy) -> Iterator[tuple[str, str]]:
    """Columns that the others and ``key_parts`` go by, over those of the request, as texts are slow to compare: the
    operation (0 is a chat), how exactly the prompt's length is known, and how long an answer is asked for."""
    yield "op", "(CASE operation WHEN 'chat' THEN 0 WHEN 'embed' THEN 1 ELSE 2 END)::TINYINT"
    counted = "".join(
        f" WHEN tokenizer = {sql_text(name)} THEN {at}" for at, name in enumerate(_tokenizers(policy), 2)
    )
    by_tokenizer = f"(CASE{counted} ELSE 0 END)" if counted else "0"
    yield (
        "exactness",
        "(CASE prompt_tokens_source WHEN 'stated' THEN 1"
        f" WHEN 'counted' THEN {by_tokenizer} ELSE 0 END)::TINYINT",
    )
    yield "wants", "(CASE WHEN operation = 'chat' THEN coalesce(max_output_tokens, 0) ELSE 0 END)"


def _tokenizers(policy: CompiledPolicy) -> list[str]:
    return sorted({str(model.tokenizer) for model in policy.catalog.models if model.tokenizer is not None})


def _exact(policy: CompiledPolicy, model: CompiledModel) -> str:
    """Whether the prompt's length is known exactly for the model, as ``is_exact`` has it."""
    if model.tokenizer is None:
        return "(exactness = 1)"
    return f"(exactness = 1 OR exactness = {2 + _tokenizers(policy).index(str(model.tokenizer))})"


def _wanted(model: CompiledModel) -> str:
    """How long an answer is asked of the model: 0 where nobody says."""
    most = model.shape.max_output_tokens
    return "wants" if most is None else f"least(wants, {most})"


class _Fitting(NamedTuple):
    """Models whose prompts are counted alike and whose answers are cut alike, with their windows."""

    number: int
    model: CompiledModel
    windows: list[int]


def _fittings(models: Sequence[CompiledModel]) -> list[_Fitting]:
    alike: dict[tuple[object, object], tuple[CompiledModel, set[int]]] = {}
    for model in models:
        if model.context_length is not None:
            key = model.tokenizer, model.shape.max_output_tokens
            alike.setdefault(key, (model, set()))[1].add(model.context_length)
    return [_Fitting(at, model, sorted(windows)) for at, (model, windows) in enumerate(alike.values())]


def length_columns(policy: CompiledPolicy, pins: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Columns that ``key_parts`` goes by, over those of ``request_columns``.

    For models alike: twice the least length of the prompt, that with the answer, and with it the greatest one, as
    ``fit_of`` compares them with a window.
    """
    models = [policy.catalog.models[at] for at in sorted(models_in_plans(policy, pins))]
    # Everything twice, since half of an estimate may be no whole number; the greatest length is 2.5 times an estimate.
    doubled = int(TOO_LOW * TOO_HIGH)
    for number, model, _ in _fittings(models):
        exact, wanted = _exact(policy, model), _wanted(model)
        # Multiplied, as CASE takes several times as long.
        least = f"((1 + {exact}::BIGINT) * prompt_tokens)"
        most = f"(({doubled} - {doubled - TOO_HIGH} * {exact}::BIGINT) * prompt_tokens)"
        yield f"least_{number}", f"coalesce({least}, 0)"
        yield f"with_answer_{number}", f"(coalesce({least}, 0) + {TOO_HIGH} * {wanted})"
        yield f"most_{number}", f"({most} + {TOO_HIGH} * {wanted})"


def _lengths(models: Sequence[CompiledModel]) -> Iterator[KeyPart]:
    """How many windows are exceeded: of windows in order, that says which."""
    yield KeyPart("length_known", "(prompt_tokens IS NOT NULL)::INTEGER", 2)
    for number, _, windows in _fittings(models):
        for name in ("least", "with_answer", "most"):
            column = f"{name}_{number}"
            exceeded = " + ".join(f"({column} > {TOO_HIGH * window})::INTEGER" for window in windows)
            sql = f"coalesce({exceeded}, 0)" if name == "most" else f"({exceeded})"
            yield KeyPart(f"exceeds_{column}", sql, len(windows) + 1)


def _costs(policy: CompiledPolicy, models: Sequence[CompiledModel]) -> Iterator[KeyPart]:
    """What the gates and the mark for the cost of one task come to, as ``money`` has them."""
    cost = policy.limits.cost
    if cost is None:
        return
    priced = {
        (
            nano_units(price.input),
            nano_units(price.output),
            model.tokenizer,
            model.shape.max_output_tokens,
        ): model
        for model in models
        if (price := model.shape.price) is not None
    }
    for number, ((rate_in, rate_out, _, most_out), model) in enumerate(priced.items()):
        exact = _exact(policy, model)
        limit = cost.limit * 1_000_000 + 499_999
        # What nobody limits has no price that could be reserved.
        asked = (
            "max_output_tokens"
            if most_out is None
            else f"least(coalesce(max_output_tokens, {most_out}), {most_out})"
        )
        answer = f"(CASE WHEN op = 0 THEN {asked} ELSE 0 END)"
        left = f"({limit}::HUGEINT - coalesce({answer}, 0)::HUGEINT * {rate_out})"
        twice = f"((CASE WHEN {exact} THEN 2 ELSE 1 END)::HUGEINT * coalesce(prompt_tokens, 0))"
        alone = affordable_tokens(model, cost)
        too_dear = "false" if alone is None else f"({twice} > {2 * alone} AND prompt_tokens IS NOT NULL)"
        if rate_in:
            # `//` cuts towards zero, and what is left may be less than nothing.
            most = f"(CASE WHEN {left} < 0 THEN -1 ELSE {left} // {rate_in} END)"
            longer = f"({twice} > 2 * {most})"
        else:
            longer = f"({left} < 0)"
        refused = f"({answer} IS NOT NULL AND {longer} AND NOT {too_dear})"
        numerator, denominator = TOO_LOW.numerator, TOO_LOW.denominator
        at_most = f"((CASE WHEN {exact} THEN {denominator} ELSE {numerator} END)::HUGEINT * prompt_tokens)"
        unsure = f"({answer} IS NULL)" if rate_out else "false"
        if rate_in:
            perhaps = f"({unsure} OR prompt_tokens IS NULL OR {at_most} > {denominator} * {most})"
        else:
            perhaps = f"({unsure} OR {left} < 0)"
        yield KeyPart(f"too_dear_{number}", f"{too_dear}::INTEGER", 2)
        yield KeyPart(f"answer_too_dear_{number}", f"{refused}::INTEGER", 2)
        yield KeyPart(f"perhaps_too_dear_{number}", f"{perhaps}::INTEGER", 2)


def _quotas(policy: CompiledPolicy, models: Sequence[CompiledModel]) -> Iterator[KeyPart]:
    """Whether each quota is used up for the task, and whether that is known."""
    used_by = {model.index for model in models}
    for position, quota in enumerate(policy.quotas):
        if quota.models.isdisjoint(used_by):
            continue
        used, limit = quota_column(position), allowance_sql(policy, quota)
        exhausted = f"(coalesce({used}, 0) >= {limit})::INTEGER"
        yield KeyPart(f"quota_{position}", f"({exhausted} + 2 * ({used} IS NULL)::INTEGER)", 4)
        for reserve in quota.reserves:
            column = condition_column(reserve.condition + len(policy.rules) + len(policy.constraints))
            yield KeyPart(f"reserve_{reserve.condition}", f"coalesce({column}, false)::INTEGER", 2)


def allowance_sql(policy: CompiledPolicy, quota: Quota) -> str:
    """What a task may use of a quota, as ``allowance`` has it."""
    first = len(policy.rules) + len(policy.constraints)
    kept = "".join(
        f" - (CASE WHEN {condition_column(first + reserve.condition)} THEN 0 ELSE {reserve.held} END)"
        for reserve in quota.reserves
    )
    return f"greatest(0, {quota.limit}::BIGINT{kept})"


def _orders(policy: CompiledPolicy) -> Iterator[KeyPart]:
    """In which order the models of each rule that chooses the cheapest are."""
    for rule in policy.rules:
        if rule.choose == "cheapest":
            costs = {at: _cost(policy.catalog.models[at]) for at in own_models(rule)}
            for one, other in combinations(costs, 2):
                sql = precedes(costs[one], costs[other])
                yield KeyPart(
                    f"order_{rule.index}_{one}_{other}",
                    f"(CASE WHEN {RULE} = {2 * rule.index + 1} AND {sql} THEN 1 ELSE 0 END)",
                    2,
                )


def own_models(rule: CompiledRule) -> list[int]:
    """The models that a rule chooses among, in its order."""
    return [candidate.model for candidate in rule.candidates[: rule.chosen_from]]


def precedes(one: str, other: str) -> str:
    """Whether of two numbers the one comes first: the smaller one does, the first of equal ones, and NULL is last."""
    return f"({other} IS NULL OR coalesce({one} <= {other}, false))"


def _cost(model: CompiledModel) -> str:
    """What a request is expected to cost, as ``cost_estimate`` has it."""
    price = model.shape.price
    if price is None:
        return "NULL"
    tokens_in = f"coalesce(prompt_tokens, {NOMINAL_TOKENS})"
    tokens_out = f"(CASE WHEN op = 0 THEN coalesce(max_output_tokens, {NOMINAL_TOKENS}) ELSE 0 END)"
    rates = nano_units(price.input), nano_units(price.output)
    total = f"(({rates[0]}::HUGEINT * {tokens_in} + {rates[1]}::HUGEINT * {tokens_out}) // 1000000)"
    return f"(CASE WHEN {total} <= {MAX_EXACT} THEN {total} END)"


def _sessions(policy: CompiledPolicy) -> Iterator[KeyPart]:
    if policy.is_sticky:
        yield KeyPart("session", "(session IS NOT NULL)::INTEGER", 2)
        yield KeyPart("session_model", "(CASE WHEN session IS NOT NULL THEN session_model END)", None)


def _splits(policy: CompiledPolicy) -> Iterator[KeyPart]:
    """Between which of the places a task falls at which one or another model would be chosen."""
    for rule, split in _split_rules(policy):
        matched, name = f"{RULE} = {2 * rule.index + 1}", f"split_{rule.index}"
        if not _has_point(policy, split):
            key = "NULL" if split.key is None else feature_column(split.key)
            yield KeyPart(name, f"(CASE WHEN {matched} THEN {key}::VARCHAR END)", None)
            yield KeyPart(f"{name}_draw", f"(CASE WHEN {matched} AND {key} IS NULL THEN draw END)", None)
            continue
        point, places = point_column(rule.index), split_places(split)
        # A task without the draw that it needs cannot be decided, and is a class of its own.
        fallen = "".join(f" + ({point} >= {place!r}::DOUBLE)::INTEGER" for place in places)
        sql = f"(CASE WHEN NOT ({matched}) THEN 0 WHEN {point} IS NULL THEN 1 ELSE 2{fallen} END)"
        yield KeyPart(name, sql, 3 + len(places))


def points(policy: CompiledPolicy) -> Iterator[tuple[str, str]]:
    """The columns that ``point_column`` names, with their expressions over the columns of features and ``draw``."""
    for rule, split in _split_rules(policy):
        if _has_point(policy, split):
            sql = "draw" if split.key is None else _bucket(policy, split)
            yield point_column(rule.index), f"(CASE WHEN {RULE} = {2 * rule.index + 1} THEN {sql} END)"


def _split_rules(policy: CompiledPolicy) -> Iterator[tuple[CompiledRule, CompiledSplit]]:
    return ((rule, rule.split) for rule in policy.rules if rule.choose == "split" and rule.split is not None)


def _has_point(policy: CompiledPolicy, split: CompiledSplit) -> bool:
    """Whether SQL can say where a key falls, and there are few places to tell apart."""
    if sum(map(bool, split.weights)) > MOST_SPLIT:
        return False
    return split.key is None or policy.features[split.key].declaration.type in (STRING, INTEGER, BOOLEAN)


def _bucket(policy: CompiledPolicy, split: CompiledSplit) -> str:
    """Where a key falls, as ``bucket_of`` has it; the draw where there is no key."""
    key = feature_column(split.key or 0)
    text = f"(CASE WHEN {key} THEN 'true' ELSE 'false' END)"
    if policy.features[split.key or 0].declaration.type != BOOLEAN:
        text = f"{key}::VARCHAR"
    digest = f"sha256({sql_text(split.salt)} || chr(0) || {text})"
    bucket = f"((('0x' || substr({digest}, 1, 16))::UBIGINT >> 11)::DOUBLE / {2**53}::DOUBLE)"
    return f"(CASE WHEN {key} IS NULL THEN draw ELSE {bucket} END)"


def split_places(split: CompiledSplit) -> list[float]:
    """Every point from 0 to 1 at which the choice changes, whichever members are eligible, ascending.

    The least point that is not below a share, as ``choose`` compares them in floating-point numbers.
    """
    places: set[float] = set()
    weights = [weight for weight in split.weights if weight]
    for size in range(1, len(weights) + 1):
        for members in combinations(weights, size):
            total, reached = sum(members), 0
            for weight in members:
                reached += weight
                if 0 < reached < total:
                    places.add(_least_not_below(reached, total))
    return sorted(places)


def _least_not_below(reached: int, total: int) -> float:
    """The least point for which ``point * total < reached`` is false."""
    point = reached / total
    while point * total < reached:
        point = nextafter(point, 1.0)
    while nextafter(point, 0.0) * total >= reached:
        point = nextafter(point, 0.0)
    return point
