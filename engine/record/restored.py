"""Makes a record of its parts again: plain values, whose canonical JSON has the bytes that the engine gave."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .field import fields_of
from .fields import RECORD_VERSION, DecisionRecord
from .parts import REQUEST_FIELDS, SOURCE_NAMES, VERDICT_VALUES, RecordRow

_FIELDS: Final = fields_of(DecisionRecord)


def record_values_of(
    row: RecordRow,
    policy: Mapping[str, Any],
    plan: Mapping[str, Any],
    arm: Mapping[str, Any] | None,
    models: Mapping[str, Any],
    memory: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of version 2 as plain values. All but ``row`` are plain values of parts.

    ``models`` and ``memory`` hold what was known of models, by id, and of backends; the policy's part says of which
    models a record tells.
    """
    own = {
        "record": RECORD_VERSION,
        "id": row.id,
        "at_us": row.at_us,
        "arm": arm,
        "arm_point": row.arm_point,
        "operation": row.operation,
        "pin": row.pin,
        "draw": row.draw,
        "request": _request(row),
        "prompt_tokens": row.prompt_tokens,
        "features": _features(row, policy["features"]),
        "ignored": dict(row.ignored or {}),
        "verdicts": [VERDICT_VALUES[letter] for letter in row.verdicts],
        "details": dict(row.details or {}),
        "state": _state(row, policy, models, memory),
    }
    return {field.name: _of(field.name, own, policy, plan) for field in _FIELDS}


def _of(name: str, *found: Mapping[str, Any]) -> Any:
    return next(one[name] for one in found if name in one)


def _request(row: RecordRow) -> dict[str, Any]:
    if row.request is None:
        return dict.fromkeys(REQUEST_FIELDS) | {"metadata": {}}
    return dict(zip(REQUEST_FIELDS, row.request, strict=True))


def _features(row: RecordRow, declared: list[dict[str, Any]]) -> dict[str, Any]:
    given = iter(row.values)
    found = {}
    for feature, letter in zip(declared, row.sources, strict=True):
        value = next(given) if letter in "gr" else feature["default"] if letter == "d" else None
        found[feature["name"]] = {"value": value, "source": SOURCE_NAMES[letter]}
    return found


def _state(
    row: RecordRow, policy: Mapping[str, Any], models: Mapping[str, Any], memory: Mapping[str, Any]
) -> dict[str, Any]:
    used = row.quota_used or [None] * len(policy["quotas"])
    state: dict[str, Any] = {
        "load": row.load,
        "models": {id: models[id] for id in policy["models"]},
        "quota_used": dict(zip(policy["quotas"], used, strict=True)),
        "session_model": row.session_model,
    }
    return state | ({"memory": dict(memory)} if memory else {})
