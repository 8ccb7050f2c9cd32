"""Makes the contenders for a workload: one for each engine, ready to be called with one task after another.

Everything that can be prepared once for a policy is prepared. What a call starts from is a task's features as
a Python dict, with every default filled in beforehand; the engines of *bound* start one step later, from the
values in the form that they evaluate. Each foreign library is imported where it is used, and has no types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dialects import CEL, PYTHON, ZEN, cedar_text, text_in
from workload import Workload

from routewright.engine.condition.syntax.expr import Expr
from routewright.engine.condition.types import NUMBER
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import ModelState, State, Task

__all__ = [
    "BOUND",
    "CEDAR",
    "CEL_PYTHON",
    "CEL_RUST",
    "DECIDE",
    "DECIDE_ALL_GIVEN",
    "DECIDE_HEALTH",
    "EVALUATE",
    "SIMPLEEVAL",
    "SIMPLEEVAL_FIRST",
    "VERDICTS",
    "ZEN_TABLE",
    "Contender",
    "Disagreement",
    "check_agreement",
]

EVALUATE = "routewright, compiled conditions"
DECIDE = "routewright, a whole decision"
DECIDE_ALL_GIVEN = "the same, every feature given"
DECIDE_HEALTH = "the same, every model's health known"
SIMPLEEVAL = "simpleeval, every rule"
SIMPLEEVAL_FIRST = "simpleeval, to the first match"
ZEN_TABLE = "zen-engine, decision table"
CEL_RUST = "common-expression-language"
CEL_PYTHON = "cel-python"
CEDAR = "cedarpy"

DECISION_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
AT_US = 1_750_000_000_000_000


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine that decides: ``call`` is timed on each of ``inputs``, one for each task in their order.

    ``first`` gives the position of the first rule that holds from what ``call`` returned, or None.
    """

    name: str
    inputs: Sequence[Any]
    call: Callable[[Any], Any]
    first: Callable[[Any], int | None]


class Disagreement(Exception):
    """Two engines do not give the same verdict: their times would not be those of the same work."""


def check_agreement(workload: Workload, contenders: Sequence[Contender]) -> None:
    """Raise Disagreement unless every contender finds the expected rule for every task."""
    for contender in contenders:
        for number, given in enumerate(contender.inputs):
            found, expected = contender.first(contender.call(given)), workload.expected[number]
            if found != expected:
                raise Disagreement(
                    f"{contender.name} finds rule {found}, not {expected}, under {workload.name} "
                    f"for {dict(workload.tasks[number].features)}"
                )


def evaluate_bound(workload: Workload) -> Contender:
    rules = len(workload.policy.rules)
    return Contender(
        EVALUATE,
        workload.parameters,
        workload.policy.evaluate,
        lambda verdicts: _position(verdicts[:rules]),
    )


def decide_partial(workload: Workload) -> Contender:
    return _decide(DECIDE, workload, workload.tasks, State(AT_US))


def decide_complete(workload: Workload) -> Contender:
    tasks = [Task(features) for features in workload.complete]
    return _decide(DECIDE_ALL_GIVEN, workload, tasks, State(AT_US))


def decide_with_health(workload: Workload) -> Contender:
    known = ModelState(health="healthy", breaker="closed", latency_ms=400.0)
    state = State(AT_US, models={model.id: known for model in workload.policy.catalog.models})
    return _decide(DECIDE_HEALTH, workload, workload.tasks, state)


def simpleeval_all(workload: Workload) -> Contender:
    """The names are set, then every rule's condition is evaluated, parsed beforehand."""
    evaluator, parsed = _simpleeval(workload)

    def call(names: Any) -> list[Any]:
        evaluator.names = names
        return [evaluator.eval(text, previously_parsed=node) for text, node in parsed]

    return Contender(SIMPLEEVAL, workload.complete, call, _position)


def simpleeval_first(workload: Workload) -> Contender:
    evaluator, parsed = _simpleeval(workload)

    def call(names: Any) -> int | None:
        evaluator.names = names
        for index, (text, node) in enumerate(parsed):
            if evaluator.eval(text, previously_parsed=node):
                return index
        return None

    return Contender(SIMPLEEVAL_FIRST, workload.complete, call, _same)


def zen_table(workload: Workload) -> Contender:
    """A decision table with hit policy `first`: a column of conditions, a column of positions.

    The static loader compiles it; tables made with `create_decision` are an order of magnitude slower.
    """
    rules = [
        {"_id": f"r{index}", "when": text_in(ZEN, expr), "rule": str(index)}
        for index, expr in enumerate(_conditions(workload))
    ]
    table = {
        "hitPolicy": "first",
        "inputs": [{"id": "when", "name": "when", "type": "expression"}],
        "outputs": [{"id": "rule", "name": "rule", "field": "rule", "type": "expression"}],
        "rules": rules,
    }
    at = {"x": 0, "y": 0}
    graph = {
        "nodes": [
            {"id": "in", "type": "inputNode", "name": "in", "position": at},
            {"id": "table", "type": "decisionTableNode", "name": "table", "position": at, "content": table},
            {"id": "out", "type": "outputNode", "name": "out", "position": at},
        ],
        "edges": [
            {"id": "e1", "sourceId": "in", "targetId": "table", "type": "edge"},
            {"id": "e2", "sourceId": "table", "targetId": "out", "type": "edge"},
        ],
    }
    engine = import_module("zen").ZenEngine({"loader": {"type": "static", "content": {"policy": graph}}})
    return Contender(
        ZEN_TABLE,
        workload.complete,
        lambda features: engine.evaluate("policy", features)["result"],
        lambda result: (result or {}).get("rule"),
    )


