"""``sources.yaml`` in, what is wrong with it out: leaves without a mapping, elements that are not there,
values that do not agree, mappings that fit no leaf. How a mapping is written stands at the top of that file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from routewright.engine.policy.compiled import CompiledCatalog
from routewright.engine.policy.quantities import parse_duration_ms

from .source_leaves import Leaf

__all__ = ["Elements", "check_mapping"]

_KEYS = {"element", "check", "is", "has", "model", "backend", "because", "reason"}
_BACKENDS = {"ollama_cloud": "cloud"}
_UNITS = {"second": "s", "hour": "h"}


@dataclass(frozen=True)
class Elements:
    """The shipped files as plain values, and the names of their models."""

    roots: Mapping[str, object]
    catalog: CompiledCatalog
    checks: dict[str, Callable[[object, object], bool]] = field(init=False)

    def __post_init__(self) -> None:
        checks: dict[str, Callable[[object, object], bool]] = {
            "equal": lambda leaf, element: leaf == element,
            "contains": _contains,
            "model": lambda leaf, element: self.model(leaf) == self.model(element),
            "member": lambda leaf, element: self.model(leaf) in self._models(element),
            "backend": lambda leaf, element: self._backend(element) == _BACKENDS.get(str(leaf), leaf),
            "condition": _same_condition,
            "version": lambda leaf, element: str(leaf).removeprefix("v").removesuffix("+") == element,
            "lower": lambda leaf, element: str(leaf).lower() == element,
            "duration": lambda leaf, element: _milliseconds(leaf) == parse_duration_ms(element),
            "minutes": lambda leaf, element: parse_duration_ms(f"{leaf}m") == parse_duration_ms(element),
            "present": lambda leaf, element: True,
        }
        object.__setattr__(self, "checks", checks)

    def at(self, path: str) -> object:
        """What stands at ``path``. Raises LookupError where nothing does."""
        value: object = self.roots
        for step in path.split("/"):
            if isinstance(value, list):
                value = _item(value, step)
            elif isinstance(value, dict):
                value = value[step]
            else:
                raise KeyError(step)
        return value

    def model(self, name: object) -> str:
        """The id of the model that ``name`` stands for. Raises LookupError where it stands for none."""
        found = self.catalog.find(str(name))
        if found is None:
            raise KeyError(name)
        return found.id

    def _models(self, element: object) -> set[str]:
        assert isinstance(element, (list, dict))
        return {self.model(name) for name in element}

    def _backend(self, name: object) -> str:
        backends = {model.id: model.backend for model in self.catalog.models}
        return backends[self.model(name)]

    def disagreement(self, leaf: object, mapping: Mapping[str, object], element: object) -> str | None:
        """How the leaf and the element do not agree; None where they do."""
        if "is" in mapping:
            return None if element == mapping["is"] else f"is {element!r}, not {mapping['is']!r}"
        if "has" in mapping:
            return None if _contains(mapping["has"], element) else f"has no {mapping['has']!r}: {element!r}"
        if "model" in mapping:
            named, wanted = self.model(element), mapping["model"]
            return None if named == wanted else f"names {named}, not {wanted}"
        if "backend" in mapping and self._backend(self.model(leaf)) != mapping["backend"]:
            return f"{leaf!r} is not on {mapping['backend']}"
        check = str(mapping.get("check", "equal"))
        return None if self.checks[check](leaf, element) else f"{check}: {element!r} against {leaf!r}"


def check_mapping(
    leaves: Sequence[Leaf], mappings: Mapping[str, str | Mapping[str, object]], elements: Elements
) -> list[str]:
    """What is wrong, one line each, in the order of the leaves; mappings that no leaf uses come last."""
    problems = []
    patterns = {key: _pattern(key) for key in mappings}
    unused = dict.fromkeys(mappings)
    for path, value in leaves:
        where = "/".join(path)
        found = next(((key, m) for key, p in patterns.items() if (m := p.fullmatch(where))), None)
        if found is None:
            problems.append(f"{where}: no mapping")
            continue
        key, match = found
        unused.pop(key, None)
        wrong = _check_leaf(value, mappings[key], match, elements)
        if wrong is not None:
            problems.append(f"{where}: {wrong}")
    return problems + [f"{key}: no leaf needs this mapping" for key in unused]


def _check_leaf(
    value: object, written: str | Mapping[str, object], match: re.Match[str], elements: Elements
) -> str | None:
    mapping: Mapping[str, object] = {"element": written} if isinstance(written, str) else written
    if set(mapping) - _KEYS or ("reason" in mapping) == ("element" in mapping):
        return f"cannot be read: {mapping}"
    if "reason" in mapping:
        return None if mapping["reason"] else "no reason is given"
    path = str(mapping["element"])
    for number, step in enumerate(match.groups(), 1):
        path = path.replace(f"${number}", step)
    try:
        element = elements.at(path)
    except LookupError:
        return f"there is no {path}"
    try:
        wrong = elements.disagreement(value, mapping, element)
    except LookupError as unknown:
        return f"{unknown} names no model"
    return None if wrong is None else f"{path} {wrong}"


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile("/".join("([^/]+)" if step == "*" else re.escape(step) for step in key.split("/")))


def _item(items: Sequence[object], step: str) -> object:
    """The item at a position, or the one that is called ``step`` or has it as its only key."""
    if step.isdecimal():
        return items[int(step)]
    for item in items:
        if isinstance(item, dict) and (item.get("name") == step or list(item) == [step]):
            return item if "name" in item else item[step]
    raise KeyError(step)


def _contains(leaf: object, element: object) -> bool:
    if isinstance(element, str):
        return re.search(rf"\b{re.escape(str(leaf))}\b", element) is not None
    return isinstance(element, list) and leaf in element


def _same_condition(leaf: object, element: object) -> bool:
    """The same text, or the same alternatives with others after them."""
    wanted, given = (str(text).split(" || ") for text in (leaf, element))
    return given[: len(wanted)] == wanted


def _milliseconds(leaf: object) -> int:
    if isinstance(leaf, int):
        return leaf
    number, unit = str(leaf).removesuffix("s").split("_")
    return parse_duration_ms(f"{number}{_UNITS[unit]}")
