"""What one task may cost: the gate refuses exactly what would not be called for certain."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from routewright import RequestFacts, Task
from routewright.backends import PriceFacts
from routewright.backends.executing import TaskCost, TaskLimits
from routewright.backends.executing.budget import Budget, Timeline
from routewright.engine.decision import State, decide
from routewright.engine.policy import compile_policy, nano_units, read_policy

POLICY = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: {{ b: {{ kind: simulated }} }}
  models: {{ m: {{ backend: b, price: {{ input: {input}, output: {output} }}, max_output_tokens: 1000 }} }}
controls:
  - {{ name: money, max_cost: {limit} USD, per: request }}
rules:
  - {{ name: r, use: [m] }}
"""

prices = st.sampled_from((0, 0.0001, 0.1, 0.15, 2, 3.7))


@given(prices, prices, st.integers(0, 60), st.integers(0, 40), st.one_of(st.none(), st.integers(0, 1500)))
@example(0.1, 0, 6, 60, 0)
@example(0.0001, 0.0001, 0, 0, 4)
@example(0.0001, 0.0001, 0, 4, 1)
def test_the_gate_and_the_budget_agree(
    input: float, output: float, limit: int, tokens: int, asked: int | None
) -> None:
    """``limit`` is in nano-units, so that the smallest amounts that are rounded are among them."""
    text = POLICY.format(input=input, output=output, limit=f"0.{limit:09}")
    task = Task(request=RequestFacts(prompt_tokens=tokens, max_output_tokens=asked))
    decision = decide(compile_policy(read_policy(text, "p.yaml")), task, State(0), decision_id="d")
    budget = Budget(
        TaskLimits(cost=TaskCost("cost", limit, "USD", refuses_unknown=True)),
        Timeline(lambda: 0),
        lambda: 0.0,
    )
    price = PriceFacts(nano_units(input), nano_units(output))
    held = budget.hold(price, tokens, min(asked if asked is not None else 1000, 1000), counted=True)
    assert (decision.outcome == "no_target") is isinstance(held, str)
    if isinstance(held, str):
        (verdict,) = decision.candidates
        assert verdict.failure is not None and verdict.failure.gate == "quota"


def test_what_is_free_is_never_marked() -> None:
    """However long prompt and answer are, their price is 0."""
    for input, output, facts, marked in (
        (0, 0, RequestFacts(), False),
        (0, 0, RequestFacts(prompt_tokens=10), False),
        (1, 0, RequestFacts(), True),
        (1, 0, RequestFacts(prompt_tokens=10), False),
        (1, 0, RequestFacts(prompt_tokens=300_000, prompt_tokens_source="estimated"), True),
        (0, 1, RequestFacts(prompt_tokens=10), True),
        (0, 1, RequestFacts(max_output_tokens=10), False),
    ):
        text = POLICY.format(input=input, output=output, limit="0.5").replace(", max_output_tokens: 1000", "")
        policy = compile_policy(read_policy(text, "p.yaml"))
        (verdict,) = decide(policy, Task(request=facts), State(0), decision_id="d").candidates
        assert ("cost_unverified" in verdict.marks) is marked, (input, output, facts)


def test_a_length_that_nobody_knows_is_marked() -> None:
    policy = compile_policy(read_policy(POLICY.format(input=1, output=1, limit="0.5"), "p.yaml"))
    for facts, marked in (
        (RequestFacts(), True),
        (RequestFacts(prompt_tokens=10), False),
        (RequestFacts(prompt_tokens=300_000, prompt_tokens_source="estimated"), True),
        (RequestFacts(prompt_tokens=1_000, prompt_tokens_source="estimated"), False),
    ):
        (verdict,) = decide(policy, Task(request=facts), State(0), decision_id="d").candidates
        assert verdict.failure is None and ("cost_unverified" in verdict.marks) is marked, facts


def test_the_price_of_the_tasks_answer_is_not_asked_of_a_step() -> None:
    """Its own answer is another one: here the model of the step could not afford the longest, and is kept."""
    text = POLICY.format(input=0, output=1, limit="0.0005").replace(
        "use: [m] }", "use: [free], steps: [{ verify: { with: m } }] }"
    )
    models = "models: { free: { backend: b, price: { input: 0, output: 0 } }, m:"
    policy = compile_policy(read_policy(text.replace("models: { m:", models), "p.yaml"))
    task = Task(request=RequestFacts(prompt_tokens=10))
    plan = decide(policy, task, State(0), decision_id="d").plan
    assert plan is not None and [step.role for step in plan.steps] == ["verify"] and plan.dropped == ()
    (verdict,) = decide(policy, Task(request=task.request, pin="m"), State(0), decision_id="d").candidates
    assert verdict.failure is not None and "with an answer of 1000 tokens" in verdict.failure.text
