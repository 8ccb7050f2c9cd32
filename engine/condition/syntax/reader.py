"""Reads tokens one after another, and reports those that stand where they cannot."""

from __future__ import annotations

from typing import NoReturn

from ...report import ConditionError, Problem, Span
from ..limits import MAX_NESTING
from .grammar import RESERVED, WORD_HINTS
from .lexer import Token, shorten, tokenize


class TokenReader:
    """The tokens of one text with a place among them."""

    def __init__(self, text: str, part: tuple[str | int, ...]) -> None:
        self.part = part
        self.text = text
        self.tokens = tokenize(text, part)
        self.at = 0

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def advance(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def sees(self, *texts: str) -> bool:
        token = self.tokens[self.at]
        return token.kind in {"op", "name"} and token.text in texts

    def span(self, start: int) -> Span:
        """From `start` to the end of the token read last."""
        return Span(start, self.tokens[self.at - 1].end, self.part)

    def fail(self, code: str, message: str, start: int, end: int, help: str | None = None) -> NoReturn:
        raise ConditionError([Problem(code, message, help, Span(start, end, self.part))])

    def fail_at(self, token: Token, code: str, message: str, help: str | None = None) -> NoReturn:
        self.fail(code, message, token.start, token.end, help)

    def fail_nesting(self, start: int, end: int) -> NoReturn:
        message = f"the condition is nested more than {MAX_NESTING} levels deep"
        help = "long chains of `&&` and `||` count as one level; split other conditions into several rules"
        self.fail("too-deep", message, start, end, help)

    def unexpected(self, expected: str | None = None) -> NoReturn:
        token = self.token
        what = f"`{shorten(token.text)}`" if token.kind != "end" else "end of the condition"
        help = f"expected {expected}" if expected else None
        if token.kind == "name":
            help = WORD_HINTS.get(token.text, help)
            if token.text == "not" and self.tokens[self.at + 1].text == "-":
                help = "write `not in`, without a hyphen"
        elif token.text == "?":
            help = "put parentheses around the inner `… ? … : …`"
        elif token.text == "," and expected is None:
            help = self._without_separator() or "lists stand in `[…]`"
        elif token.text == "&&" or token.text == "||":
            help = f"`{token.text}` stands between two conditions"
        if self.at > 1 and self.tokens[self.at - 1].text == "%" and token.kind != "name":
            share = self.tokens[self.at - 2].value
            if isinstance(share, int | float):
                help = f"`%` is a remainder in conditions; as a share, `{share}%` is `{share / 100:g}`"
        self.fail("unexpected", f"unexpected {what}", token.start, max(token.end, token.start + 1), help)

    def _without_separator(self) -> str | None:
        """What to write for a number such as `30,000`, at whose comma the reader is."""
        if not 0 < self.at < len(self.tokens) - 1:
            return None
        before, comma, after = self.tokens[self.at - 1 : self.at + 2]
        together = before.end == comma.start and comma.end == after.start and len(after.text) == 3
        if not together or (before.kind, after.kind) != ("int", "int"):
            return None
        return f"write `{before.text}{after.text}`, without a comma; lists stand in `[…]`"

    def expect(self, text: str, opened: Token | None = None) -> Token:
        if self.sees(text):
            return self.advance()
        if opened is not None and self.token.kind == "end":
            self.fail_at(opened, "not-closed", f"`{opened.text}` is not closed", f"a `{text}` is missing")
        self.unexpected(f"`{text}`")

    def after_operand(self) -> NoReturn:
        """Report a token that cannot follow a complete expression."""
        token, last = self.token, self.tokens[self.at - 1]
        if token.kind == last.kind == "string":
            help = "join strings with `+`; write a quote inside a string as `\\'`"
            self.fail("side-by-side", "two strings stand side by side", last.start, token.end, help)
        if last.kind == "name" and last.text == "NOT":
            self.at -= 1
            self.unexpected()
        if token.text in {")", "]", "}"} and token.kind == "op":
            self.fail_at(token, "unexpected", f"`{token.text}` closes nothing")
        hinted = token.kind == "name" and (token.text in WORD_HINTS or token.text in RESERVED)
        if token.kind in {"name", "int", "float", "string"} and not hinted:
            message = f"unexpected `{shorten(token.text)}`"
            self.fail_at(token, "unexpected", message, "an operator is missing before it")
        self.unexpected()
