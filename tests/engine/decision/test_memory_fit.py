"""Whether a model fits into memory, what goes for it, and what a record and an explanation say of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.decision_strategies import AT_US, compiled
from support.records import record_bytes

from routewright.engine.decision.choose import estimate
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.fit import Fit, memory_fit, to_unload
from routewright.engine.decision.task import NO_REQUEST, MemoryState, ModelState, Resident, State, Task
from routewright.engine.explain.explanation import explain
from routewright.engine.explain.recomputing import recompute
from routewright.engine.record.expected import choice_inputs, expected_of
from routewright.engine.record.fields import DecisionRecord
from routewright.engine.record.reading import read_record
from routewright.engine.record.record import record_of, state_of
from routewright.engine.report.errors import TaskError

GB = 1_000_000_000
POLICY = compiled(
    {
        "routewright": 1,
        "name": "p",
        "catalog": "catalog.yaml",
        "rules": [{"name": "quickest", "use": ["small", "coder"], "choose": "fastest"}],
    }
)
CODER = next(model for model in POLICY.catalog.models if model.id == "coder")  # needs 8 GB


def memory(limit_gb: int | None, *loaded: tuple[str, int | None], coder: ModelState | None = None) -> State:
    residents = tuple(Resident(name, None if size is None else size * GB) for name, size in loaded)
    limit = None if limit_gb is None else limit_gb * GB
    models = {"coder": coder or ModelState(loaded=False, load_ms=4200)}
    return State(AT_US, models=models, memory={"here": MemoryState(limit, residents)})


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 20), st.integers(0, 30))
def test_what_goes_is_enough_and_nothing_goes_without_need(sizes: list[int], needed: int, limit: int) -> None:
    gone = to_unload(sizes, needed, limit)
    left = sum(sizes) - sum(sizes[position] for position in gone)
    assert left + needed <= limit or len(gone) == len(sizes)
    for position in gone:
        assert left + sizes[position] + needed > limit, "it could have stayed"


@pytest.mark.parametrize(
    ("state", "how", "unloads"),
    [
        (memory(8), "free", ()),
        (memory(9, ("small", 1)), "free", ()),
        (memory(8, ("small", 1), ("general", 3)), "unloads", ("small", "general")),
        (memory(11, ("small", 1), ("general", 3)), "unloads", ("small",)),
        (memory(7), "never", ()),
        (memory(7, coder=ModelState(loaded=True)), "loaded", ()),
        (memory(None, ("small", 1)), None, ()),
        (memory(9, ("a stranger", None)), None, ()),
        (State(AT_US), None, ()),
    ],
)
def test_a_model_fits(state: State, how: str | None, unloads: tuple[str, ...]) -> None:
    fit = memory_fit(CODER, state)
    assert (fit.how, fit.unloads) == (how, unloads)


def test_what_a_model_needs_is_said_by_the_catalog_then_its_backend_then_its_files() -> None:
    state = memory(9, coder=ModelState(loaded=False, memory_bytes=3 * GB))
    shape = CODER.shape
    for given_shape, needed in (
        (shape, 8 * GB),
        (shape.model_copy(update={"memory_gb": None, "size_bytes": 5}), 3 * GB),
    ):
        assert memory_fit(replace(CODER, shape=given_shape), state) == Fit("free", needed, 9 * GB)
    bare = replace(CODER, shape=shape.model_copy(update={"memory_gb": None, "size_bytes": 5}))
    assert memory_fit(bare, memory(9)).needed_bytes == 5


def test_loading_is_counted_where_a_latency_is_known() -> None:
    state = memory(9, ("general", 5))
    found = estimate(CODER, "chat", NO_REQUEST, state)
    assert (found.load_ms, found.unloads, found.answer_ms) == (4200, ("general",), None)
    assert found._replace(latency_ms=300.0).answer_ms == 4500.0
    assert found._replace(latency_ms=300.0, load_ms=None).answer_ms == 300.0


def decided(latency_ms: float = 900.0) -> DecisionRecord:
    models = {
        "small": ModelState(latency_ms=latency_ms, loaded=True, load_ms=700, memory_bytes=GB),
        "coder": ModelState(latency_ms=300.0, loaded=False, load_ms=4200),
    }
    held = MemoryState(8 * GB, (Resident("small", GB), Resident("a stranger", 2 * GB)))
    state = State(AT_US, models=models, memory={"here": held})
    decision = decide(POLICY, Task(), state, decision_id="d")
    record = record_of(decision)
    assert record_bytes(decision) == record.canonical()
    assert state_of(record) == state
    return record


def test_the_record_holds_what_was_known_and_what_follows_for_each_candidate() -> None:
    record = read_record(decided().canonical())
    assert record.target == "small"
    assert isinstance(record, DecisionRecord)
    assert record.choice is not None and record.choice.among == ["small", "coder"]
    assert choice_inputs(record) == {"small": 900.0, "coder": 4500.0}
    expected = [(c.model, expected_of(record, c)) for c in record.candidates]
    assert [(model, found.load_ms, found.unloads) for model, found in expected] == [
        ("small", 0, ()),
        ("coder", 4200, ("small", "a stranger")),
    ]
    assert recompute(POLICY, record).target == "small"


def test_the_explanation_says_what_is_loaded_and_what_would_go() -> None:
    said = str(explain(POLICY, decided()))
    assert "target: small (use), about 900 ms (observed), in memory" in said
    assert (
        "coder (use), about 300 ms (observed), is loaded first (took 4200 ms of late),"
        " and unloads small, a stranger for it" in said
    )
    assert "chosen: fastest (small: 900 ms, coder: 4500 ms, of which 4200 for loading)" in said


@pytest.mark.parametrize(
    ("latency_ms", "said"),
    [(78.01063, "78 ms"), (9.8763, "9.88 ms"), (99.96, "100 ms"), (1_234.5678, "1235 ms")],
)
def test_times_are_shown_as_exactly_as_they_are_of_use(latency_ms: float, said: str) -> None:
    text = str(explain(POLICY, decided(latency_ms)))
    assert f"target: small (use), about {said} (observed), in memory" in text
    assert f"chosen: fastest (small: {said}, coder: 4500 ms, of which 4200 for loading)" in text


def test_a_model_that_can_never_fit_is_refused_with_the_numbers() -> None:
    decision = decide(POLICY, Task(), memory(7), decision_id="d")
    refused = explain(POLICY, decision).candidates[1].failures
    assert [(one.gate, one.detail, dict(one.facts)) for one in refused] == [
        (
            "memory",
            "it needs 8 GB of memory, and all models of here together have 7 GB",
            {"limit": 7 * GB, "value": 8 * GB},
        )
    ]


def test_a_plan_that_is_remembered_under_one_memory_is_not_taken_under_another() -> None:
    first = compiled(
        {
            "routewright": 1,
            "name": "p",
            "catalog": "catalog.yaml",
            "rules": [{"name": "r", "use": ["coder", "small"]}],
        }
    )
    held = ModelState(loaded=True)
    states = [memory(9), memory(7), memory(7, coder=held), memory(9, ("a stranger", None)), memory(None)]
    for state in (*states, *reversed(states)):
        fresh = replace(first, name="fresh")
        assert record_of(decide(first, Task(), state, decision_id="d")).candidates == (
            record_of(decide(fresh, Task(), state, decision_id="d")).candidates
        )


def test_where_a_bound_is_known_and_a_size_is_not_the_model_is_marked() -> None:
    def marked(state: State) -> list[bool]:
        record = record_of(decide(POLICY, Task(), state, decision_id="d"))
        return ["memory_unverified" in candidate.marks for candidate in record.candidates]

    assert marked(memory(9, ("a stranger", None))) == [True, True]
    assert marked(memory(None)) == [False, False]


@pytest.mark.parametrize(
    "made",
    [
        lambda: ModelState(loaded=1),  # type: ignore[arg-type]
        lambda: ModelState(load_ms=1.5),  # type: ignore[arg-type]
        lambda: ModelState(load_ms=-1),
        lambda: ModelState(memory_bytes=2**53),
        lambda: Resident("\ud800"),
        lambda: Resident("a", -1),
        lambda: MemoryState(-1),
        lambda: MemoryState(1, ["small"]),  # type: ignore[arg-type]
        lambda: State(0, memory={"here": None}),  # type: ignore[dict-item]
        lambda: State(0, memory=["here"]),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_fact_of_memory_is_refused(made: object) -> None:
    assert callable(made)
    with pytest.raises(TaskError):
        made()