def cel_rust(workload: Workload) -> Contender:
    """A context made from the features, then one program after another until one holds."""
    context, first = _cel_rust(workload)
    return Contender(CEL_RUST, workload.complete, lambda given: first(context(variables=given)), _same)


def cel_rust_bound(workload: Workload) -> Contender:
    context, first = _cel_rust(workload)
    contexts = [context(variables=features) for features in workload.complete]
    return Contender(f"{CEL_RUST}, to the first match", contexts, first, _same)


def cel_python(workload: Workload) -> Contender:
    """One transpiled program that gives all verdicts as a list: half the time of one program for each rule."""
    convert, evaluate = _cel_python(workload)
    return Contender(CEL_PYTHON, workload.complete, lambda given: evaluate(convert(given)), _position)


def cel_python_bound(workload: Workload) -> Contender:
    convert, evaluate = _cel_python(workload)
    return Contender(
        f"{CEL_PYTHON}, every rule", [convert(given) for given in workload.complete], evaluate, _position
    )


def cedar(workload: Workload) -> Contender:
    """One `permit` for each rule, parsed beforehand; the first of those that are satisfied."""
    cedarpy = import_module("cedarpy")
    numbers = {f.name for f in workload.policy.features if f.declaration.type == NUMBER}
    policies = cedarpy.PolicySet.from_str(
        "\n".join(
            f"permit(principal, action, resource) when {{ {cedar_text(expr, numbers)} }};"
            for expr in _conditions(workload)
        )
    )
    entities = cedarpy.Entities.from_json_str("[]")
    who = {name: {"type": "T", "id": name} for name in ("principal", "action", "resource")}
    contexts = [
        {name: _decimal(value) if name in numbers else value for name, value in features.items()}
        for features in workload.complete
    ]

    def call(context: Any) -> list[str]:
        answer = cedarpy.is_authorized({**who, "context": context}, policies, entities)
        reasons: list[str] = answer.diagnostics.reasons
        return reasons

    return Contender(
        CEDAR,
        contexts,
        call,
        lambda reasons: min((int(reason.removeprefix("policy")) for reason in reasons), default=None),
    )


BOUND: tuple[Callable[[Workload], Contender], ...] = (
    evaluate_bound,
    simpleeval_all,
    simpleeval_first,
    cel_rust_bound,
    cel_python_bound,
)
"""Verdicts from values that need no conversion any more."""

VERDICTS: tuple[Callable[[Workload], Contender], ...] = (
    decide_partial,
    decide_complete,
    decide_with_health,
    simpleeval_all,
    simpleeval_first,
    zen_table,
    cel_rust,
    cel_python,
    cedar,
)
"""Whole decisions of ours beside bare verdicts of others, from features."""


def _decide(name: str, workload: Workload, tasks: Sequence[Task], state: State) -> Contender:
    policy = workload.policy
    return Contender(
        name,
        tasks,
        lambda task: decide(policy, task, state, decision_id=DECISION_ID),
        lambda decision: decision.rule,
    )


def _conditions(workload: Workload) -> Iterator[Expr]:
    return (rule.when.source for rule in workload.policy.rules)


def _simpleeval(workload: Workload) -> tuple[Any, list[tuple[str, Any]]]:
    # `in [...]` needs the class that knows lists.
    evaluator = import_module("simpleeval").EvalWithCompoundTypes()
    texts = [text_in(PYTHON, expr) for expr in _conditions(workload)]
    return evaluator, [(text, evaluator.parse(text)) for text in texts]


def _cel_rust(workload: Workload) -> tuple[Any, Callable[[Any], int | None]]:
    cel = import_module("cel")
    programs = [cel.compile(text_in(CEL, expr)) for expr in _conditions(workload)]

    def first(context: Any) -> int | None:
        for index, program in enumerate(programs):
            if program.execute(context):
                return index
        return None

    return cel.Context, first


def _cel_python(workload: Workload) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    celpy = import_module("celpy")
    environment = celpy.Environment(runner_class=celpy.CompiledRunner)
    verdicts = ", ".join(text_in(CEL, expr) for expr in _conditions(workload))
    program = environment.program(environment.compile(f"[{verdicts}]"))
    to_cel = celpy.json_to_cel
    return lambda features: {name: to_cel(value) for name, value in features.items()}, program.evaluate


def _decimal(value: float) -> dict[str, Any]:
    return {"__extn": {"fn": "decimal", "arg": f"{value:.4f}"}}


def _position(verdicts: Sequence[Any]) -> int | None:
    return next((index for index, verdict in enumerate(verdicts) if verdict), None)


def _same(position: int | None) -> int | None:
    return position
