"""Checks calls: finds the operation of the library that the arguments fit."""

from __future__ import annotations

from ...report import suggest
from ..library import MEANT
from ..library.declaration import Function, Operation
from ..library.functions import FUNCTIONS, MACROS, itself
from ..library.operators import OPERATORS
from ..limits import MAX_PATTERNS
from ..patterns import PatternError, compile_pattern
from ..syntax.expr import Call, Literal, Name
from ..syntax.lexer import shorten
from ..types import BOOLEAN, NUMBER, ListType, Type, accepts, article
from .messages import quote
from .parts import PartChecker
from .typed import Apply, Constant, Feature, Has, Typed

_CEL_MACROS = {"map", "filter", "exists_one", "existsOne", "transformList"}


def operation_for(symbol: str, type_: Type) -> Operation | None:
    """The operation of an operator whose operands are all of `type_`, or None."""
    operations = OPERATORS[symbol].operations
    return next((one for one in operations if all(accepts(p, type_) for p in one.parameters)), None)


class CallChecker(PartChecker):
    """Checks calls."""

    patterns = 0

    def call(self, call: Call) -> Typed:
        """The typed node of `call`, or a problem."""
        if call.function == "has":
            return self.presence(call)
        function = FUNCTIONS.get(call.function)
        if function is None:
            return self.unknown(call)
        args = tuple([self.check(arg) for arg in call.args])
        if call.method and not function.method:
            message, help = f"`{call.function}` is not a method", f"write `{call.function}(x)`"
            return self.wrong("unknown-function", message, call, help, call.name_span)
        return self.extreme(call, function, args) if function.variadic else self.fixed(call, function, args)

    def arity(self, call: Call, wanted: str) -> Typed:
        given = len(call.args) - call.method
        return self.wrong(
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
        elif name in MEANT:
            meant = MEANT[name]
            help = f"did you mean `xs.{meant}(x, …)`?" if meant in MACROS else f"did you mean `{meant}`?"
        else:
            methods = [function.name for function in FUNCTIONS.values() if function.method]
            known = methods if call.method else FUNCTIONS
            help = suggest(name, [*known, *MACROS], label="methods" if call.method else "functions")
        what = "method" if call.method else "function"
        # A macro's variable could only be reported as an unknown name.
        args = [] if name in _CEL_MACROS or name in MACROS else [self.check(arg) for arg in call.args]
        if MEANT.get(name) == "contains" and len(args) == 2 and isinstance(args[0].type, ListType):
            help = _in_help(call)
        return self.wrong("unknown-function", f"unknown {what} `{shorten(name)}`", call, help, call.name_span)

    def presence(self, call: Call) -> Typed:
        if call.method or len(call.args) != 1:
            return self.arity(call, "the name of one feature")
        (arg,) = call.args
        typed = self.check(arg) if isinstance(arg, Name) else None
        if isinstance(typed, Feature):
            return Has(typed, call)
        if isinstance(typed, Constant):  # an unknown name, already reported
            return Constant(typed.value, BOOLEAN, call)
        text = arg.value if isinstance(arg, Literal) and isinstance(arg.value, str) else ""
        help = f"write `has({text})`" if text in self.scope else None
        message = f"`has` takes the name of a feature, not {quote(arg)}"
        return self.wrong("bad-argument", message, arg, help)

    def extreme(self, call: Call, function: Function, args: tuple[Typed, ...]) -> Typed:
        """`min` and `max`."""
        several, of_list = function.operations
        if len(args) == 1 and isinstance(args[0].type, ListType):
            if _fits(of_list.parameters[0], args[0]):
                return Apply(of_list.name, args, args[0].type.element, call)
        elif len(args) < 2 and not (args and not _fits(NUMBER, args[0])):
            return self.arity(call, "two or more numbers, or one list of numbers")
        for arg in args:
            if not _fits(NUMBER, arg):
                return self.mismatch(
                    f"`{call.function}` takes numbers, or one list of numbers; {quote(arg.source)} is "
                    f"{article(arg.type)}",
                    arg.source,
                )
        both = self.together(args)
        assert both is not None
        return Apply(several.name, both[0], both[1], call)

    def fixed(self, call: Call, function: Function, args: tuple[Typed, ...]) -> Typed:
        """A function whose number of arguments is fixed."""
        wanted = len(function.operations[0].parameters)
        if len(args) != wanted:
            wanted -= call.method
            return self.arity(call, ("no argument", "one argument", "two arguments")[wanted])
        for operation in function.operations:
            if all(map(_fits, operation.parameters, args)):
                return self.signed(call, operation, args)
        for position, arg in enumerate(args):
            choices = dict.fromkeys(operation.parameters[position] for operation in function.operations)
            if not any(_fits(choice, arg) for choice in choices):
                allowed = " or ".join(article(choice) for choice in choices)
                message = f"`{function.name}` takes {allowed}; {quote(arg.source)} is {article(arg.type)}"
                is_listed = function.name == "contains" and isinstance(arg.type, ListType) and position == 0
                return self.mismatch(message, arg.source, _in_help(call) if is_listed else None)
        raise AssertionError("every argument fits by itself, so one operation takes them all")

    def signed(self, call: Call, operation: Operation, args: tuple[Typed, ...]) -> Typed:
        args = tuple(map(self.widened, args, operation.parameters))
        if call.function == "matches":
            pattern = call.args[1]
            if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
                return self.wrong("bad-pattern", "the pattern of `matches` is a string literal", pattern)
            self.patterns += 1
            if self.patterns > MAX_PATTERNS:
                return self.wrong("bad-pattern", f"a condition has at most {MAX_PATTERNS} patterns", pattern)
            try:
                compile_pattern(pattern.value)
            except PatternError as error:
                help = "patterns are RE2: https://github.com/google/re2/wiki/Syntax"
                return self.wrong("bad-pattern", _flat(str(error)), pattern, help)
        if operation.python is itself:
            # An argument that is its own result keeps its own text.
            return args[0]
        assert operation.result is not None
        return Apply(operation.name, args, operation.result, call)


def _flat(text: str) -> str:
    """RE2's own words without line breaks, cut where they quote a long pattern."""
    flat = " ".join(text.split())
    return flat if len(flat) <= 200 else flat[:199] + "…"


def _in_help(call: Call) -> str:
    """How to ask whether a list holds a value, for `list.contains(value)`."""
    return f"write `{quote(call.args[1])[1:-1]} in {quote(call.args[0])[1:-1]}`"


def _fits(wanted: Type, arg: Typed) -> bool:
    return accepts(wanted, arg.type)
