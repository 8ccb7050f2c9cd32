"""Splits the text of a condition into tokens.

The lexical grammar is CEL's (https://github.com/google/cel-spec/blob/master/doc/langdef.md), so strings are
atoms and `!=` is one token.  Signs that CEL does not have, but that authors know from elsewhere, are errors
with a hint here; keywords are left to the parser.
"""

from __future__ import annotations

import re
from typing import NamedTuple, NoReturn

from ...report import ConditionError, Problem, Span, escape_line
from ..limits import MAX_EXPRESSION_LENGTH


class Token(NamedTuple):
    """`kind` is `int`, `float`, `string`, `name`, `op` or `end`; `value` is a literal's value."""

    kind: str
    text: str
    value: int | float | str | None
    start: int
    end: int


_NUMBER = re.compile(
    r"0[xX](?P<hex>[0-9a-fA-F]*)"
    r"|(?P<float>[0-9]*\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)"
    r"|(?P<int>[0-9]+)"
)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BLANK = re.compile(r"[ \t\n\f\r]+")
_WORD = re.compile(r"[A-Za-z0-9_]+")

_OPERATORS = (
    *"=== !== =~ !~ ** // << >> <> := => -> == != <= >= && ||".split(),
    *"<>+-*/%!?:()[]{},.=&|^~@`;$#\\",
)

_WRONG_SIGNS = {
    "=": "`==` compares; a condition assigns nothing",
    "===": "`==` compares",
    "!==": "`!=` compares",
    "<>": "write `!=`",
    ":=": "a condition assigns nothing",
    "=>": "`>=` means at least",
    "->": "conditions have no such operator",
    "=~": "write `x.matches(r'…')`",
    "!~": "write `!x.matches(r'…')`",
    "&": "write `&&` or `and`",
    "|": "write `||` or `or`",
    "^": "conditions have no bit operators; `a != b` is true when just one of two booleans is",
    "~": "conditions have no bit operators; write `!` or `not`",
    "<<": "conditions have no bit operators",
    ">>": "conditions have no bit operators",
    "**": "there is no power operator; multiply with `*`",
    "//": "`/` between integers already drops the remainder; a `//` comment goes before an operand",
    "@": "a feature is written by its bare name",
    "`": "strings stand in single or double quotes",
    ";": "a condition is one expression; join two with `&&`",
    "$": "a feature is written by its bare name",
    "#": "conditions have no `#` comments",
    "\\": "a backslash belongs inside a string",
}

_NO_OPERATORS = set("@`;$#\\")

_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", '"': '"', "'": "'", "?": "?", "`": "`",
}  # fmt: skip

_HEX_ESCAPES = {"x": 2, "X": 2, "u": 4, "U": 8}
_OCTAL = re.compile(r"[0-3][0-7][0-7]")
_HEX = re.compile(r"[0-9a-fA-F]+")

_SHOWN = 60


def shorten(text: str) -> str:
    """`text` fit for a message: at most a line and 60 characters, and nothing that does not print."""
    if len(text) > _SHOWN:
        text = text[: _SHOWN - 1] + "…"
    return escape_line(text)


def tokenize(text: str, part: tuple[str | int, ...] = ()) -> list[Token]:
    """The tokens of `text` with an `end` token last; raises ConditionError at the first wrong character.

    `part` is put into the spans of problems: which leaf of a structured condition the text is.
    """
    return _Lexer(text, part).run()


