"""A decision in, the canonical JSON of its record out, several times faster than through its values.

Most of a record follows from the policy (features left to their defaults, names of rules, models of which
nothing is known) or from a plan that many decisions share: those parts are written once and joined.

INVARIANT: ``record_bytes(d)`` equals ``canonical_bytes(record_values(d))``, so keys stand in sorted order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from ..canonical import canonical_text
from ..decision import (
    NO_REQUEST,
    CandidateVerdict,
    Decision,
    GateFailure,
    ModelState,
    Plan,
    RequestFacts,
    Selection,
    Source,
    State,
    estimate,
)
from ..policy import CompiledPolicy, per_policy
from ..version import ENGINE_VERSION
from .record import arm_values, model_state_values, plan_values, request_values
from .shape import RECORD_VERSION

_MAX_REMEMBERED = 4096
"""Plans whose text is kept for a policy; when there are more, all are forgotten."""

_MAX_VERDICTS = 256
"""The same for verdicts: the text of a thousand rules is 60 kB long, and tasks that are alike come together."""

_NO_REQUEST = canonical_text(request_values(NO_REQUEST))
_ENGINE = canonical_text(ENGINE_VERSION)

_word: Final[Callable[[str | None], str]] = lru_cache(maxsize=1024)(canonical_text)
"""Of words that come again and again: names of the policy, and those of this program."""


def record_bytes(decision: Decision) -> bytes:
    """The canonical bytes of the record of ``decision``: what its digest covers."""
    return record_text(decision).encode("utf-8")


def record_text(decision: Decision) -> str:
    """The same as text, which is stored; half of a surrogate pair may be let through."""
    policy, task, state = decision.policy, decision.task, decision.state
    writer = _writer_of(policy)
    rule = None if decision.rule is None else policy.rules[decision.rule]
    target = decision.target
    request = task.request
    choice = decision.choice
    candidates, plan = writer.planned(decision)
    text = canonical_text
    return "".join(
        (
            '{"arm":',
            "null" if decision.arm is None else text(arm_values(decision.arm)),
            f',"at_us":{state.at_us},"candidates":[{candidates}],"catalog":{writer.catalog}',
            ',"choice":',
            _choice(choice),
            f',"draw":{"null" if task.draw is None else text(task.draw)},"engine":{_ENGINE},"features":{{',
            writer.features(decision.values, decision.sources),
            f'}},"id":{text(decision.id)},"ignored":',
            text(decision.ignored) if decision.ignored else "{}",
            f',"operation":"{task.operation}","outcome":"{decision.outcome}"',
            f',"pin":{"null" if task.pin is None else text(task.pin)},"plan":{plan},"policy":{writer.policy}',
            f',"reason":{_word(None if rule is None else rule.reason)},"record":{RECORD_VERSION},"request":',
            _NO_REQUEST if request is NO_REQUEST else _request(request),
            f',"rule":{_word(None if rule is None else rule.name)},"rules":[',
            writer.rules(decision.verdicts),
            f'],"state":{writer.state(state)},"target":{_word(target)}}}',
        )
    )


class _RecordWriter:
    """The parts of records that one policy's decisions share."""

    def __init__(self, policy: CompiledPolicy) -> None:
        catalog = policy.catalog
        self.policy = canonical_text({"name": policy.name, "digest": policy.digest})
        self.catalog = canonical_text({"name": catalog.name, "digest": catalog.digest})
        names = sorted((feature.name, slot) for slot, feature in enumerate(policy.features))
        self._features = [
            (slot, f"{canonical_text(name)}:", _feature(name, "default", policy.features[slot].default))
            for name, slot in names
        ]
        self._rules = [
            {
                verdict: canonical_text({"name": rule.name, "verdict": verdict})
                for verdict in (True, False, None)
            }
            for rule in policy.rules
        ]
        nothing = model_state_values(ModelState())
        self._verdicts: dict[tuple[bool | None, ...], str] = {}
        self._models = [
            (id, canonical_text({id: nothing})[1:-1]) for id in sorted(model.id for model in catalog.models)
        ]
        self._quotas = sorted(quota.name for quota in policy.quotas)
        self._nothing = self._state(State(0))
        self._texts: dict[
            int,
            tuple[
                Sequence[CandidateVerdict],
                Plan | None,
                list[GateFailure],
                list[str],
                list[tuple[str, str, str]],
                str,
            ],
        ] = {}

    def features(self, values: Sequence[Any], sources: Sequence[Source]) -> str:
        return ",".join(
            [
                default
                if sources[slot] == "default"
                else f'{name}{{"source":"{sources[slot]}","value":{canonical_text(values[slot])}}}'
                for slot, name, default in self._features
            ]
        )

    def rules(self, verdicts: tuple[bool | None, ...]) -> str:
        kept = self._verdicts.get(verdicts)
        if kept is None:
            if len(self._verdicts) >= _MAX_VERDICTS:
                self._verdicts.clear()
            kept = self._verdicts[verdicts] = ",".join(
                [texts[verdict] for texts, verdict in zip(self._rules, verdicts, strict=True)]
            )
        return kept

    def state(self, state: State) -> str:
        if state.load is None and not state.models and not state.quota_used and state.session_model is None:
            return self._nothing
        return self._state(state)

    def _state(self, state: State) -> str:
        models = ",".join(
            [
                unknown
                if (known := state.models.get(id)) is None
                else f"{canonical_text(id)}:{canonical_text(model_state_values(known))}"
                for id, unknown in self._models
            ]
        )
        session = canonical_text(state.session_model)
        used = canonical_text({name: state.quota_used.get(name) for name in self._quotas})
        return (
            f'{{"load":{canonical_text(state.load)},"models":{{{models}}},"quota_used":{used},'
            f'"session_model":{session}}}'
        )

    def planned(self, decision: Decision) -> tuple[str, str]:
        """The candidates and the plan; their texts are kept, as decisions alike share both."""
        kept = self._texts.get(id(decision.candidates))
        if (
            kept is None
            or kept[0] is not decision.candidates
            or kept[1] is not decision.plan
            or [failure.recorded(decision) for failure in kept[2]] != kept[3]
        ):
            varying = [failure for failure in _failures(decision) if failure.varies]
            words = [failure.recorded(decision) for failure in varying]
            kept = (decision.candidates, decision.plan, varying, words, *_planned(decision))
            if len(self._texts) >= _MAX_REMEMBERED:
                self._texts.clear()
            self._texts[id(decision.candidates)] = kept
        policy, task = decision.policy, decision.task
        request = decision.request
        written = []
        for candidate, (start, middle, end) in zip(decision.candidates, kept[4], strict=True):
            model = policy.catalog.models[candidate.model]
            cost, currency, cost_source, latency, latency_source = estimate(
                model, task.operation, request, decision.state
            )
            written.append(
                f'{{"cost_source":{_word(cost_source)},"currency":{_word(currency)}{start}'
                f',"estimated_cost_nano":{"null" if cost is None else cost}'
                f',"estimated_latency_ms":{"null" if latency is None else canonical_text(latency)}{middle}'
                f',"latency_source":{_word(latency_source)}{end}}}'
            )
        return ",".join(written), kept[5]


