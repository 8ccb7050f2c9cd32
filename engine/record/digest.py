"""The digest of a record and its canonical JSON, made from its row and its parts.

The digest is the SHA-256 of the record's canonical JSON in which every field that is a part stands as the digest of its
own canonical JSON: so whoever has the digests of the parts need not have the parts. ``digest_of_values`` follows that
definition; ``RecordTexts`` comes to the same for many rows of a policy, and makes the records too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from ..canonical import canonical_text, digest_of
from ..decision import NOTHING_KNOWN, Decision, MemoryState, ModelState
from .field import Shape, fields_of
from .fields import RECORD_VERSION, DecisionRecord, MemoryRecord, ModelStateRecord, StateRecord
from .parts import REQUEST_FIELDS, SOURCE_NAMES, VERDICT_VALUES, RecordRow
from .record import record_values, values_of
from .sealing import row_without_sealed, without_sealed

_VERDICT_TEXTS: Final = {letter: canonical_text(verdict) for letter, verdict in VERDICT_VALUES.items()}
_METADATA: Final = REQUEST_FIELDS.index("metadata")
_NO_REQUEST: Final = canonical_text(dict.fromkeys(REQUEST_FIELDS) | {"metadata": {}})


def digest_of_values(values: Mapping[str, Any]) -> str:
    """The digest of a record of version 2, given as plain values.

    Raises RecordError where a value was erased that was not sealed.
    """
    return digest_of(without_sealed(_standing(DecisionRecord, values)))


def _standing(shape: type[Shape], values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` with its parts as their digests."""
    found = dict(values)
    for field in fields_of(shape):
        value = values.get(field.name)
        if value is None:
            continue
        if field.part == "whole":
            found[field.name] = digest_of(value)
        elif field.part == "by_key":
            found[field.name] = digest_of({key: digest_of(one) for key, one in value.items()})
        elif field.shape is StateRecord:
            found[field.name] = _standing(StateRecord, value)
    return found


def model_text(known: ModelState) -> str:
    """The canonical JSON of what is known of a model."""
    return canonical_text(values_of(ModelStateRecord, known, None))


def memory_text(known: MemoryState) -> str:
    """The canonical JSON of what is known of the memory of a backend."""
    return canonical_text(values_of(MemoryRecord, known, None))


NOTHING_KNOWN_TEXT: Final = model_text(NOTHING_KNOWN)


def text_digest(text: str) -> str:
    """``sha256:`` and the SHA-256 of a text in UTF-8."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def digest_of_texts(texts: Mapping[str, str]) -> str:
    """The digest of an object from keys to the digests of the canonical JSON that each has."""
    return digest_of_members([member_of(key, texts[key]) for key in sorted(texts, key=by_key)])


def digest_of_members(members: Iterable[str]) -> str:
    """The digest of an object of such members, in the order of their keys."""
    return text_digest(f"{{{','.join(members)}}}")


def member_of(key: str, text: str) -> str:
    """The member of an object that stands for what has this canonical JSON: its digest."""
    return f'{canonical_text(key)}:"{text_digest(text)}"'


def by_key(key: str) -> bytes:
    """Sorts keys as canonical JSON does: by UTF-16 code units."""
    return key.encode("utf-16-be", "surrogatepass")


def plan_texts(plan: Mapping[str, Any], *, written_out: bool = False) -> dict[str, str]:
    """The text of each field of a plan's part: in what the digest is made of, or ``written_out`` as in the record."""
    return _standing_texts(plan, "plan", written_out)


def _standing_texts(values: Mapping[str, Any], place: str, written_out: bool) -> dict[str, str]:
    texts = {}
    for field in fields_of(DecisionRecord):
        if field.place == place:
            value = values[field.name]
            as_digest = field.part == "whole" and value is not None and not written_out
            texts[field.name] = canonical_text(digest_of(value) if as_digest else value)
    return texts


