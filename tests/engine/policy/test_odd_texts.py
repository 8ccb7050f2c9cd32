"""Whatever stands in the place of a name or a text of a valid policy, the answer is a policy or our error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML
from support.policy_texts import WHOLE, compiled, problems_of
from support.sizes import ONE_OF

from routewright.engine.report.errors import PolicyError

Place = tuple[str | int, ...]

BASE: dict[str, Any] = YAML(typ="safe", pure=True).load(WHOLE)

ODD = (
    *(
        "\ud800",
        " ",
        "\n",
        "x" * 300,
        "x" * 70_000,
        "\0",
        "a\0b",
        "\x1b[31m",
        "\u202e",
        "\ufeff",
        "é",
        "🐱",
        "\udc00a",
    ),
    *(
        "${X}",
        "{",
        "?",
        "*",
        "a:b",
        ":",
        "::",
        "[::1",
        "http://[",
        "1e999",
        "-",
        "..",
        "UTC/..",
        "none",
        "null",
        "0",
    ),
)
"""JSON writes the cat in two halves."""


def texts_of(value: Any, place: Place = ()) -> Iterator[tuple[Place, bool]]:
    """The place of each text, and of each key, which is then told by True."""
    if isinstance(value, str):
        yield place, False
    for step, part in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        if isinstance(step, str):
            yield (*place, step), True
        yield from texts_of(part, (*place, step))


def put_at(value: Any, place: Place, is_key: bool, text: str) -> Any:
    if not place:
        return text
    step, below = place[0], place[1:]
    if isinstance(value, list):
        return [put_at(part, below, is_key, text) if at == step else part for at, part in enumerate(value)]
    if is_key and not below:
        return {(text if key == step else key): part for key, part in value.items()}
    return {key: put_at(part, below, is_key, text) if key == step else part for key, part in value.items()}


PLACES = list(texts_of(BASE))


@pytest.mark.parametrize(("first", "odd"), [(0, ""), (1, ODD)], ids=["empty", "each in turn"])
def test_any_text_in_the_place_of_another_is_a_policy_or_our_error(
    first: int, odd: str | tuple[str, ...]
) -> None:
    # A place that one of the two leaves out is tried by the other.
    for number, (place, is_key) in enumerate(PLACES[first % ONE_OF :: ONE_OF]):
        text = odd if isinstance(odd, str) else odd[number % len(odd)]
        try:
            policy = compiled(json.dumps(put_at(BASE, place, is_key, text)))
        except PolicyError as error:
            assert error.problems and str(error)
            assert all(problem.line is not None for problem in error.problems), (place, text)
        else:
            policy.digest.encode()


RULE = """\
routewright: 1
name: p
catalog: { routewright: 1, backends: { m: { kind: mlx } }, models: { a: { backend: m } } }
rules: [{ name: r, use: [a], choose: split, split: { weights: { WEIGHT: 1 }, salt: SALT } }]
"""


@pytest.mark.parametrize(
    ("weight", "salt", "message", "at"),
    [
        ('"", a', "s", "a key of `weights` is empty", '""'),
        (f"{'x' * 201}", "s", "a key of `weights` takes at most 200 characters, not 201", "x"),
        ("a", '"a\\0b"', "`salt` takes a text without a zero byte, which separates salt and key", '"a'),
        ("a", '"\\ud800"', "half of a surrogate pair is not a character", '"'),
        ('"\\udc00"', "s", "half of a surrogate pair is not a character", '"'),
    ],
)
def test_an_odd_text_is_an_error_at_its_place(weight: str, salt: str, message: str, at: str) -> None:
    text = RULE.replace("WEIGHT", weight.replace(", a", ": 1, a")).replace("SALT", salt)
    problem = problems_of(text)[0]
    assert problem.message.startswith(message)
    assert problem.source_line is not None and problem.column is not None
    assert problem.source_line[problem.column - 1 :].startswith(at)


def test_the_help_for_half_a_character_can_be_followed() -> None:
    text = RULE.replace("WEIGHT", "a")
    (problem,) = problems_of(text.replace("SALT", '"\\ude00\\ud83d"'))
    assert problem.help == "write the character itself, or as `\\U0001F600`"
    for written in ('"\\U0001F600"', '"😀"', '"\\ud83d\\ude00"'):
        split = compiled(text.replace("SALT", written)).rules[0].split
        assert split is not None and split.salt == "😀"


def test_a_condition_after_an_escaped_pair_is_reported_at_its_place() -> None:
    text = (
        RULE.replace("WEIGHT", "a")
        .replace("SALT", "s")
        .replace("use:", "when: \"'\\uD83D\\uDE00' == nmae\", use:")
    )
    (problem,) = problems_of(text)
    assert problem.source_line is not None and problem.column is not None
    assert problem.source_line[problem.column - 1 :].startswith("nmae")
