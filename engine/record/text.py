"""Writes the canonical JSON of a decision's record, several times faster than through its values.

A writer is generated from the fields of each shape. What follows from the policy, or from a plan that many decisions
share, is written once and joined.

INVARIANT: ``record_bytes(d)`` equals ``canonical_bytes(record_values(d))``, so keys stand in sorted order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import groupby
from types import MappingProxyType
from typing import Any, Final, NamedTuple, cast, get_origin

from ..canonical import canonical_text
from ..decision import (
    NO_REQUEST,
    NOTHING_KNOWN,
    Decision,
    Estimate,
    GateFailure,
    MemoryState,
    State,
    estimate,
)
from ..policy import CompiledPolicy, per_policy
from ..version import ENGINE_VERSION
from .field import Field, Shape, Uuid, fields_of, generated, plain_type, taken
from .fields import (
    RECORD_VERSION,
    CandidateRecord,
    DecisionRecord,
    Judged,
    MemoryRecord,
    ModelStateRecord,
    NamedDigest,
    PlanRecord,
    RequestRecord,
    RuleRecord,
    StateRecord,
    Weighed,
)
from .record import values_of

_MAX_REMEMBERED = 4096
"""Plans whose text is kept for a policy; when there are more, all are forgotten."""

_MAX_VERDICTS = 256
"""The same for verdicts: the text of a thousand rules is 60 kB long, and tasks that are alike come together."""

_word: Final[Callable[[str | None], str]] = lru_cache(maxsize=1024)(canonical_text)
"""Of words that come again and again: names of the policy, and those of this program."""


def record_bytes(decision: Decision) -> bytes:
    """The canonical bytes of the record of ``decision``: what its digest covers."""
    return record_text(decision).encode("utf-8")


def record_text(decision: Decision) -> str:
    """The same as text, which is stored; half of a surrogate pair may be let through."""
    return _write_decision(decision, decision, _writer_of(decision.policy))


# --- generated from the fields -----------------------------------------------------------------------------


_NAMES: Final = {
    "text": canonical_text,
    "word": _word,
    "mapping": lambda values: canonical_text(dict(values)),
    "truth": {True: "true", False: "false", None: "null"},
}


def _written(field: Field, value: str, names: dict[str, Any]) -> str:
    """The Python expression for the JSON of a field whose value has the expression ``value``."""
    kind, v = plain_type(field.kind), f"v_{field.name}"
    first = v if field.nullable else f"({v} := {value})"
    if field.shape is not None and get_origin(kind) is None:
        names[f"write_{field.name}"] = _writer(field.shape)
        written = f"write_{field.name}({first}, decision)"
    elif kind is int:
        written = first
    elif kind is bool:
        return f"truth[{value}]"
    elif kind is str:
        # A text that no other record has would only push others out of the memory of words.
        return f"{'text' if field.kind == Uuid else 'word'}({value})"
    elif get_origin(kind) is dict:
        written = f'mapping({v}) if {first} else "{{}}"'
    else:
        written = f"text({first})"
    return f'"null" if ({v} := {value}) is None else {written}' if field.nullable else written


def _members(
    shape: type[Shape], names: dict[str, Any], special: Mapping[str, str]
) -> Iterator[tuple[Field, str]]:
    """The fields of a shape in the order of their keys, each with what stands for it in an f-string."""
    for number, field in enumerate(sorted(fields_of(shape), key=lambda field: field.name)):
        value, key = taken(field, names), f'{"{{" if number == 0 else ","}"{field.name}":'
        if field.added:
            names[f"key_{field.name}"] = key
            written = special.get(field.name, "text(added)")
            yield field, f'{{"" if (added := {value}) is None else key_{field.name} + {written}}}'
        else:
            yield field, f"{key}{{{special.get(field.name) or _written(field, value, names)}}}"


def _writer(
    shape: type[Shape], special: Mapping[str, str] = MappingProxyType({}), arguments: str = "x, decision"
) -> Callable[..., str]:
    """A function that writes the JSON of a shape; ``special`` has the expressions of fields written otherwise."""
    names: dict[str, Any] = dict(_NAMES)
    members = "".join(member for _, member in _members(shape, names, special))
    return cast("Callable[..., str]", generated(arguments, f"f'''{members}}}}}'''", names))


def _candidate_writers() -> tuple[Callable[..., tuple[str, ...]], Callable[..., str]]:
    """Two functions: what a candidate has for every call with its plan, in pieces; and the whole of one call."""
    names: dict[str, Any] = dict(_NAMES)
    kept: list[str] = []
    whole = ""
    for varies, run in groupby(_members(CandidateRecord, names, {}), key=lambda one: one[0].place == "row"):
        members = "".join(member for _, member in run)
        if varies:
            whole += members.replace("x.expected.", "expected.")
        else:
            whole += f"{{kept[{len(kept)}]}}"
            kept.append(f"f'''{members}''',")
    return (
        generated("x, decision", f"({' '.join(kept)})", names),
        generated("expected, kept", f"f'''{whole}}}}}'''", names),
    )


_write_name = _writer(NamedDigest)
_write_rule = _writer(RuleRecord)
_write_request = _writer(RequestRecord)
# What is known of a model stays the same over many decisions.
_write_model_state = lru_cache(maxsize=4096)(_writer(ModelStateRecord))
_write_state = _writer(
    StateRecord,
    {"memory": "parts.memory(added)", "models": "parts.models(x)", "quota_used": "parts.quotas(x)"},
    "x, decision, parts",
)
_write_decision = _writer(
    DecisionRecord,
    {name: f"parts.{name}" for name in ("catalog", "engine", "policy", "record")}
    | {name: f"parts.{name}(x)" for name in ("candidates", "features", "plan", "request", "rules", "state")},
    "x, decision, parts",
)
_keep_candidate, _write_candidate = _candidate_writers()


# --- parts that decisions share ----------------------------------------------------------------------------


class _Kept(NamedTuple):
    """What is written of ``owner``, as long as the failed gates whose words depend on the call have these words."""

    owner: object
    varying: list[GateFailure]
    words: list[str]
    written: Any


class _Parts:
    """The parts of records that one policy's decisions share."""

    engine: Final = canonical_text(ENGINE_VERSION)
    record: Final = canonical_text(RECORD_VERSION)

    def __init__(self, policy: CompiledPolicy) -> None:
        self.policy, self.catalog = _write_name(policy, None), _write_name(policy.catalog, None)
        self._features = [
            (slot, f"{canonical_text(name)}:", _member(name, {"source": "default", "value": default}))
            for name, slot, default in sorted((f.name, n, f.default) for n, f in enumerate(policy.features))
        ]
        self._rules = [
            {verdict: _write_rule(Judged(rule.name, verdict), None) for verdict in (True, False, None)}
            for rule in policy.rules
        ]
        nothing = _write_model_state(NOTHING_KNOWN, None)
        ids = sorted(model.id for model in policy.catalog.models)
        self._models = [(id, key := f"{canonical_text(id)}:", key + nothing) for id in ids]
        self._quotas = sorted(quota.name for quota in policy.quotas)
        self._no_state = _write_state(State(0), None, self)
        self._verdicts: dict[tuple[bool | None, ...], str] = {}
        self._candidates: dict[int, _Kept] = {}
        self._plans: dict[int, _Kept] = {}

    def features(self, decision: Decision) -> str:
        values, sources = decision.values, decision.sources
        found = [
            default
            if sources[slot] == "default"
            else f'{name}{{"source":"{sources[slot]}","value":{canonical_text(values[slot])}}}'
            for slot, name, default in self._features
        ]
        return f"{{{','.join(found)}}}"

    def request(self, decision: Decision) -> str:
        request = decision.task.request
        return _NO_REQUEST if request is NO_REQUEST else _write_request(request, decision)

    def rules(self, decision: Decision) -> str:
        verdicts = decision.verdicts
        kept = self._verdicts.get(verdicts)
        if kept is None:
            if len(self._verdicts) >= _MAX_VERDICTS:
                self._verdicts.clear()
            texts = [texts[verdict] for texts, verdict in zip(self._rules, verdicts, strict=True)]
            kept = self._verdicts[verdicts] = f"[{','.join(texts)}]"
        return kept

    def state(self, decision: Decision) -> str:
        state = decision.state
        known = state.models or state.quota_used or state.memory
        if not known and state.load is None and state.session_model is None:
            return self._no_state
        return _write_state(state, decision, self)

    def models(self, state: State) -> str:
        found = [
            nothing if (known := state.models.get(id)) is None else key + _write_model_state(known, None)
            for id, key, nothing in self._models
        ]
        return f"{{{','.join(found)}}}"

    def memory(self, memory: Mapping[str, MemoryState]) -> str:
        return canonical_text({id: values_of(MemoryRecord, one, None) for id, one in memory.items()})

    def quotas(self, state: State) -> str:
        return canonical_text({name: state.quota_used.get(name) for name in self._quotas})

    def candidates(self, decision: Decision) -> str:
        candidates = decision.candidates
        kept = _kept(self._candidates, candidates, _kept_candidates, decision)
        models, operation = decision.policy.catalog.models, decision.task.operation
        request, state = decision.request, decision.state
        written = [
            _write_candidate(estimate(models[one.model], operation, request, state), pieces)
            for one, pieces in zip(candidates, kept, strict=True)
        ]
        return f"[{','.join(written)}]"

    def plan(self, decision: Decision) -> str:
        plan = decision.plan
        if plan is None:
            return "null"
        return cast(str, _kept(self._plans, plan, _plan_text, decision))