def _failures(decision: Decision) -> Iterator[GateFailure]:
    """Every failed gate that the record words."""
    yield from (candidate.failure for candidate in decision.candidates if candidate.failure is not None)
    plan = decision.plan
    if plan is not None:
        yield from (dropped.failure for dropped in plan.dropped)
        if plan.ensemble_dropped is not None and plan.ensemble_dropped.failure is not None:
            yield plan.ensemble_dropped.failure


_writer_of = per_policy(_RecordWriter)


def _planned(decision: Decision) -> tuple[list[tuple[str, str, str]], str]:
    """What stands around each candidate's estimates, and the plan."""
    models = decision.policy.catalog.models
    around = []
    for candidate in decision.candidates:
        failure = candidate.failure
        around.append(
            (
                _inside({"detail": failure and failure.recorded(decision), "eligible": failure is None}),
                _inside({"gate": failure and failure.gate}),
                _inside(
                    {
                        "marks": list(candidate.marks),
                        "model": models[candidate.model].id,
                        "origin": candidate.origin,
                        "probability": candidate.probability,
                    }
                ),
            )
        )
    plan = decision.plan
    return around, "null" if plan is None else canonical_text(plan_values(plan, decision))


def _request(request: RequestFacts) -> str:
    # A task holds whole numbers that JSON has, as they are: what each call writes is written without more calls.
    images, longest, messages = request.images, request.max_output_tokens, request.messages
    tokens, tools, schema = request.prompt_tokens, request.tools, request.json_schema
    return (
        f'{{"images":{"null" if images is None else images}'
        f',"json_schema":{"null" if schema is None else "true" if schema else "false"}'
        f',"max_output_tokens":{"null" if longest is None else longest}'
        f',"messages":{"null" if messages is None else messages}'
        f',"metadata":{_texts(request.metadata) if request.metadata else "{}"}'
        f',"prompt_tokens":{"null" if tokens is None else tokens}'
        f',"prompt_tokens_source":{_word(request.prompt_tokens_source)}'
        f',"tokenizer":{_word(request.tokenizer)},"tools":{"null" if tools is None else tools}}}'
    )


def _texts(texts: Mapping[str, str]) -> str:
    """An object of texts."""
    text = canonical_text
    # Past ASCII, keys are sorted otherwise than Python sorts them.
    if not all(map(str.isascii, texts)):
        return text(dict(texts))
    return "{" + ",".join([f"{text(name)}:{text(texts[name])}" for name in sorted(texts)]) + "}"


def _choice(choice: Selection | None) -> str:
    if choice is None:
        return "null"
    inputs = canonical_text(dict(choice.inputs)) if choice.inputs else "{}"
    session = "null" if choice.session is None else f'"{choice.session}"'
    return f'{{"how":"{choice.how}","inputs":{inputs},"session":{session}}}'


def _inside(values: Mapping[str, Any]) -> str:
    """The members of an object, each after a comma."""
    return "," + canonical_text(dict(values))[1:-1]


def _feature(name: str, source: Source, value: object) -> str:
    return canonical_text({name: {"source": source, "value": value}})[1:-1]
