"""Writes the canonical text of parsed expressions: CEL's spellings, and no more parentheses than needed."""

from __future__ import annotations

from .expr import Binary, Call, Conditional, Expr, Index, ListDisplay, Literal, Logical, Macro, Name, Unary

_CONDITIONAL, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)

_BINARY_LEVELS = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT}

_ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def render_expr(expr: Expr) -> str:
    """Return `expr` as text that parses to the same expression.

    >>> from .parser import parse_expr
    >>> render_expr(parse_expr('not (a or b) and (c == "x")'))
    "!(a || b) && c == 'x'"
    """
    return _render(expr, _CONDITIONAL)


def render_value(value: object) -> str:
    """A value as a condition would write it; what has no literal is shown by its `repr`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(render_value, value))}]"
    return repr(value)


def _string(value: str) -> str:
    return "'" + "".join(_ESCAPES.get(c) or (c if c.isprintable() else _escape(c)) for c in value) + "'"


def _escape(char: str) -> str:
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _render(expr: Expr, least: int) -> str:
    """`expr` where an operand that binds at least as tightly as `least` is wanted."""
    level, text = _level_and_text(expr)
    return text if level >= least else f"({text})"


def _level_and_text(expr: Expr) -> tuple[int, str]:
    match expr:
        case Literal(value):
            negative = not isinstance(value, bool | str) and repr(value).startswith("-")
            return _UNARY if negative else _MEMBER, render_value(value)
        case Name(name):
            return _MEMBER, name
        case ListDisplay(items):
            return _MEMBER, f"[{', '.join(map(render_expr, items))}]"
        case Call(function, (receiver, *args), True):
            return _MEMBER, f"{_receiver(receiver)}.{function}({', '.join(map(render_expr, args))})"
        case Call(function, args):
            return _MEMBER, f"{function}({', '.join(map(render_expr, args))})"
        case Macro(kind, items, variables, body):
            names = ", ".join(variable.name for variable in variables)
            return _MEMBER, f"{_receiver(items)}.{kind}({names}, {render_expr(body)})"
        case Index(base, index):
            return _MEMBER, f"{_render(base, _MEMBER)}[{render_expr(index)}]"
        case Unary("-", Literal(value)) if not isinstance(value, bool | str) and value >= 0:
            # `-5` is a literal, so the operator before a literal keeps its parentheses.
            return _UNARY, f"-({render_value(value)})"
        case Unary(op, operand):
            return _UNARY, op + _render(operand, _UNARY)
        case Binary(op, left, right):
            level = _BINARY_LEVELS.get(op, _RELATION)
            # Arithmetic groups from the left; relations do not chain.
            left_least = level if op in _BINARY_LEVELS else _SUM
            return level, f"{_render(left, left_least)} {op} {_render(right, level + 1)}"
        case Logical(op, parts):
            level = _OR if op == "||" else _AND
            return level, f" {op} ".join(_render(part, level + 1) for part in parts)
        case Conditional(condition, then, otherwise):
            sides = (_render(condition, _OR), _render(then, _OR), render_expr(otherwise))
            return _CONDITIONAL, "{} ? {} : {}".format(*sides)
        case _:
            raise AssertionError(f"no text for {type(expr).__name__}")


def _receiver(expr: Expr) -> str:
    # A bare name before `.method(` is the same name, so names need no parentheses.
    return _render(expr, _MEMBER)
