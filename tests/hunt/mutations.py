"""Changes texts, bytes and JSON values at random, as an accident, a careless hand or an attacker might."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

__all__ = ["encoded", "mutate_bytes", "mutate_value", "places"]

_TOKENS = (
    b"\x00",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"\xe2\x80\xae",
    b"\t",
    b"\r",
    b"\n\n",
    b": ",
    b" #",
    b"- ",
    b"!!python/object:os.system ",
    b"&a ",
    b"*a",
    b"{",
    b"]",
    b'"',
    b"'",
    b"|",
    b"%YAML 1.1\n",
    b"---\n",
    b"...\n",
    b"null",
    b"1e999",
    b"-0",
    b"0x10",
    b"${HOME}",
    b"data:",
    b"[DONE]",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**62,
    2**64,
    10**30,
    -0.0,
    1e308,
    "",
    " ",
    "\u202e",
    "\ud800",
    "\x1b[31m",
    "a" * 10_000,
    "!" * 5_000,
    "(" * 5_000,
    "true || " * 500 + "true",
    "1e309",
    "../../etc/passwd",
    "${HOME}",
    [],
    {},
    [[]],
    [None] * 200,
    {"": ""},
    {"a": {"b": {"c": [1, "x"]}}},
)


def mutate_bytes(random: Random, data: bytes) -> bytes:
    """``data`` after one to four changes of a few bytes each."""
    for _ in range(random.choice((1, 1, 2, 4))):
        at = random.randrange(len(data) + 1)
        to = min(len(data), at + random.choice((1, 1, 4, 40, 400)))
        match random.randrange(7):
            case 0:
                data = data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[to:]
            case 2:
                data = data[:to] + data[at:to] * random.choice((1, 1, 3, 30)) + data[to:]
            case 3:
                data = data[:at]
            case 4:
                other = random.randrange(len(data) + 1)
                data = data[:other] + data[at:to] + data[other:]
            case _:
                data = data[:at] + random.choice(_TOKENS) * random.choice((1, 1, 1, 50)) + data[at:]
    return data


def mutate_value(random: Random, value: Any) -> Any:
    """A copy of a JSON value after one to three changes: a part replaced, left out, doubled or wrapped."""
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        found = list(places(value))
        if not found:
            return random.choice(_VALUES)
        node, key = random.choice(found)
        match random.randrange(12):
            case 0:
                del node[key]
            case 6 | 7 | 8 | 9 | 10 | 11:
                node[key] = _nudged(random, node[key], found)
            case 1 if isinstance(node, list):
                node.extend([node[key]] * random.choice((1, 2, 300)))
            case 1:
                node[f"{key}_"] = node[key]
            case 2:
                for _ in range(random.choice((1, 2, 60))):
                    node[key] = [node[key]]
            case 3:
                other, name = random.choice(found)
                node[key] = copy.deepcopy(other.get(name) if isinstance(other, dict) else _item(other, name))
            case _:
                node[key] = copy.deepcopy(random.choice(_VALUES))
    return value


def _nudged(random: Random, value: Any, found: list[tuple[Any, Any]]) -> Any:
    """Nearly the same: a changed text or number, the other truth value, or another part of the same type."""
    if random.random() < 0.4:
        alike = [node[key] for node, key in found if key in _keys(node) and type(node[key]) is type(value)]
        return copy.deepcopy(random.choice(alike)) if alike else value
    match value:
        case bool():
            return not value
        case int() | float():
            return random.choice((value + 1, value - 1, -value, value * 1_000, value / 3))
        case str():
            return mutate_bytes(random, value.encode(errors="replace")).decode(errors="ignore")
    return value


def _keys(node: Any) -> Any:
    return node if isinstance(node, dict) else range(len(node))


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with every key or index in it."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in list(items):
        yield node, key
        yield from places(child)


def _item(node: list[Any], index: int) -> Any:
    return node[index] if index < len(node) else None


def encoded(value: Any) -> bytes:
    """JSON of a value, also of one that UTF-8 cannot hold: then with escapes."""
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()
