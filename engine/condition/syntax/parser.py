"""Parses the text of a condition; types are not looked at.

The grammar is CEL's with Python's `and or not`, parsed by precedence climbing.  From loose to tight:

    c ? a : b      right to left
    ||  or
    &&  and
    not            Python's: `not a == b` is `!(a == b)`
    == != < <= > >= in  not in      one only: they do not chain
    +  -
    *  /  %
    !  -           one operand: `!a == b` is `(!a) == b`
    .method(…)  [index]
"""

from __future__ import annotations

from typing import NoReturn

from ...report import Span
from ..limits import INT64_MAX, MAX_LIST_LITERAL, MAX_NESTING
from .expr import (
    Binary,
    Call,
    Conditional,
    Expr,
    Index,
    ListDisplay,
    Literal,
    Logical,
    Macro,
    Name,
    Unary,
    walk,
)
from .grammar import AND, BOOLEANS, LEVELS, LOGICAL, NOT, NULLS, OR, RELATION, RESERVED, SUM, WORD_HINTS
from .lexer import Token, shorten
from .reader import TokenReader
from .render import render_expr


def parse_expr(text: str, *, part: tuple[str | int, ...] = ()) -> Expr:
    """Return the expression that `text` says.

    `part` is put into every span: which leaf of a structured condition the text is.  Raises ConditionError
    with the first problem of the text, with its span; nothing else, whatever the text.

    >>> parse_expr("a or b and not c == 1")
    Logical(op='||', parts=(Name(name='a'), Logical(op='&&', parts=(Name(name='b'), Unary(op='!', \
operand=Binary(op='==', left=Name(name='c'), right=Literal(value=1)))))))
    """
    parser = _Parser(text, part)
    try:
        expr = parser.whole()
    except RecursionError:
        # The nesting limit keeps well inside Python's own, unless the caller stands near it already.
        parser.fail("too-deep", "the condition is nested too deeply to be parsed here", 0, 1)
    deepest, depth = max(walk(expr), key=lambda pair: pair[1])
    if depth > MAX_NESTING:
        parser.fail_nesting(deepest.span.start, deepest.span.end)
    return expr


