"""Calls: which signature a function's arguments fit, and the functions with rules of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ...report import Span, suggest
from ..library import FUNCTIONS, MACROS, SPECIAL_FUNCTIONS, Function, Signature
from ..limits import MAX_PATTERNS
from ..patterns import PatternError, compile_pattern
from ..syntax import Call, Expr, Literal, Name, shorten
from ..types import BOOLEAN, INTEGER, NOTHING, NUMBER, Declaration, ListType, Type, accepts, article
from .mismatch import quote
from .typed import Constant, Feature, Presence, Typed, apply
from .work import LARGEST, Sizes

_CEL_MACROS = {"map", "filter", "exists_one", "existsOne", "transformList"}

_OTHER_NAMES = {
    "len": "size", "length": "size", "count": "size", "str": "string", "float": "double", "boolean": "bool",
    "lower": "lowerAscii", "upper": "upperAscii", "toLowerCase": "lowerAscii", "startswith": "startsWith",
    "endswith": "endsWith", "match": "matches", "search": "matches", "includes": "contains", "any": "exists",
    "defined": "has", "exists": "has", "isset": "has",
}  # fmt: skip


class PartChecker(Protocol):
    """What checking a call needs of the checker around it."""

    scope: Mapping[str, Declaration]

    def check(self, expr: Expr) -> Typed: ...

    def wrong(
        self, code: str, message: str, expr: Expr, help: str | None = None, span: Span | None = None
    ) -> Typed: ...

    def widened(self, typed: Typed, wanted: Type) -> Typed: ...

    def together(self, parts: tuple[Typed, ...]) -> tuple[tuple[Typed, ...], Type] | None: ...


class CallChecker:
    """Checks calls for the checker that it is given."""

    def __init__(self, checker: PartChecker, bounds: Sizes) -> None:
        self.checker = checker
        self.bounds = bounds
        self.patterns = 0

    def check(self, call: Call) -> Typed:
        """The typed node of `call`, or a problem."""
        if call.function == "has":
            return self.presence(call)
        function = FUNCTIONS.get(call.function)
        if function is None and call.function not in SPECIAL_FUNCTIONS:
            return self.unknown(call)
        args = tuple([self.checker.check(arg) for arg in call.args])
        if call.method and (function is None or not function.method):
            return self.checker.wrong(
                "unknown-function",
                f"`{call.function}` is not a method",
                call,
                f"write `{call.function}(x)`",
                call.name_span,
            )
        if call.function == "dyn":
            return args[0] if len(args) == 1 else self.arity(call, "one argument")
        if function is None:
            return self.extreme(call, args)
        return self.fixed(call, function, args)

    def arity(self, call: Call, wanted: str) -> Typed:
        given = len(call.args) - call.method
        return self.checker.wrong(
            "wrong-arity",
            f"`{call.function}` takes {wanted}; {given or 'none'} {'is' if given < 2 else 'are'} given",
            call,
        )

    def unknown(self, call: Call) -> Typed:
        name = call.function
        help: str | None
        if name in _CEL_MACROS:
            help = "lists have `xs.exists(x, …)` and `xs.all(x, …)`"
        elif name in MACROS:
            help = f"write `xs.{name}(x, x == 'a')`"
        elif name in _OTHER_NAMES:
            meant = _OTHER_NAMES[name]
            help = f"did you mean `xs.{meant}(x, …)`?" if meant in MACROS else f"did you mean `{meant}`?"
        else:
            methods = [function.name for function in FUNCTIONS.values() if function.method]
            known = methods if call.method else [*FUNCTIONS, *SPECIAL_FUNCTIONS]
            help = suggest(name, [*known, *MACROS], label="methods" if call.method else "functions")
        what = "method" if call.method else "function"
        # A macro's variable could only be reported as an unknown name.
        args = [] if name in _CEL_MACROS or name in MACROS else [self.checker.check(arg) for arg in call.args]
        if _OTHER_NAMES.get(name) == "contains" and len(args) == 2 and isinstance(args[0].type, ListType):
            help = f"write `{quote(call.args[1])[1:-1]} in {quote(call.args[0])[1:-1]}`"
        return self.checker.wrong(
            "unknown-function", f"unknown {what} `{shorten(name)}`", call, help, call.name_span
        )

    def presence(self, call: Call) -> Typed:
        if call.method or len(call.args) != 1:
            return self.arity(call, "the name of one feature")
        (arg,) = call.args
        typed = self.checker.check(arg) if isinstance(arg, Name) else None
        if isinstance(typed, Feature):
            return Presence(typed, call)
        if isinstance(typed, Constant):  # an unknown name, already reported
            return Constant(typed.value, BOOLEAN, True, call)
        text = arg.value if isinstance(arg, Literal) and isinstance(arg.value, str) else ""
        help = f"write `has({text})`" if text in self.checker.scope else None
        message = f"`has` takes the name of a feature, not {quote(arg)}"
        return self.checker.wrong("bad-argument", message, arg, help)

    def extreme(self, call: Call, args: tuple[Typed, ...]) -> Typed:
        """`min` and `max`."""
        numbers: set[Type] = {INTEGER, NUMBER, NOTHING}
        if len(args) == 1 and isinstance(args[0].type, ListType):
            element = args[0].type.element
            if element in numbers:
                return apply(f"{call.function}_list", args, element, call)
        elif len(args) < 2 and not (args and args[0].type not in numbers):
            return self.arity(call, "two or more numbers, or one list of numbers")
        for arg in args:
            if arg.type not in numbers:
                return self.checker.wrong(
                    "type-mismatch",
                    f"`{call.function}` takes numbers, or one list of numbers; {quote(arg.source)} is "
                    f"{article(arg.type)}",
                    arg.source,
                )
        both = self.checker.together(args)
        assert both is not None
        return apply(call.function, both[0], both[1], call)

    def fixed(self, call: Call, function: Function, args: tuple[Typed, ...]) -> Typed:
        """A function whose number of arguments is fixed."""
        wanted = len(function.signatures[0].parameters)
        if len(args) != wanted:
            wanted -= call.method
            return self.arity(call, ("no argument", "one argument", "two arguments")[wanted])
        for signature in function.signatures:
            if all(map(_fits, signature.parameters, args)):
                return self.signed(call, signature, args)
        for position, arg in enumerate(args):
            choices = dict.fromkeys(signature.parameters[position] for signature in function.signatures)
            if not any(_fits(choice, arg) for choice in choices):
                allowed = " or ".join(article(choice) for choice in choices)
                help = None
                if function.name == "contains" and isinstance(arg.type, ListType) and position == 0:
                    help = f"write `{quote(call.args[1])[1:-1]} in {quote(call.args[0])[1:-1]}`"
                return self.checker.wrong(
                    "type-mismatch",
                    f"`{function.name}` takes {allowed}; {quote(arg.source)} is {article(arg.type)}",
                    arg.source,
                    help,
                )
        raise AssertionError("every argument fits by itself, so one signature fits")

    def signed(self, call: Call, signature: Signature, args: tuple[Typed, ...]) -> Typed:
        args = tuple(
            self.checker.widened(arg, wanted) for arg, wanted in zip(args, signature.parameters, strict=True)
        )
        if call.function == "matches":
            pattern = call.args[1]
            if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
                return self.checker.wrong(
                    "bad-pattern", "the pattern of `matches` is a string literal", pattern
                )
            self.patterns += 1
            if self.patterns > MAX_PATTERNS:
                return self.checker.wrong(
                    "bad-pattern", f"a condition has at most {MAX_PATTERNS} patterns", pattern
                )
            try:
                compile_pattern(pattern.value)
            except PatternError as error:
                return self.checker.wrong(
                    "bad-pattern",
                    _flat(str(error)),
                    pattern,
                    "patterns are RE2: https://github.com/google/re2/wiki/Syntax",
                )
        if signature.operation == "matches" and self.bounds.characters < LARGEST.characters:
            longest = Constant(self.bounds.characters, INTEGER, False, call.args[1])
            return apply("matches_bounded", (*args, longest), BOOLEAN, call)
        if not signature.operation:
            # An argument that is its own result keeps the call as its text.
            return args[0]
        return apply(signature.operation, args, signature.result, call)


def _flat(text: str) -> str:
    """RE2's own words without line breaks, cut where they quote a long pattern."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 200 else flat[:199] + "…"


def _fits(wanted: Type, arg: Typed) -> bool:
    if wanted == ListType(NOTHING):
        return isinstance(arg.type, ListType) or arg.type == NOTHING
    return accepts(wanted, arg.type)
