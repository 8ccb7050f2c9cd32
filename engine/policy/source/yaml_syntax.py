"""Words ruamel.yaml's errors as problems that an author understands."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ...report import Problem
from .document import SourceText

_CONDITION = re.compile(
    r"\s*(?:- +)*(?:\{ *)?(?:(?:when|require|never|always|for|every|any|all|none)\s*:|-)\s+(?=\S)"
)
"""The start of a line, up to a condition."""

_KEY = re.compile(r"\s*(?:- +)?[A-Za-z_][\w.-]*\s*:(?:\s|$)")
"""The start of a line in a block: a key, perhaps after a dash."""

_DASH = re.compile(r"-([A-Za-z_][\w.-]{0,50}:?)")
"""The beginning of an entry of a list, without the blank after its dash."""

_QUOTE = "put the whole text in quotes"

# The first fragment that occurs in what the parser said decides; fragments are the parser's own words.
_SAID: tuple[tuple[str, str, str], ...] = (
    (
        "mapping values are not allowed here",
        "a `: ` is not allowed here",
        "put text that holds `: ` in quotes",
    ),
    ("found character '\\t'", "a tab is not allowed here", "indent with blanks"),
    ("found a tab character", "a tab is not allowed here", "indent with blanks"),
    ("found character '@'", "plain text cannot begin with `@`", _QUOTE),
    ("found character '`'", "plain text cannot begin with a backtick", _QUOTE),
    ("found character '%'", "plain text cannot begin with `%`", _QUOTE),
    (
        "found unexpected end of stream",
        "a quoted text is not closed",
        "close it with the quote it began with",
    ),
    (
        "found unknown escape character",
        "unknown escape in a text in double quotes",
        "write `\\\\` for a backslash",
    ),
    ("expected a comment or a line break", "after `|` or `>` the text begins on the next line", _QUOTE),
    ("expected chomping or indentation indicators", "plain text cannot begin with `|` or `>`", _QUOTE),
    ("expected ',' or ']'", "the list in `[…]` goes on without a comma, or is not closed", _QUOTE),
    (
        "expected ',' or '}'",
        "the mapping in `{…}` goes on without a comma, or is not closed",
        "put a comma before the next key, or the whole text in quotes",
    ),
    ("expected <block end>", "this does not fit what stands above it", "check its indentation and quotes"),
    ("could not find expected ':'", "a key needs a `:` and a blank after it", "check indentation and quotes"),
    ("did not find expected whitespace or line break", "a `!` or `&` begins something else in YAML", _QUOTE),
    ("expected alphabetic or numeric character", "a `*` or `&` begins something else in YAML", _QUOTE),
    ("expected the node content", "a value was expected here", "put text that begins with a sign in quotes"),
    (
        "expected '<document start>'",
        "a file holds one document, and this begins another",
        "for tasks, one per line, use `routewright decide --tasks`",
    ),
    ("while scanning a tag", "a `!` begins a YAML tag", _QUOTE),
    ("while parsing a tag", "a `!` begins a YAML tag", _QUOTE),
    ("while scanning a directive", "a line cannot begin with `%`", _QUOTE),
    (
        "sequence entries are not allowed here",
        "a `- ` is not allowed here",
        "begin the list on a line of its own",
    ),
    ("block sequence entries", "a `- ` is not allowed here", "begin the list on a line of its own"),
)


def syntax_problem(error: Exception, written: SourceText) -> Problem:
    """The problem behind an error of ruamel.yaml, with its place."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    position = getattr(error, "position", None)
    if mark is not None:
        start = mark.index
        if (cause := _cause(error, start, written)) is not None:
            return cause
        message, help = _words(error)
    elif isinstance(position, int):
        start = position
        code = getattr(error, "character", 0)
        message = (
            f"the character U+{code:04X} is not allowed in YAML" if isinstance(code, int) else "not text"
        )
        help = "write it as an escape in double quotes" if isinstance(code, int) else None
    else:
        start, message, help = 0, "the text is not YAML", None
    problem = written.place(Problem("yaml-syntax", message, help), start, start + 1)
    if " #" in written.line_before(start) and "does not fit" in message:
        return replace(problem, help="a comment ends the text before it: put the whole text in quotes")
    return replace(problem, help=_help_in_line(problem) or help)


def _help_in_line(problem: Problem) -> str | None:
    """What the text before a problem says of its cause."""
    line, column = (problem.source_line or "").rstrip(), problem.column or 0
    if problem.message.startswith("a `: `") and column == len(line):
        return "leave out this `:`, or put the whole text in quotes"
    before = _CONDITION.match(problem.source_line or "")
    if before is None or column <= before.end():
        return None
    if line[before.end()] in "\"'" and line[before.end()] == line[-1]:
        return "put the whole condition in quotes of one kind, and strings in it in the other"
    return None if "tab" in problem.message else "put the whole condition in quotes"


def _cause(error: Any, start: int, written: SourceText) -> Problem | None:
    """The mistake, if it is above the place where the parser gave up; None if it is at that place."""

    def problem(at: int, message: str, help: str) -> Problem:
        return written.place(Problem("yaml-syntax", message, help), at, at + 1)

    text, said = written.text, str(error.problem)
    line_start = text.rfind("\n", 0, start) + 1
    opened = error.context_mark
    if opened is not None and said == "found unexpected end of stream":
        quote = text[opened.index]
        return problem(opened.index, "a quoted text is not closed", f"close it with `{quote}`")
    last = text[:start].rstrip(" ")[-1:]
    if last and last in "\"'":
        # This quote closes one from a line above, and everything between them was read as text.
        end = text.rindex(last, 0, start)
        begin = text.rfind(last, 0, end)
        if begin >= 0 and any(map(_KEY.match, text[begin:end].split("\n")[1:])):
            return problem(begin, "a quoted text is not closed", f"close it with `{last}`")
    if opened is not None and said.startswith("expected ','") and opened.index < line_start:
        bracket = text[opened.index]
        if _KEY.match(text, line_start) or text[line_start:start].lstrip().startswith("- "):
            closing = "]" if bracket == "[" else "}"
            return problem(opened.index, f"`{bracket}` is not closed", f"a `{closing}` is missing")
    if said.startswith("expected <block end>") and (glued := _DASH.match(text, start)):
        return problem(start, "a blank is missing after `-`", f"write `- {glued[1]}`")
    key = _KEY.match(text, line_start)
    if key is None:
        return None
    if error.context == "while parsing a block collection" and opened.column == start - line_start:
        return problem(start, "this entry of a list has no dash", "begin each entry with `- `")
    if "mapping values are not allowed" in said and text[start] == ":" and start < key.end():
        at = line_start + len(key[0]) - len(key[0].lstrip())
        return problem(
            at, "this line is indented further than the one above", "align it with the lines around it"
        )
    return None


def _words(error: Any) -> tuple[str, str | None]:
    said = " ".join(str(part) for part in (error.problem, error.context) if part)
    for fragment, message, help in _SAID:
        if fragment in said:
            return message, help
    first = (error.problem or error.context or "the text is not YAML").splitlines()[0]
    return first[:1].lower() + first[1:].strip().rstrip("."), None
