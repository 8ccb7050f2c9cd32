"""Text from outside, escaped for what it is written to: nothing moves a cursor, reorders, hides or runs."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

import routewright.gateway  # noqa: F401 - every error there is
from routewright.engine.report.errors import NotBuiltError, ProblemsError, RoutewrightError
from routewright.engine.report.escapes import (
    escape_answer,
    escape_commands,
    escape_csv,
    escape_flat,
    escape_json,
    escape_line,
    escape_markdown,
    is_shown,
)
from routewright.engine.report.problems import Problem

ALL = list(map(chr, range(0x110000)))
CONTROLS = [char for char in ALL if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")]
# UAX #9: the marks, embeddings, overrides and isolates of the bidirectional algorithm.
BIDI = list("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
HIDDEN = [*"\xad\u034f\u115f\u1160\u200b\u2060\u2061\u3164\ufeff\uffa0", *map(chr, range(0xE0000, 0xE0080))]
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from([*BIDI, *HIDDEN, *CONTROLS[:65], *"@#:|`-="])))


@pytest.mark.parametrize("char", [*CONTROLS[:65], *CONTROLS[-3:], "\u2028", "\u2029", *BIDI, *HIDDEN])
def test_what_moves_reorders_or_hides_is_shown_as_an_escape(char: str) -> None:
    assert not is_shown(char)
    assert escape_line(f"a{char}b").isprintable() and char not in escape_line(f"a{char}b")
    assert char not in escape_flat(f"a{char}b")
    assert char in "\n\t" or char not in escape_answer(f"a{char}b")
    assert char == "\n" or char not in escape_json(json.dumps(f"a{char}b", ensure_ascii=False))
    assert char in "\n\t" or char not in escape_csv(f"a{char}b")
    assert char not in escape_markdown(f"a{char}b")


def test_what_is_not_shown_is_what_unicode_says() -> None:
    hidden = {char for char in ALL if not is_shown(char)}
    assert {char for char in ALL if not char.isprintable()} < hidden
    assert [char for char in BIDI + HIDDEN + CONTROLS if char not in hidden] == []
    answers = {char for char in ALL if escape_answer(char) != char}
    assert {char for char in CONTROLS + BIDI + HIDDEN if char not in "\n\t"} <= answers <= hidden


@pytest.mark.parametrize("text", ["é 日本 🐱 ❤️ ½ ñ", "plain", "مرحبا", "שלום"])
def test_honest_text_stays_as_it_is(text: str) -> None:
    forms = (escape_line, escape_flat, escape_answer, escape_json, escape_csv, escape_markdown)
    assert [form(text) for form in forms] == [text] * len(forms)


def test_ends_of_lines_and_tabs_have_their_usual_escapes() -> None:
    assert escape_line("a\tb\r\nc") == "a\\tb\\r\\nc"
    assert escape_flat("a\tb\r\nc\rd") == "a b c\\rd"


def test_an_answer_keeps_lines_tabs_and_joiners() -> None:
    text = "می\u200cخواهم\n\t👨\u200d👩\u200d👧\n"
    assert escape_answer(text) == text
    assert escape_answer("a\r\x1b[2Jb") == "a\\r\\x1b[2Jb"


@given(TEXTS)
def test_each_form_is_stable_and_lines_stay_one_line(text: str) -> None:
    for form in (escape_line, escape_flat, escape_answer, escape_commands):
        assert form(form(text)) == form(text)
    assert all(map(is_shown, escape_line(text) + escape_flat(text) + escape_markdown(text)))


@given(st.recursive(TEXTS, lambda part: st.lists(part) | st.dictionaries(TEXTS, part)))
def test_json_keeps_its_values(value: object) -> None:
    for layout in (None, 2):
        text = escape_json(json.dumps(value, ensure_ascii=False, indent=layout))
        assert json.loads(text) == json.loads(json.dumps(value))
        assert all(char == "\n" or is_shown(char) for char in text)


@pytest.mark.parametrize("text", ["##vso[task.setvariable]x", "a ##[error]b", "\\##teamcity[c", "###[d"])
def test_json_holds_no_command_of_a_build(text: str) -> None:
    written = json.dumps({text: text}, ensure_ascii=False)
    shown = escape_json(written)
    assert json.loads(shown) == {text: text}
    assert escape_commands(shown) == shown
    assert escape_json("# ## [a]") == "# ## [a]"


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://x","y")', '\'=HYPERLINK("http://x","y")'),
        ("+1+1", "'+1+1"),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\\r=1"),
        ("\n=1", "'\n=1"),
        ("\uff1d1", "'\uff1d1"),
        ("-5", "-5"),
        ("+5.25e-3", "+5.25e-3"),
        ("-", "'-"),
        ("a=1", "a=1"),
        ("two\nlines", "two\nlines"),
        ("\u200b=1", "\\u{200b}=1"),
        ("", ""),
    ],
)
def test_a_cell_is_never_a_formula(text: str, cell: str) -> None:
    assert escape_csv(text) == cell


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("::error::pwn", "\\x3a:error::pwn"),
        ("a\n  ::add-mask::x", "a\n  \\x3a:add-mask::x"),
        ("a ::error::", "a ::error::"),
        ("a ##[error]b", "a \\x23#[error]b"),
        ("##vso[task.setvariable]", "\\x23#vso[task.setvariable]"),
        ("##teamcity[x]", "\\x23#teamcity[x]"),
        ("## heading", "## heading"),
        ("std::string", "std::string"),
    ],
)
def test_no_line_is_a_command_to_a_build(text: str, shown: str) -> None:
    assert escape_commands(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ask @org/team", "ask @<!-- -->org/team"),
        ("a@b.example", "a@<!-- -->b.example"),
        ("see #12 and GH-3", "see #<!-- -->12 and GH<!-- -->-3"),
        ("https://x.example", "https:<!-- -->//x.example"),
        ("www.x.example", "www<!-- -->.x.example"),
        ("[a](b) ![c](d)", "\\[a\\](b) !\\[c\\](d)"),
        ("<b>&lt;</b>", "\\<b\\>\\&lt;\\</b\\>"),
        ("`a` | *b* _c_ ~~d~~ $e$ \\", "\\`a\\` \\| \\*b\\* \\_c\\_ \\~\\~d\\~\\~ \\$e\\$ \\\\"),
        ("- a", "\\- a"),
        ("1. a", "1\\. a"),
        ("# a", "\\# a"),
        ("    a\n\n# b", "a  # b"),
        ("complexity = 0.7", "complexity = 0.7"),
    ],
)
def test_nothing_in_markdown_is_markup_or_calls_somebody(text: str, shown: str) -> None:
    assert escape_markdown(text) == shown


@given(TEXTS)
def test_markdown_holds_no_bare_markup(text: str) -> None:
    shown = escape_markdown(text).replace("<!-- -->", "")
    assert not re.search(r"(?<!\\)(?:\\\\)*[`*_\[\]<>|~$&]", shown)


def errors(base: type[RoutewrightError] = RoutewrightError) -> Iterator[type[RoutewrightError]]:
    yield base
    for child in base.__subclasses__():
        yield from errors(child)


@pytest.mark.parametrize("kind", [*errors()], ids=lambda kind: kind.__name__)
def test_no_message_of_an_error_drives_a_log(kind: type[RoutewrightError]) -> None:
    # Made without their own arguments, as only what is said counts here.
    error = kind.__new__(kind)
    text = "no feature `x\n::error::pwn\x1b[2J\u202e`"
    if isinstance(error, ProblemsError):
        Exception.__init__(error, text)
        error.problems = (Problem("code", text, help=text),)
        assert str(error).splitlines()[1:] == [f"  = help: {escape_line(text)}"]
    elif issubclass(kind, NotBuiltError):
        Exception.__init__(error, "these:\n  a\x1b[2J\u202e")
        assert str(error) == "these:\n  a\\x1b[2J\\u{202e}"
    else:
        Exception.__init__(error, text)
        assert str(error) == escape_line(text) == "no feature `x\\n::error::pwn\\x1b[2J\\u{202e}`"
