"""Escapes text from outside for its destination: a line, an answer, CSV, Markdown, JSON, a log.

Names, reasons, values, answers and server messages come from anyone. On a terminal, a control character moves the
cursor or changes its state, a bidirectional one reorders what a reviewer reads, and a zero-width one is invisible. All
are shown as escapes (``\\n``, ``\\x1b``, ``\\u{202e}``) and never dropped: two different names must not look the same.
"""

from __future__ import annotations

import html
import re

_KNOWN = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}

# Invisible, although their categories are letters and marks: Unicode's Default_Ignorable_Code_Point
# (DerivedCoreProperties.txt) without U+FE00 to U+FE0F, which select the text or emoji form of a character.
_IGNORABLE = "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\uffa0\ufff0-\ufff8\U000e0000-\U000e0fff"

# Everything but printable ASCII: few texts have any, so the closer check is rare.
_UNUSUAL = re.compile(r"[^ -~]")
_IGNORED = re.compile(f"[{_IGNORABLE}]")
_BREAK = re.compile(r"\r?\n|\t")

# Characters that move, reorder or hide text. Other spaces and characters newer than Python's tables stay, and so do
# the two joiners, without which Persian and Hindi are misspelt and emoji fall apart.
_NOT_IN_ANSWERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u200b\u200e\u200f\u2028-\u202e"
    f"\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a{_IGNORABLE}]"
)

# GitHub's runner executes a line that begins with `::` or has `##[` anywhere (actions/runner,
# src/Runner.Common/ActionCommand.cs), Azure's agent `##vso[`, and TeamCity `##teamcity[`.
_COMMAND = re.compile(r"^([^\S\n]*):(?=:)|#(?=#\w*\[)", re.MULTILINE)
_TAG = re.compile(r"#(?=#\w*\[)")

# https://owasp.org/www-community/attacks/CSV_Injection, and the full-width forms that spreadsheets treat the same.
_FORMULA = re.compile("[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)

_MARKUP = re.compile(r"[\\`*_\[\]<>|~$&]")
_BLOCK_MARK = re.compile(r"^([-+=#])|^(\d{1,9})([.)])")
# A backslash does not stop GitHub, which searches the rendered text for mentions, issues and addresses.
_REFERENCE = re.compile(r"([@#])(?=\w)|(?<=\w)(:)(?=//)|\b(www)(?=\.)|\b(GH)(?=-\d)", re.IGNORECASE)


def is_shown(char: str) -> bool:
    """Whether a character is visible: a letter, mark, number, symbol or punctuation, or the space."""
    return char.isprintable() and not _IGNORED.match(char)


def escape_char(char: str) -> str:
    """The escape of a character."""
    return _KNOWN.get(char) or (f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\u{{{ord(char):x}}}")


def escape_line(text: str) -> str:
    """``text`` on one line, for a message: invisible characters and line ends are escapes.

    >>> print(escape_line("red\\x1b[31m\\n"))
    red\\x1b[31m\\n
    """
    return text if _is_plain(text) else _UNUSUAL.sub(_visible, text)


def escape_flat(text: str) -> str:
    """``text`` on one line, for a table or a tree: as ``escape_line``, but line ends and tabs become spaces."""
    return text if _is_plain(text) else escape_line(_BREAK.sub(" ", text))


def escape_answer(text: str) -> str:
    """``text`` from a model, with its own lines and tabs; anything else that moves, reorders or hides is an escape."""
    return _NOT_IN_ANSWERS.sub(lambda found: escape_char(found[0]), text)


def escape_commands(text: str) -> str:
    """``text`` with an escape in lines that a CI log would run as commands, such as ``::error::``."""
    return _COMMAND.sub(lambda found: (found[1] or "") + f"\\x{ord(found[0][-1]):02x}", text)


def escape_json(text: str) -> str:
    """JSON with JSON escapes for invisible characters: the same values, safe on a terminal and in a CI log.

    ``text`` is JSON in any layout whose lines end with a newline.
    """
    if "##" in text:  # JSON can hold no other command: its lines never begin with a text
        text = _TAG.sub("\\\\u0023", text)
    if text.isascii() and "\x7f" not in text:
        return text  # JSON already escapes control characters below the space
    return _UNUSUAL.sub(_in_json, text)


def escape_csv(text: str) -> str:
    """A text cell: if a spreadsheet would run it as a formula, it gets a leading ``'``; its lines and tabs stay.

    A text that is a number is not a formula.
    """
    shown = text
    if not _is_plain(text):
        parts = re.split(r"([\n\t])", text)
        shown = "".join(part if part in ("\n", "\t") else escape_line(part) for part in parts)
    return f"'{shown}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else shown


def escape_markdown(text: str) -> str:
    """``text`` on one line for Markdown: it renders without markup or HTML, and on GitHub without mentions or links."""
    text = _MARKUP.sub(r"\\\g<0>", escape_flat(text).strip())
    text = _BLOCK_MARK.sub(lambda found: f"\\{found[1]}" if found[1] else f"{found[2]}\\{found[3]}", text)
    return _REFERENCE.sub(lambda found: f"{found[0]}<!-- -->", text)


def escape_summary(text: str) -> str:
    """``text`` on one line for a piece of HTML in Markdown, such as ``<summary>``: as it is, and without mentions."""
    return _REFERENCE.sub(
        lambda found: f"{found[0]}<!-- -->", html.escape(escape_flat(text).strip(), quote=False)
    )


def _is_plain(text: str) -> bool:
    return text.isprintable() and (text.isascii() or not _IGNORED.search(text))


def _visible(found: re.Match[str]) -> str:
    return found[0] if is_shown(found[0]) else escape_char(found[0])


def _in_json(found: re.Match[str]) -> str:
    char = found[0]
    if char == "\n" or is_shown(char):
        return char
    code = ord(char)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
