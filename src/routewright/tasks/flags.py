"""Reads values that are written as ``NAME=VALUE``: features, metadata, tags."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from routewright.engine.condition import BOOLEAN, INTEGER, NUMBER, STRING, ListType, Type
from routewright.engine.policy import CompiledPolicy
from routewright.engine.report import FeatureError, TaskError

from .json_text import refuse_constant

_BOOLEANS: Final = {
    **dict.fromkeys(("true", "yes", "on"), "true"),
    **dict.fromkeys(("false", "no", "off"), "false"),
}
"""What people write for true and false, in any case."""


def features_from_flags(flags: Iterable[str], policy: CompiledPolicy | None = None) -> dict[str, object]:
    """The features in flags such as ``complexity=0.9``, each read as its declaration says.

    Without a policy or a declaration, a value is read as JSON if it is valid JSON, otherwise as text. ``null`` is
    None, except for features of text, where it is that word. Raises FeatureError for a flag without ``=``, one given
    twice, or a value that cannot be read.
    """
    policies = () if policy is None else policy.with_candidate
    features: dict[str, object] = {}
    for flag in flags:
        name, equals, text = flag.partition("=")
        name = name.strip()
        if not equals or not name:
            raise FeatureError(
                f"`{flag}` does not give a feature a value",
                feature=flag,
                help=f"write {name or 'name'}={text or 'value'}",
            )
        if name in features:
            raise FeatureError(f"feature `{name}` is given twice", feature=name)
        known = [one for one in policies if name in one.slots]
        type = known[0].features[known[0].slots[name]].declaration.type if known else None
        features[name] = _read(name, text, type)
    return features


def _read(name: str, text: str, type: Type | None) -> object:
    if type == STRING:
        return text
    # Only an array of text can have `null` as its single element.
    is_json = text.lstrip().startswith("[") or (text == "null" and type != ListType(STRING))
    if isinstance(type, ListType) and not is_json:
        return [_read(name, part.strip(), type.element) for part in text.split(",")] if text else []
    try:
        value: object = json.loads(text, parse_constant=refuse_constant)
    except (ValueError, RecursionError):
        if type is None:
            return text
        expected = {BOOLEAN: "true or false", INTEGER: "a whole number", NUMBER: "a number"}
        what = expected.get(type, f"an {type}")  # type: ignore[arg-type]  # arrays are not among the keys
        meant = _BOOLEANS.get(text.lower()) if type == BOOLEAN else None
        help = None if meant is None else f"write {name}={meant}"
        raise FeatureError(
            f"feature `{name}`: expected {what}, got `{text}`", feature=name, help=help
        ) from None
    return value


def texts_from_flags(flags: Iterable[str], option: str) -> dict[str, str]:
    """The texts in flags such as ``team=search``. Raises TaskError for a flag without ``=`` or one given twice."""
    texts: dict[str, str] = {}
    for flag in flags:
        name, equals, text = flag.partition("=")
        if not equals or not name:
            raise TaskError(f"{option}: `{flag}` is not NAME=VALUE", help="such as team=search")
        if name in texts:
            raise TaskError(f"{option} gives `{name}` twice")
        texts[name] = text
    return texts
