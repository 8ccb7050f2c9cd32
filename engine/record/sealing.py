"""Seals values that may have to be erased: a record's digest commits to each by an HMAC with a salt of its own.

A digest without a salt gives away a value that can be guessed. With a salt it gives away nothing once value and salt
are gone, and the HMAC that is kept in their place still makes the same digest.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from ..canonical import canonical_bytes
from ..decision import Decision
from ..policy import CompiledPolicy, per_policy
from ..report import RecordError
from .parts import RecordRow

SALT_BYTES: Final = 16

FEATURES: Final = "features."
IGNORED: Final = "ignored."
METADATA: Final = "metadata."
"""How the place of a value begins in ``salts`` and ``erased``; its name follows."""


class _Sealing:
    """What a policy has sealed: slots and places of its sensitive features, and the metadata that they come from."""

    def __init__(self, policy: CompiledPolicy) -> None:
        sensitive = [(slot, one) for slot, one in enumerate(policy.features) if one.sensitive]
        self.features = [(slot, FEATURES + one.name) for slot, one in sensitive]
        sources = [one.derived for _, one in sensitive if one.derived is not None]
        keys = [one.key for one in sources if one.fact == "metadata" and one.key is not None]
        self.metadata = list(dict.fromkeys(keys))


_sealing_of: Callable[[CompiledPolicy], _Sealing] = per_policy(_Sealing)


def sealed(decision: Decision, salt: Callable[[int], bytes]) -> Decision:
    """``decision`` with a salt for each value that its policy has sealed; ``salt`` makes that many unguessable bytes.

    Sealed are sensitive features that have a value of their task's, the request's metadata that they are derived from,
    and under a policy with a sensitive feature also what was given and is not declared: nobody has said what that is.
    """
    sealing = _sealing_of(decision.policy)
    if not sealing.features or decision.salts is not None:
        return decision
    return replace(decision, salts={place: salt(SALT_BYTES).hex() for place in _places(sealing, decision)})


def _places(sealing: _Sealing, decision: Decision) -> Iterator[str]:
    sources, metadata = decision.sources, decision.task.request.metadata
    yield from (place for slot, place in sealing.features if sources[slot] in ("given", "derived"))
    yield from (METADATA + key for key in sealing.metadata if key in metadata)
    yield from (IGNORED + name for name in decision.ignored)


def seal(salt: str, value: object) -> str:
    """HMAC-SHA-256 of the canonical JSON of ``value``, in hexadecimal; the key is ``salt``, given in hexadecimal."""
    return hmac.new(bytes.fromhex(salt), canonical_bytes(value), "sha256").hexdigest()


def take_out(record: dict[str, Any], place: str) -> object:
    """The value at a place of a record's plain values, which then do not have it: metadata no more its name.

    Raises KeyError where the record has no such place.
    """
    kind, _, name = place.partition(".")
    if kind == "features":
        feature = record["features"][name]
        value, feature["value"] = feature["value"], None
    elif kind == "ignored":
        value, record["ignored"][name] = record["ignored"][name], None
    else:
        value = record["request"]["metadata"].pop(name)
    return value


def without_sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a record as they are once all that is sealed has been erased: what its digest is made of.

    Raises RecordError where a value was erased that was not sealed.
    """
    found = dict(values)
    salts = found.pop("salts", None)
    erased = dict(found.pop("erased", None) or {})
    if salts:
        found["features"] = {name: dict(one) for name, one in found["features"].items()}
        found["ignored"] = dict(found["ignored"])
        found["request"] = {**found["request"], "metadata": dict(found["request"]["metadata"])}
        erased.update({place: seal(salt, take_out(found, place)) for place, salt in salts.items()})
    return {**found, "erased": _all_sealed(erased)} if erased else found


def row_without_sealed(row: RecordRow, given: Sequence[str], metadata_at: int) -> RecordRow:
    """``row`` as it is once all that is sealed has been erased.

    ``given`` names the features whose values it has, and ``metadata_at`` is where metadata are in its request. Raises
    RecordError where a value was erased that was not sealed.
    """
    slots = {FEATURES + name: slot for slot, name in enumerate(given)}
    values, ignored = list(row.values), dict(row.ignored or {})
    request = None if row.request is None else list(row.request)
    metadata = {} if request is None else dict(request[metadata_at])
    erased = dict(row.erased or {})
    for place, salt in (row.salts or {}).items():
        kind, _, name = place.partition(".")
        if kind == "features":
            value, values[slots[place]] = values[slots[place]], None
        elif kind == "ignored":
            value, ignored[name] = ignored[name], None
        else:
            value = metadata.pop(name)
        erased[place] = seal(salt, value)
    if request is not None:
        request[metadata_at] = metadata
    return row._replace(
        values=values, ignored=ignored or None, request=request, salts=None, erased=_all_sealed(erased)
    )


def _all_sealed(erased: Mapping[str, str | None]) -> dict[str, str]:
    for place, kept in erased.items():
        if kept is None:
            raise RecordError(
                f"`{place}` was erased and had no salt: the record's digest cannot be made again"
            )
    return {place: kept for place, kept in erased.items() if kept is not None}
