"""Names that servers read otherwise than they look are errors, at their place."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy_texts import problems_of

from routewright.engine.policy.reading.read import read_catalog
from routewright.engine.policy.shapes.base import check_unbroken
from routewright.engine.report.errors import TaskError
from routewright.engine.report.escapes import escape_line
from routewright.loading.mapping import map_models, parse_maps

UNSEEN = {
    "blank": " ",
    "tab": "\\t",
    "newline": "\\n",
    "vertical tab": "\\v",
    "null": "\\0",
    "escape": "\\e",
    "delete": "\\x7f",
    "next line": "\\x85",
    "no-break space": "\\u00a0",
    "soft hyphen": "\\u00ad",
    "ogham space": "\\u1680",
    "em space": "\\u2003",
    "zero-width space": "\\u200b",
    "zero-width joiner": "\\u200d",
    "right-to-left mark": "\\u200f",
    "line separator": "\\u2028",
    "right-to-left override": "\\u202e",
    "narrow no-break space": "\\u202f",
    "word joiner": "\\u2060",
    "isolate": "\\u2066",
    "ideographic space": "\\u3000",
    "hangul filler": "\\u3164",
    "byte order mark": "\\ufeff",
    "tag letter": "\\U000E0041",
}
CODE_POINTS = {
    name: {" ": "0020", "\\t": "0009", "\\n": "000A", "\\v": "000B", "\\0": "0000", "\\e": "001B"}.get(
        text, text[2:].lstrip("0").rjust(4, "0").upper()
    )
    for name, text in UNSEEN.items()
}
"""As messages show them."""

SHAPES = ["kimi-k2:1t-cloud{}", "{}kimi-k2:1t-cloud", "kimi-k2:{}cloud", "kimi{}k2"]

POLICY = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: {{ ollama: {{ kind: {kind} }} }}
  models:
    kimi: {{ backend: ollama, {key} }}
rules:
  - {{ name: only, use: [kimi] }}
"""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("unseen", UNSEEN)
@pytest.mark.parametrize(
    ("key", "column"), [('tag: "{}"', 35), ('aliases: ["{}"]', 40)], ids=["tag", "alias"]
)
def test_blanks_and_invisible_characters_in_tags_are_errors(
    key: str, column: int, unseen: str, shape: str
) -> None:
    text = POLICY.format(kind="ollama", key=key.format(shape.format(UNSEEN[unseen])))
    problem = problems_of(text)[0]
    assert (problem.line, problem.column) == (7, column)
    assert "without blanks and invisible characters" in problem.message
    assert f"it holds U+{CODE_POINTS[unseen]}" in problem.message


@pytest.mark.parametrize("kind", ["ollama", "openai", "mlx", "llamacpp", "simulated"])
def test_they_are_errors_whatever_runs_the_model(kind: str) -> None:
    host = ", host: 'http://localhost:1'" if kind == "openai" else ""
    (problem,) = problems_of(POLICY.format(kind=f"{kind}{host}", key='tag: "a b"'))
    assert problem.code == "wrong-value"


@given(st.characters())
def test_no_blank_control_or_format_character_passes(character: str) -> None:
    unseen = unicodedata.category(character)[0] in "CZ" or character.isspace()
    try:
        check_unbroken(f"a{character}b")
    except ValueError:
        return
    assert not unseen


@pytest.mark.parametrize(
    "tag",
    ["kimi-k2:1t-cloud", "hf.co/Qwen/Qwen3-8B-GGUF:Q4_K_M", "Qwen3-Embedding-0.6B", "模型:7b", "modèle"],
)
def test_names_in_use_pass(tag: str) -> None:
    assert check_unbroken(tag) == tag


CATALOG = """\
routewright: 1
backends: { ollama: { kind: ollama } }
models:
  kimi: { backend: ollama, tag: "kimi-k2:1t-cloud" }
"""


@pytest.mark.parametrize("name", ["*", "kimi"])
@pytest.mark.parametrize(
    "target",
    ["ollama:gpt-oss:120b-cloud ", "ollama: gpt-oss", "ollama:gpt-oss:\u3000cloud", "ollama:a\u200bb"],
)
def test_a_map_onto_such_a_name_is_an_error_that_names_it(name: str, target: str) -> None:
    catalog = read_catalog(CATALOG, "catalog.yaml")
    maps = parse_maps([f"{name}={target}"])
    with pytest.raises(TaskError) as caught:
        map_models(catalog.document.root.plain(), catalog.shape, maps)
    unseen = next(c for c in target if not c.isprintable() or c.isspace())
    assert str(caught.value) == (
        f"`{escape_line(target)}` is not a model to map onto: expected a name without blanks and invisible characters: "
        f"it holds U+{ord(unseen):04X}"
    )