class _Parser(TokenReader):
    depth = 0

    def whole(self) -> Expr:
        if self.token.kind == "end":
            self.fail("empty", "the condition is empty", 0, max(1, len(self.text)), "write `true` for always")
        expr = self.expression()
        if self.token.kind != "end":
            self.after_operand()
        return expr

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_NESTING:
            self.fail_nesting(self.token.start, self.token.end)

    # -- operators ---------------------------------------------------------------------------------------

    def expression(self) -> Expr:
        self.deeper()
        start = self.token.start
        expr = self.operation(OR)
        if self.sees("?"):
            self.advance()
            then = self.operation(OR)
            if not self.sees(":"):
                self.unexpected("`:` and what holds otherwise")
            self.advance()
            otherwise = self.expression()
            expr = Conditional(expr, then, otherwise, self.span(start))
        self.depth -= 1
        return expr

    def operation(self, least: int) -> Expr:
        """An expression whose operators bind at least as tightly as `least`."""
        start = self.token.start
        if self.sees("not") and least <= NOT:
            left = self.negations()
        else:
            left = self.unary()
        while True:
            op = self.operator()
            level = LEVELS.get(op, 0)
            if level < max(least, OR):
                return left
            if level == RELATION:
                left = self.relation(op, left, start)
                continue
            self.deeper()
            if level in {OR, AND}:
                parts = [left]
                while LEVELS.get(self.operator()) == level:
                    self.advance()
                    parts.append(self.operation(level + 1))
                left = Logical(LOGICAL[op], tuple(parts), self.span(start))
            else:
                self.advance()
                right = self.operation(level + 1)
                left = Binary(op, left, right, self.span(start))
            self.depth -= 1

    def operator(self) -> str:
        """The binary operator that comes next, or an empty text; `not in` is told by its `not`."""
        token = self.token
        if token.kind not in {"op", "name"}:
            return ""
        if token.text == "not":
            following = self.tokens[self.at + 1]
            return "in" if following.kind == "name" and following.text == "in" else ""
        return token.text

    def relation(self, op: str, left: Expr, start: int) -> Expr:
        negated = self.sees("not")
        self.at += 2 if negated else 1
        if self.sees("not"):
            self.unexpected()
        right = self.operation(SUM)
        again = self.operator()
        if LEVELS.get(again) == RELATION:
            self.refuse_chain(op, left, right, again)
        expr = Binary(op, left, right, self.span(start))
        return Unary("!", expr, expr.span) if negated else expr

    def refuse_chain(self, op: str, left: Expr, right: Expr, again: str) -> NoReturn:
        token = self.token
        self.at += 2 if self.sees("not") else 1
        last = self.operation(SUM) if not self.sees("not") else right
        a, b, c = (render_expr(expr) for expr in (left, right, last))
        help = f"write `{a} {op} {b} && {b} {again} {c}`"
        if {op, again} <= {"==", "!="}:
            help += f", or `({a} {op} {b}) {again} {c}`"
        help = help if len(help) <= 200 else "join two comparisons with `&&`"
        self.fail_at(token, "chained-comparison", "comparisons do not chain", help)

    def negations(self) -> Expr:
        starts = []
        while self.sees("not"):
            starts.append(self.advance().start)
        expr = self.operation(RELATION)
        for start in reversed(starts):
            expr = Unary("!", expr, self.span(start))
        return expr

    def unary(self) -> Expr:
        signs = []
        while self.sees("!", "-"):
            signs.append(self.advance())
        number = self.token
        if signs and signs[-1].text == "-" and number.kind in {"int", "float"}:
            following = self.tokens[self.at + 1]
            is_alone = not (following.kind == "op" and following.text in {".", "["})
        else:
            is_alone = False
        expr = self.number(self.advance(), signs.pop()) if is_alone else self.member()
        for sign in reversed(signs):
            expr = Unary(sign.text, expr, self.span(sign.start))
        return expr

    # -- members and primaries ---------------------------------------------------------------------------

    def member(self) -> Expr:
        start = self.token.start
        parenthesised = self.sees("(")
        expr = self.primary()
        while True:
            if self.sees("["):
                opened = self.advance()
                index = self.expression()
                self.expect("]", opened)
                expr = Index(expr, index, self.span(start))
            elif self.sees("."):
                self.advance()
                name = self.token
                if name.kind != "name":
                    self.unexpected("a method's name")
                self.advance()
                if self.sees("("):
                    expr = self.method(expr, name, start)
                elif isinstance(expr, Name) and not parenthesised:
                    expr = Name(f"{expr.name}.{name.text}", self.span(start))
                else:
                    message = f"values have no attribute `{shorten(name.text)}`"
                    help = "methods are called with parentheses, as `x.size()`"
                    self.fail_at(name, "attribute-access", message, help)
            else:
                return expr

    def method(self, receiver: Expr, name: Token, start: int) -> Expr:
        args = self.arguments()
        name_span = Span(name.start, name.end, self.part)
        if name.text not in {"exists", "all"}:
            return Call(name.text, (receiver, *args), True, self.span(start), name_span)
        help = f"write `xs.{name.text}(x, x == 'a')`, or `xs.{name.text}(i, x, …)` with the index first"
        if len(args) not in (2, 3):
            message = f"`{name.text}` takes one or two variables and a condition"
            self.fail("wrong-arity", message, name.start, self.span(start).end, help)
        *given, body = args
        variables: list[Name] = []
        for variable in given:
            if not isinstance(variable, Name) or "." in variable.name:
                message = f"`{name.text}` takes variable names before its condition"
                self.fail("bad-variable", message, variable.span.start, variable.span.end, help)
            if any(variable == other for other in variables):
                message = f"the two variables of `{name.text}` have the same name"
                self.fail("bad-variable", message, variable.span.start, variable.span.end, help)
            variables.append(variable)
        return Macro(name.text, receiver, tuple(variables), body, self.span(start))

    def arguments(self) -> tuple[Expr, ...]:
        opened = self.expect("(")
        args: list[Expr] = []
        while not self.sees(")"):
            args.append(self.expression())
            if self.sees("="):
                self.unexpected()
            if not self.sees(","):
                break
            self.advance()
        self.expect(")", opened)
        return tuple(args)

    def primary(self) -> Expr:
        token = self.token
        if token.kind in {"int", "float"}:
            return self.number(self.advance(), None)
        if token.kind == "string":
            self.advance()
            assert isinstance(token.value, str)
            if self.token.kind == "string":
                self.after_operand()
            return Literal(token.value, self.span(token.start))
        if token.kind == "name":
            return self.named(token)
        if self.sees("("):
            self.advance()
            expr = self.expression()
            if self.sees(",") or self.sees(")"):
                if self.sees(","):
                    self.unexpected()
                self.advance()
                return expr
            if self.token.kind != "end":
                self.after_operand()
            self.expect(")", token)
        if self.sees("["):
            return self.display()
        if self.sees("{"):
            self.fail_at(token, "no-maps", "there are no maps in conditions", "lists stand in `[…]`")
        self.unexpected("a value" if token.kind == "end" else None)

    def number(self, token: Token, minus: Token | None) -> Literal:
        value = token.value
        assert isinstance(value, int | float)
        start = minus.start if minus else token.start
        if isinstance(value, int) and value > INT64_MAX + (1 if minus else 0):
            message = f"`{'-' if minus else ''}{shorten(token.text)}` does not fit 64 bits"
            help = "integers reach from -9223372036854775808 to 9223372036854775807"
            self.fail("number-range", message, start, token.end, help)
        if minus:
            value = -value
        # There is one zero.
        return Literal(value + 0.0 if isinstance(value, float) else value, self.span(start))

    def named(self, token: Token) -> Expr:
        word = token.text
        if word in BOOLEANS:
            self.advance()
            return Literal(BOOLEANS[word], self.span(token.start))
        if word in NULLS:
            help = "a feature without a value is unknown; ask with `has(x)`"
            self.fail_at(token, "no-null", f"there is no `{word}` in conditions", help)
        if word in {"not", "and", "or", "in", "lambda"}:
            self.unexpected()
        if word in RESERVED:
            help = WORD_HINTS.get(word, "features need another name")
            self.fail_at(token, "reserved-word", f"`{word}` is a reserved word", help)
        self.advance()
        if not self.sees("("):
            return Name(word, self.span(token.start))
        args = self.arguments()
        return Call(word, args, False, self.span(token.start), Span(token.start, token.end, self.part))

    def display(self) -> Expr:
        opened = self.advance()
        items: list[Expr] = []
        while not self.sees("]"):
            items.append(self.expression())
            if self.sees("for"):
                self.unexpected()
            if not self.sees(","):
                break
            self.advance()
        self.expect("]", opened)
        span = self.span(opened.start)
        if len(items) > MAX_LIST_LITERAL:
            message = f"the list has {len(items)} elements; at most {MAX_LIST_LITERAL} are allowed"
            self.fail("too-long", message, span.start, span.end)
        return ListDisplay(tuple(items), span)
