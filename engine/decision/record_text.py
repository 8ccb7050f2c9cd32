"""A decision in, the canonical JSON of its record out, several times faster than through its values.

Most of a record follows from the policy (features left to their defaults, names of rules, models of which
nothing is known) or from a plan that many decisions share: those parts are written once and joined.

INVARIANT: ``record_bytes(d)`` equals ``canonical_bytes(record_values(d))``, so keys stand in sorted order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..canonical import canonical_text
from ..policy.compiled import CompiledPolicy
from ..version import ENGINE_VERSION
from .choose import estimate
from .decision import CandidateVerdict, Choice, Decision, Plan, Source
from .record import arm_values, model_state_values, plan_values, request_values
from .record_shape import RECORD_VERSION
from .task import NO_REQUEST, ModelState, RequestFacts, State

__all__ = ["record_bytes"]

_MAX_REMEMBERED = 4096
"""Plans whose text is kept for a policy; when there are more, all are forgotten."""

_NO_REQUEST = canonical_text(request_values(NO_REQUEST))


def record_bytes(decision: Decision) -> bytes:
    """The canonical bytes of the record of ``decision``: what is stored, and what its digest covers."""
    policy, task, state = decision.policy, decision.task, decision.state
    writer = policy.cache.get(_RecordWriter)
    if writer is None:
        writer = policy.cache[_RecordWriter] = _RecordWriter(policy)
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
            f',"draw":{text(task.draw)},"engine":{text(ENGINE_VERSION)},"features":{{',
            writer.features(decision.values, decision.sources),
            f'}},"id":{text(decision.id)},"ignored":',
            text(decision.ignored) if decision.ignored else "{}",
            f',"operation":"{task.operation}","outcome":"{decision.outcome}","pin":{text(task.pin)}',
            f',"plan":{plan},"policy":{writer.policy}',
            f',"reason":{text(None if rule is None else rule.reason)},"record":{RECORD_VERSION},"request":',
            _NO_REQUEST if request is NO_REQUEST else _request(request),
            f',"rule":{text(None if rule is None else rule.name)},"rules":[',
            writer.rules(decision.verdicts),
            f'],"state":{writer.state(state)},"target":{text(target)}}}',
        )
    ).encode("utf-8")


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
        self._models = [
            (id, canonical_text({id: nothing})[1:-1]) for id in sorted(model.id for model in catalog.models)
        ]
        self._quotas = sorted(quota.name for quota in policy.quotas)
        self._nothing = self._state(State(0))
        self._texts: dict[
            int, tuple[Sequence[CandidateVerdict], Plan | None, list[tuple[str, str, str]], str]
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

    def rules(self, verdicts: Sequence[bool | None]) -> str:
        return ",".join([texts[verdict] for texts, verdict in zip(self._rules, verdicts, strict=True)])

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
        if kept is None or kept[0] is not decision.candidates or kept[1] is not decision.plan:
            kept = (decision.candidates, decision.plan, *_planned(decision))
            if len(self._texts) >= _MAX_REMEMBERED:
                self._texts.clear()
            self._texts[id(decision.candidates)] = kept
        policy, task = decision.policy, decision.task
        request = decision.request
        text = canonical_text
        written = []
        for candidate, (start, middle, end) in zip(decision.candidates, kept[2], strict=True):
            model = policy.catalog.models[candidate.model]
            expected = estimate(model, task.operation, request, decision.state)
            written.append(
                f'{{"cost_source":{text(expected.cost_source)},"currency":{text(expected.currency)}{start}'
                f',"estimated_cost_nano":{text(expected.cost_nano)}'
                f',"estimated_latency_ms":{text(expected.latency_ms)}{middle}'
                f',"latency_source":{text(expected.latency_source)}{end}}}'
            )
        return ",".join(written), kept[3]


def _planned(decision: Decision) -> tuple[list[tuple[str, str, str]], str]:
    """What stands around each candidate's estimates, and the plan."""
    models = decision.policy.catalog.models
    around = []
    for candidate in decision.candidates:
        failure = candidate.failure
        around.append(
            (
                _inside({"detail": failure and failure.detail, "eligible": failure is None}),
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
    return around, "null" if plan is None else canonical_text(plan_values(plan, decision.policy))


def _request(request: RequestFacts) -> str:
    text = canonical_text
    return (
        f'{{"images":{text(request.images)},"json_schema":{text(request.json_schema)}'
        f',"max_output_tokens":{text(request.max_output_tokens)},"messages":{text(request.messages)}'
        f',"metadata":{text(dict(request.metadata)) if request.metadata else "{}"}'
        f',"prompt_tokens":{text(request.prompt_tokens)}'
        f',"prompt_tokens_source":{text(request.prompt_tokens_source)}'
        f',"tokenizer":{text(request.tokenizer)},"tools":{text(request.tools)}}}'
    )


def _choice(choice: Choice | None) -> str:
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
