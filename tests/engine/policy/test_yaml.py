"""What is not YAML, or more of it than is read: one problem, with its place, within seconds and 256 MiB."""

from __future__ import annotations

from typing import Any

import pytest
from support.policy_texts import HEAD, compiled, problems_of

from routewright.engine.policy.source import nodes
from routewright.engine.policy.source.nodes import MAX_FILE_BYTES, MAX_NODES, MAX_YAML_DEPTH, parse_yaml
from routewright.engine.report.errors import PolicyError
from routewright.engine.report.problems import MAX_PROBLEMS

RULE = HEAD + "rules:\n  - name: r\n    use: [small]\n"

OTHER_QUOTES = "put the whole condition in quotes of one kind, and strings in it in the other"
CUT = "put the whole condition in quotes"


@pytest.mark.parametrize(
    ("line", "marked", "message", "help"),
    [
        ("when: kind == 'a: b'", ":", "a `: ` is not allowed here", CUT),
        ("when: urgent ? urgent : urgent", ":", "a `: ` is not allowed here", CUT),
        ("when: !(urgent || urgent)", "|", "plain text cannot begin with `|` or `>`", CUT),
        ("when: 'kind' == kind", "=", "this does not fit what stands above it", CUT),
        ('when: "kind == "chat""', "c", "this does not fit what stands above it", OTHER_QUOTES),
        (
            "when: urgent:",
            ":",
            "a `: ` is not allowed here",
            "leave out this `:`, or put the whole text in quotes",
        ),
        (
            "steps: [{ verify: { with: small required: true } }]",
            ":",
            "the mapping in `{…}` goes on without a comma, or is not closed",
            "put a comma before the next key, or the whole text in quotes",
        ),
        ("when: @urgent", "@", "plain text cannot begin with `@`", CUT),
        ("when: `urgent`", "`", "plain text cannot begin with a backtick", CUT),
        ("when: %urgent", "%", "plain text cannot begin with `%`", CUT),
        ("when: - urgent", "-", "a `- ` is not allowed here", CUT),
        ("when: | urgent", "u", "after `|` or `>` the text begins on the next line", CUT),
        ("when: 'urgent", "'", "a quoted text is not closed", "close it with `'`"),
        ("when: {any: [!urgent]}", "}", "a `!` begins a YAML tag", CUT),
        ("\twhen: urgent", "\t", "a tab is not allowed here", "indent with blanks"),
        ('reason: "\\q"', "q", "unknown escape in a text in double quotes", "write `\\\\` for a backslash"),
        ("reason", "", "a key needs a `:` and a blank after it", "check indentation and quotes"),
        (
            "reason: a\x07b",
            "\x07",
            "the character U+0007 is not allowed in YAML",
            "write it as an escape in double quotes",
        ),
    ],
)
def test_a_syntax_error_is_reported_alone(line: str, marked: str, message: str, help: str) -> None:
    (problem,) = problems_of(f"{RULE}    {line}\n")
    assert (problem.code, problem.message, problem.help) == ("yaml-syntax", message, help)
    assert problem.line is not None and problem.column is not None and problem.source_line is not None
    assert problem.line <= RULE.count("\n") + 2
    assert problem.source_line[problem.column - 1 :].startswith(marked)


def test_a_dash_without_a_blank_is_named() -> None:
    (problem,) = problems_of(f"{RULE}    use: [small]\n  -name: other\n    use: [small]\n")
    assert (problem.code, problem.message, problem.help) == (
        "yaml-syntax",
        "a blank is missing after `-`",
        "write `- name:`",
    )


def test_a_comment_inside_a_condition_is_named_as_what_cut_it() -> None:
    (problem,) = problems_of(RULE + "    when: urgent && # why\n      urgent\n")
    assert problem.help == "a comment ends the text before it: put the whole text in quotes"


LIST = """\
rules:
  - name: hard
    when: urgent
    use: [small]
  - name: other
    reason: 'well'
    when: urgent || "x" == "y"
"""


@pytest.mark.parametrize(
    ("text", "marked", "message", "help"),
    [
        (
            LIST.replace("- name: other", "name: other"),
            "name: other",
            "this entry of a list has no dash",
            "begin each entry with `- `",
        ),
        (
            '{"features": {}}\n{"features": {"private": true}}\n',
            '{"features": {"private": true}}',
            "a file holds one document, and this begins another",
            "for tasks, one per line, use `routewright decide --tasks`",
        ),
        (f'name: "first\n{LIST}', '"first', "a quoted text is not closed", 'close it with `"`'),
        (f"name: 'first\n{LIST}", "'first", "a quoted text is not closed", "close it with `'`"),
        (LIST.replace("[small]", "[small, large"), "[small, large", "`[` is not closed", "a `]` is missing"),
        (
            "a: { type: boolean\nb: { type: boolean }\n",
            "{ type: boolean",
            "`{` is not closed",
            "a `}` is missing",
        ),
        (
            LIST.replace("    use", "     use"),
            "use",
            "this line is indented further than the one above",
            "align it with the lines around it",
        ),
    ],
)
def test_a_mistake_is_reported_where_it_begins(text: str, marked: str, message: str, help: str) -> None:
    (problem,) = problems_of(text)
    assert (problem.code, problem.message, problem.help) == ("yaml-syntax", message, help)
    assert problem.source_line is not None and problem.column is not None
    assert problem.source_line[problem.column - 1 :].startswith(marked)


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("", "empty-file", (1, 1)),
        ("# nothing\n", "empty-file", (1, 1)),
        ("just text\n", "not-a-mapping", (1, 1)),
        ("- a\n", "not-a-mapping", (1, 1)),
        ("# of another program\nservices:\n  web: { image: x }\nvolumes: {}\n", "foreign-file", (2, 1)),
        ("a: 1\n---\nb: 2\n", "second-document", (2, 1)),
        ("a: *b\n", "unknown-anchor", (1, 4)),
        ("a: " + "[" * (MAX_YAML_DEPTH + 1), "too-deep", (1, MAX_YAML_DEPTH + 3)),
    ],
)
def test_what_is_no_mapping_is_refused(text: str, code: str, place: tuple[int, int]) -> None:
    assert [(p.code, (p.line, p.column)) for p in problems_of(text) if p.code == code] == [(code, place)]