class _Lexer:
    def __init__(self, text: str, part: tuple[str | int, ...]) -> None:
        self.text = text
        self.part = part
        self.tokens: list[Token] = []

    def fail(self, code: str, message: str, start: int, end: int, help: str | None = None) -> NoReturn:
        raise ConditionError([Problem(code, message, help, Span(start, end, self.part))])

    def run(self) -> list[Token]:
        text = self.text
        if len(text) > MAX_EXPRESSION_LENGTH:
            message = f"the condition has {len(text)} characters; at most {MAX_EXPRESSION_LENGTH} are allowed"
            self.fail("too-long", message, 0, 1, "split it into several rules")
        at = 0
        while at < len(text):
            char = text[at]
            if blank := _BLANK.match(text, at):
                at = blank.end()
            elif char.isascii() and (char.isdigit() or (char == "." and text[at + 1 : at + 2].isdigit())):
                at = self.number(at)
            elif name := _NAME.match(text, at):
                at = self.name(name)
            elif char in "'\"":
                at = self.string(at, at, raw=False)
            elif text.startswith("//", at) and self.operand_is_due():
                # After an operand `//` would be Python's division, and taking the rest of the line for a
                # comment would change what the condition means without a word.
                newline = text.find("\n", at)
                at = len(text) if newline < 0 else newline
            else:
                at = self.operator(at)
        self.tokens.append(Token("end", "", None, len(text), len(text)))
        return self.tokens

    def operand_is_due(self) -> bool:
        if not self.tokens:
            return True
        last = self.tokens[-1]
        if last.kind == "name":
            return last.text in {"and", "or", "not", "in"}
        return last.kind == "op" and last.text not in {")", "]", "}"}

    def operator(self, at: int) -> int:
        for sign in _OPERATORS:
            if self.text.startswith(sign, at):
                if sign in _WRONG_SIGNS:
                    end = at + len(sign)
                    if sign in _NO_OPERATORS:
                        what = "backtick" if sign == "`" else f"character `{sign}`"
                        self.fail("bad-character", f"unexpected {what}", at, end, _WRONG_SIGNS[sign])
                    what = f"`{sign}` is not an operator of conditions"
                    self.fail("bad-operator", what, at, end, _WRONG_SIGNS[sign])
                self.tokens.append(Token("op", sign, None, at, at + len(sign)))
                return at + len(sign)
        char = self.text[at]
        help = None
        if char in "‘’“”«»":
            help = "strings stand in straight quotes: ' or \""
        elif char.isspace():
            help = "use ordinary blanks"
        elif char.isalpha():
            help = "names are made of the letters a to z, digits and `_`"
        elif char in "≤≥≠":
            help = "write `<=`, `>=` or `!=`"
        self.fail("bad-character", f"unexpected character `{shorten(char)}`", at, at + 1, help)

    def number(self, at: int) -> int:
        found = _NUMBER.match(self.text, at)
        assert found is not None
        end = found.end()
        if rest := _WORD.match(self.text, end):
            written = self.text[at : rest.end()]
            help = "a name cannot begin with a digit"
            if rest.group() in {"u", "U"}:
                help = "there are no unsigned integers; drop the `u`"
            elif rest.group() in {"k", "K", "m", "M", "g", "G"}:
                help = "write all the digits"
            elif "_" in rest.group() and written.replace("_", "").isdigit():
                help = f"write `{shorten(written.replace('_', ''))}`"
            self.fail("bad-number", f"`{shorten(written)}` is not a number", at, rest.end(), help)
        written = found.group()
        if found["float"] is not None:
            number = float(written)
            if number == float("inf"):
                self.fail("number-range", f"`{shorten(written)}` is too large for a double", at, end)
            self.tokens.append(Token("float", written, number, at, end))
            return end
        if self.text.startswith(".", end) and not _NAME.match(self.text, end + 1):
            short = shorten(written)
            self.fail("bad-number", f"`{short}.` is not a number", at, end + 1, f"write `{short}.0`")
        if found["hex"] == "":
            self.fail("bad-number", f"`{written}` is not a number", at, end, "hexadecimal digits follow `0x`")
        digits, base = (found["hex"], 16) if found["hex"] else (found["int"], 10)
        # Any number of this many digits is out of range; converting a longer one only takes time.
        value = int(digits.lstrip("0")[:25] or "0", base)
        self.tokens.append(Token("int", written, value, at, end))
        return end

    def name(self, found: re.Match[str]) -> int:
        word, start, end = found.group(), found.start(), found.end()
        if self.text[end : end + 1] in {"'", '"'}:
            if word in {"r", "R"}:
                return self.string(start, end, raw=True)
            if word.lower() in {"b", "br", "rb"}:
                message = "there are no byte strings in conditions"
                self.fail("no-bytes", message, start, end, f"drop the `{word}`")
            if word.lower() in {"f", "fr", "rf", "u", "t"}:
                help = "join strings with `+`" if "f" in word.lower() else f"drop the `{word}`"
                self.fail("bad-string", f"strings have no prefix `{word}`", start, end, help)
        self.tokens.append(Token("name", word, None, start, end))
        return end

    def string(self, start: int, at: int, *, raw: bool) -> int:
        """Read the string whose opening quote is at `at`; `start` is where its prefix begins."""
        text = self.text
        quote = text[at] * 3 if text.startswith(text[at] * 3, at) else text[at]
        at += len(quote)
        pieces: list[str] = []
        while not text.startswith(quote, at):
            if at >= len(text) or (len(quote) == 1 and text[at] in "\r\n"):
                self.fail("bad-string", "the string is not closed", start, at, f"close it with {quote}")
            if text[at] == "\\" and not raw:
                piece, at = self.escape(at)
                pieces.append(piece)
            else:
                if "\ud800" <= text[at] <= "\udfff":
                    self.fail("bad-string", "the string holds half of a surrogate pair", at, at + 1)
                pieces.append(text[at])
                at += 1
        at += len(quote)
        self.tokens.append(Token("string", text[start:at], "".join(pieces), start, at))
        return at

    def escape(self, at: int) -> tuple[str, int]:
        letter = self.text[at + 1 : at + 2]
        if letter in _ESCAPES:
            return _ESCAPES[letter], at + 2
        if octal := _OCTAL.match(self.text, at + 1):
            return chr(int(octal.group(), 8)), octal.end()
        if width := _HEX_ESCAPES.get(letter, 0):
            digits = self.text[at + 2 : at + 2 + width]
            if len(digits) == width and _HEX.fullmatch(digits):
                code = int(digits, 16)
                if code <= 0x10FFFF and not 0xD800 <= code <= 0xDFFF:
                    return chr(code), at + 2 + width
                end = at + 2 + width
                self.fail("bad-escape", f"`{self.text[at:end]}` is not a character", at, end)
        message = f"`{shorten(self.text[at : at + 2])}` is not an escape of strings"
        help = (
            r"write a backslash as `\\`, or put `r` before the string; "
            r"`\n`, `\t`, `\xHH`, `\uHHHH` and `\UHHHHHHHH` work"
        )
        self.fail("bad-escape", message, at, min(at + 2, len(self.text)), help)