_Write = Callable[[Decision], tuple[Iterable[GateFailure], Any]]
"""Writes what is kept; says which failed gates it words."""


def _kept(memory: dict[int, _Kept], owner: object, write: _Write, decision: Decision) -> Any:
    """What is kept for ``owner``, or else is written now; decisions alike share candidates and plan."""
    kept = memory.get(id(owner))
    if (
        kept is None
        or kept[0] is not owner
        or (kept[1] and [one.recorded(decision) for one in kept.varying] != kept.words)
    ):
        failed, written = write(decision)
        varying = [one for one in failed if one.varies]
        words = [one.recorded(decision) for one in varying]
        if len(memory) >= _MAX_REMEMBERED:
            memory.clear()
        kept = memory[id(owner)] = _Kept(owner, varying, words, written)
    return kept[3]


def _kept_candidates(decision: Decision) -> tuple[Iterable[GateFailure], list[tuple[str, ...]]]:
    written = [_keep_candidate(Weighed(one, _NO_ESTIMATE), decision) for one in decision.candidates]
    return (one.failure for one in decision.candidates if one.failure is not None), written


def _plan_text(decision: Decision) -> tuple[Iterable[GateFailure], str]:
    plan = decision.plan
    assert plan is not None  # it is kept by the plan
    failed = [dropped.failure for dropped in plan.dropped]
    if plan.ensemble_dropped is not None:
        failed.append(plan.ensemble_dropped)
    return failed, canonical_text(values_of(PlanRecord, plan, decision))


def _member(name: str, value: object) -> str:
    return canonical_text({name: value})[1:-1]


_NO_ESTIMATE: Final = Estimate(None, None, None, None, None)
_NO_REQUEST: Final = _write_request(NO_REQUEST, None)
_writer_of = per_policy(_Parts)