def test_line_ends_and_a_byte_order_mark_change_nothing() -> None:
    text = RULE + "    when: urgnet\n"
    assert problems_of("\ufeff" + text.replace("\n", "\r\n")) == problems_of(text)
    assert problems_of(text.replace("\n", "\r")) == problems_of(text)
    assert compiled("\ufeff" + RULE.replace("\n", "\r\n")).digest == compiled(RULE).digest


def test_old_booleans_and_other_words_stay_text() -> None:
    values = parse_yaml("a: [yes, on, No, true, TRUE, 012, 0o17, 0x1F, 1e3, ~, null, 5s, 1_000]", "p").root
    assert values.plain() == {
        "a": ["yes", "on", "No", True, True, 12, 15, 31, 1000.0, None, None, "5s", "1_000"]
    }


def test_an_alias_may_stand_for_what_is_no_condition() -> None:
    text = RULE.replace("use: [small]", "use: &models [small]") + "  - name: s\n    use: *models\n"
    assert [len(rule.candidates) for rule in compiled(text).rules] == [1, 1]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(9)
)
NEST = "a: &a0 [x]\n" + "".join(f"k{n}: &a{n + 1} [*a{n}]\n" for n in range(MAX_YAML_DEPTH))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("x" * (MAX_FILE_BYTES + 1), "file-too-large"),
        ("é" * (MAX_FILE_BYTES // 2 + 1), "file-too-large"),
        (BOMB, "too-many-nodes"),
        (NEST, "too-deep"),
        ("[" * MAX_FILE_BYTES, "too-deep"),
        ("? " * (MAX_FILE_BYTES // 2), "too-deep"),
        ("a: {" + "b: 1, " * 170_000 + "}", "too-many-problems"),
        ("- !a x\n" * 140_000, "too-many-problems"),
        ("a: [" + "x," * (MAX_NODES + 1) + "]", "too-many-nodes"),
    ],
    ids=["large", "large-utf8", "bomb", "nest", "open", "keys", "twice", "tags", "many"],
)
def test_hostile_files_are_refused(text: str, code: str) -> None:
    with pytest.raises(PolicyError) as raised:
        parse_yaml(text, "p.yaml")
    problems = raised.value.problems
    assert len(problems) <= MAX_PROBLEMS
    assert code in {problem.code for problem in problems}
    assert all(problem.line and problem.column for problem in problems)
    # Every problem of a line shares its text: a copy for each would be gigabytes.
    assert len({id(problem.source_line) for problem in problems if (problem.line, code) == (1, code)}) <= 1


def test_a_very_long_tag_is_refused_before_it_is_put_together(monkeypatch: pytest.MonkeyPatch) -> None:
    from ruamel.yaml.tag import Tag

    def refuse(tag: object) -> str:
        raise AssertionError("putting a tag together takes the square of its length")

    monkeypatch.setattr(Tag, "uri_decoded_suffix", property(refuse))
    with pytest.raises(PolicyError) as raised:
        parse_yaml("!" * 2_000, "p.yaml")
    (problem,) = raised.value.problems
    assert (problem.code, problem.line, problem.column) == ("yaml-syntax", 1, 1)
    assert problem.message == "a `!` begins a YAML tag"


def test_reading_stops_at_the_first_value_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MAX_NODES", 50)
    fed: list[object] = []
    feed = nodes._TreeBuilder.feed

    def counted(builder: nodes._TreeBuilder, event: Any) -> bool:
        fed.append(event)
        return feed(builder, event)

    monkeypatch.setattr(nodes._TreeBuilder, "feed", counted)
    with pytest.raises(PolicyError) as raised:
        parse_yaml("[" + "1, " * 10_000 + "1]", "p.yaml")
    assert [problem.code for problem in raised.value.problems] == ["too-many-nodes"]
    assert len(fed) < 60


def test_a_file_of_unknown_keys_is_refused_quickly() -> None:
    text = (
        HEAD + "rules:\n" + "".join(f"  - {{ name: r{n}, use: [m{n}], colour: red }}\n" for n in range(3_000))
    )
    problems = problems_of(text)
    assert len(problems) == MAX_PROBLEMS
    assert problems[-1].code == "too-many-problems"
