"""A problem inside a condition is underlined where the author wrote it, whatever the style of the scalar."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.policy_texts import HEAD, problems_of

NAME = "planted_name"

_words = st.sampled_from(
    [
        "urgent",
        "!urgent",
        "kind == 'chat'",
        'kind == "embedding"',
        "tokens > 5",
        "string(tokens) != 'it\\'s'",
        "has(kind)",
    ]
)


def _plain(words: list[str], breaks: list[bool]) -> str | None:
    text = _joined(words, breaks, "\n      ")
    return None if text[0] in "!'\"" else f"    when: {text}\n"


def _single(words: list[str], breaks: list[bool]) -> str:
    return f"    when: '{_joined(words, breaks, chr(10) + '      ').replace(chr(39), chr(39) * 2)}'\n"


def _double(words: list[str], breaks: list[bool]) -> str:
    escaped = [
        word.replace("\\", "\\\\").replace('"', '\\"').replace("'", "\\x27").replace("has", "\\u0068as")
        for word in words
    ]
    return f'    when: "{_joined(escaped, breaks, " " + chr(92) + chr(10) + "      ")}"\n'


def _literal(words: list[str], breaks: list[bool]) -> str:
    return f"    when: |  # why\n      {_joined(words, breaks, chr(10) + '        ')}\n"


def _folded(words: list[str], breaks: list[bool]) -> str:
    return f"    when: >-\n      {_joined(words, breaks, chr(10) + '      ')}\n"


def _joined(words: list[str], breaks: list[bool], line_break: str) -> str:
    text = words[0]
    for word, is_break in zip(words[1:], breaks, strict=False):
        text += f"{line_break if is_break else ' '}&& {word}"
    return text


@pytest.mark.parametrize("style", [_plain, _single, _double, _literal, _folded])
@given(data=st.data())
def test_an_unknown_name_is_underlined_exactly(style: object, data: st.DataObject) -> None:
    words = data.draw(st.lists(_words, max_size=5))
    words.insert(data.draw(st.integers(0, len(words))), NAME)
    breaks = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    assert callable(style)
    written = style(words, breaks)
    if written is None:
        return
    text = f"{HEAD}rules:\n  - name: r\n    use: [small]\n{written}"
    (problem,) = problems_of(text)
    assert (problem.code, problem.width) == ("unknown-name", len(NAME))
    assert problem.line is not None and problem.column is not None
    line = text.splitlines()[problem.line - 1]
    assert line[problem.column - 1 :].startswith(NAME)


def test_a_problem_of_several_lines_is_underlined_to_the_end_of_the_first() -> None:
    text = HEAD + "rules:\n  - name: r\n    use: [small]\n    when: >-\n      kind ==\n      tokens\n"
    (problem,) = problems_of(text)
    assert (problem.code, problem.source_line, problem.width) == ("type-mismatch", "      kind ==", 7)