class RecordTexts:
    """Makes the records of one policy of their rows and parts. The policy's part is given as plain values.

    With ``written_out`` parts stand in the text as they are, which is the record's canonical JSON; else as their
    digests. Parts come as texts, and nothing in them is encoded again.
    """

    def __init__(self, policy: Mapping[str, Any], *, written_out: bool = False) -> None:
        self._policy = _standing_texts(policy, "policy", written_out)
        features = [(one["name"], slot, one["default"]) for slot, one in enumerate(policy["features"])]
        self._features = sorted(features, key=lambda one: by_key(one[0]))
        self._names = [one["name"] for one in policy["features"]]
        self._with_sources = lru_cache(maxsize=4096)(self._around_values)
        self._quotas: list[str] = policy["quotas"]
        self._no_quotas = canonical_text(dict.fromkeys(self._quotas))

    def digest(
        self, row: RecordRow, plan: Mapping[str, str], arm: str | None, models: str, memory: str | None
    ) -> str:
        """The digest of the record with the ``plan_texts`` of its plan, and the digests of its other parts.

        Raises RecordError where a value was erased that was not sealed.
        """
        return text_digest(self.digested(row, plan, arm, models, memory))

    def digested(
        self, row: RecordRow, plan: Mapping[str, str], arm: str | None, models: str, memory: str | None
    ) -> str:
        """What the digest is of: the record's canonical JSON in which each part is a digest, without what is sealed.

        Raises RecordError where a value was erased that was not sealed.
        """
        if row.salts or row.erased:
            row = row_without_sealed(row, self._given(row.sources), _METADATA)
        in_memory = None if memory is None else f'"{memory}"'
        return self.text(row, plan, canonical_text(arm), f'"{models}"', in_memory)

    def text(self, row: RecordRow, plan: Mapping[str, str], arm: str, models: str, memory: str | None) -> str:
        """The record with the ``plan_texts`` of its plan, and JSON that stands for its other parts.

        ``arm`` is ``null`` without a rollout, ``memory`` None where nothing was known of it.
        """
        written, policy = canonical_text, self._policy
        in_memory = "" if memory is None else f'"memory":{memory},'
        erased = f'"erased":{written(dict(row.erased))},' if row.erased else ""
        salts = f'"salts":{written(dict(row.salts))},' if row.salts else ""
        details = "{}" if row.details is None else written(dict(row.details))
        ignored = "{}" if row.ignored is None else written(dict(row.ignored))
        point = written(row.arm_point)
        verdicts = _verdicts_text(row.verdicts)
        return (
            f'{{"arm":{arm},"arm_point":{point},"at_us":{row.at_us},"candidates":{plan["candidates"]},'
            f'"catalog":{policy["catalog"]},"choice":{plan["choice"]},"details":{details},'
            f'"draw":{written(row.draw)},"engine":{policy["engine"]},{erased}"features":{self._features_text(row)},'
            f'"id":{written(row.id)},"ignored":{ignored},"operation":"{row.operation}",'
            f'"outcome":{plan["outcome"]},"pin":{written(row.pin)},"plan":{plan["plan"]},'
            f'"policy":{policy["policy"]},"prompt_tokens":{written(row.prompt_tokens)},'
            f'"reason":{plan["reason"]},"record":{RECORD_VERSION},"request":{_request_text(row)},'
            f'"rule":{plan["rule"]},"rules":{policy["rules"]},{salts}"state":{{"load":{written(row.load)},{in_memory}'
            f'"models":{models},"quota_used":{self._quotas_text(row)},'
            f'"session_model":{written(row.session_model)}}},"target":{plan["target"]},"verdicts":{verdicts}}}'
        )

    def _given(self, sources: str) -> list[str]:
        """The names of the features whose values a row with these sources has."""
        return [name for name, letter in zip(self._names, sources, strict=True) if letter in "gr"]

    def _features_text(self, row: RecordRow) -> str:
        around, order = self._with_sources(row.sources)
        texts = [*map(canonical_text, row.values)]
        found = around.copy()
        # Every second piece is that of a value.
        found[1::2] = [texts[place] for place in order]
        return "".join(found)

    def _around_values(self, sources: str) -> tuple[list[str], list[int]]:
        """The text of the features that have these sources in pieces, with a free one for each value of a row.

        Beside it is the place that each of those values has in the row.
        """
        given = [slot for slot, letter in enumerate(sources) if letter in "gr"]
        pieces, order = ["{"], []
        for number, (name, slot, default) in enumerate(self._features):
            letter = sources[slot]
            value = canonical_text(default if letter == "d" else None)
            pieces[-1] += (
                f'{"," if number else ""}{canonical_text(name)}:{{"source":"{SOURCE_NAMES[letter]}","value":'
            )
            if letter in "gr":
                order.append(given.index(slot))
                pieces += ["", ""]
            else:
                pieces[-1] += value
            pieces[-1] += "}"
        pieces[-1] += "}"
        return pieces, order

    def _quotas_text(self, row: RecordRow) -> str:
        if row.quota_used is None:
            return self._no_quotas
        return canonical_text(dict(zip(self._quotas, row.quota_used, strict=True)))


def _request_text(row: RecordRow) -> str:
    if row.request is None:
        return _NO_REQUEST
    return canonical_text(dict(zip(REQUEST_FIELDS, row.request, strict=True)))


@lru_cache(maxsize=4096)
def _verdicts_text(letters: str) -> str:
    return f"[{','.join(map(_VERDICT_TEXTS.__getitem__, letters))}]"


def record_digest(decision: Decision) -> str:
    """The digest of a decision's record."""
    return digest_of_values(record_values(decision))
