"""Reads records back, strictly: nothing is converted, and no key may be missing, unknown or there twice."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

from pydantic import ValidationError

from ..canonical import canonical_bytes
from ..policy import MAX_EXACT
from ..report import RecordError
from .fields import RECORD_VERSION, DecisionRecord
from .record import Record
from .version_1 import DecisionRecord1


def read_record(text: str | bytes) -> Record:
    """Return the record in a JSON text, canonical or laid out otherwise.

    Raises RecordError when it is none, or of another version. ``1`` is no ``true``, ``"1"`` no number, no key
    may be missing, unknown or there twice.
    """
    try:
        values = read_json(text)
        canonical_bytes(values)  # refuses text with half of a surrogate pair
    except (ValueError, RecursionError) as error:
        why = f": {error}" if type(error) is ValueError else ": not JSON"
        raise RecordError(f"not a decision record{why}") from None
    if not isinstance(values, dict):
        raise RecordError("not a decision record: expected a JSON object")
    return checked_record(values)


def read_json(text: str | bytes) -> Any:
    """What canonical JSON says. Raises ValueError for a text that is none, and RecursionError for one too deep."""
    return json.loads(
        text, object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_refuse
    )


def checked_record(values: Mapping[str, Any]) -> Record:
    """The record that plain values are, as JSON has them. Raises RecordError when they are none."""
    version = values.get("record")
    if type(version) is int and version not in (1, RECORD_VERSION):
        raise RecordError(f"the record has version {version}, this engine reads 1 and {RECORD_VERSION}")
    try:
        return (DecisionRecord1 if version == 1 else DecisionRecord).model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise RecordError(f"not a decision record at `{place}`: {message[:1].lower()}{message[1:]}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _integer(text: str) -> int | float:
    """Canonical JSON writes a number without a fraction as one without a point, however large it is."""
    whole = int(text)
    return whole if -MAX_EXACT <= whole <= MAX_EXACT else _number(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(text)
    return number + 0.0  # -0.0 + 0.0 is 0.0


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"`{text[:40]}` is not a number that a record has")
