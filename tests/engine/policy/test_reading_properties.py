"""Whatever the text: a policy, or PolicyError with problems that have a place in it. Nothing else."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.policy_texts import HEAD, WHOLE

from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compile.testfile import read_tests
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_catalog, read_policy
from routewright.engine.report.errors import PolicyError
from routewright.engine.report.problems import MAX_PROBLEMS, render_problems

_LINES = WHOLE.splitlines(keepends=True)
_PIECES = [
    *"!&*|>'\"#%@`-?:,[]{}~<\t\n ",
    *("\\", "\r", "\x00", "\x85", "\u2028", "\ufeff", "\ud800", "é", "🐱", "\x1b[31m"),
    *("!!str ", "<<: *a", "&a ", "*a", "---", "...", "%YAML 1.1", "%TAG ! x", "|2-", ">+", "? "),
    *("null", "true", ".inf", "1e999", "0x", "9" * 400, "${HOME}", "when: ", "when", "any: [", "- ", "  "),
    *("urgent && ", "'a: b'", '"\\x41', '"\\q"', "model.x", "(", "name: r1", "use: [", "catalog: "),
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """The whole policy with a few lines dropped, repeated or swapped, and pieces put in or cut out."""
    lines = list(_LINES)
    for _ in range(draw(st.integers(0, 3))):
        at, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "repeat", "swap"])):
            case "drop":
                del lines[at]
            case "repeat":
                lines.insert(at, lines[other])
            case _:
                lines[at], lines[other] = lines[other], lines[at]
    text = "".join(lines)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.sampled_from([0, 0, 1, 3, 20]))
        text = text[:at] + draw(st.sampled_from(_PIECES)) + text[at + cut :]
    return text


texts = st.one_of(
    mutated(),
    mutated(),
    st.text(max_size=60),
    st.lists(st.sampled_from(_PIECES), max_size=25).map("".join),
    st.lists(st.sampled_from(_PIECES), max_size=8).map(
        lambda pieces: HEAD + "rules:\n  - " + "".join(pieces)
    ),
)


def outcome(text: str) -> CompiledPolicy | PolicyError:
    try:
        return compile_policy(read_policy(text, "p.yaml"))
    except PolicyError as error:
        return error


@given(texts)
def test_any_text_is_a_policy_or_problems_with_places(text: str) -> None:
    result = outcome(text)
    if isinstance(result, CompiledPolicy):
        return
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    assert 1 <= len(result.problems) <= MAX_PROBLEMS
    places = [(problem.line, problem.column) for problem in result.problems]
    for problem in result.problems:
        assert problem.source == "p.yaml"
        assert problem.line is not None and problem.column is not None
        assert problem.source_line == lines[problem.line - 1]
        assert 1 <= problem.column <= len(problem.source_line) + 1
        assert 1 <= problem.width <= max(1, len(problem.source_line) - problem.column + 1)
    assert places == sorted(places, key=str) or places == sorted(places)
    shown = render_problems(result.problems)
    assert all(char.isprintable() or char == "\n" for char in shown)


@given(texts)
def test_any_text_is_a_catalog_or_problems(text: str) -> None:
    source = read_catalog(text, "c.yaml")
    assert source.problems or source.shape.models
    try:
        read_tests(text, "t.yaml")
    except PolicyError as error:
        assert error.problems


@given(mutated())
def test_reading_twice_gives_the_same(text: str) -> None:
    first, second = outcome(text), outcome(text)
    if isinstance(first, PolicyError):
        assert isinstance(second, PolicyError) and first.problems == second.problems
    else:
        assert isinstance(second, CompiledPolicy) and first.digest == second.digest
