"""Words what is wrong with a value that does not fit its key, and what may help."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...report import closest
from ..labels import counted, joined, quoted
from ..source.document import Path
from .quantity_help import duration_help, money_help, number_help

KINDS_OF_VALUES: Mapping[str, str] = {
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "nothing",
}
"""What pydantic's kinds of error say was wanted."""

_CONDITION_HELP = "an expression, or `any:`, `all:` or `none:` with a list of conditions"

_VERSION_HELP = "it is the version of the file's format; this program reads version 1"

_LOCAL_HELP = (
    "leave it out: `local` follows from the host; a server of kind `openai` on this machine that does all work "
    "itself says `stays: true`"
)

_SPEAK_OPENAI = frozenset(
    ("deepseek", "groq", "litellm", "lmstudio", "mistral", "openrouter", "sglang", "together", "vllm", "xai")
)
"""What authors give as the kind of a backend that speaks OpenAI's API."""


def is_about_key(detail: Mapping[str, Any]) -> bool:
    """Whether a complaint is about a key, and not about its value."""
    return bool(detail["loc"]) and detail["loc"][-1] == "[key]"


def kinds_text(kinds: Iterable[str]) -> str:
    """``text, true or false, or a number``: a whole number is a number too."""
    words = list(dict.fromkeys(kinds))
    if "a number" in words and "a whole number" in words:
        words.remove("a whole number")
    return joined(words)


def kind_help(kinds: Sequence[str], value: object) -> str | None:
    if "true or false" in kinds and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
        return f"write `{'true' if value.lower() in ('yes', 'on') else 'false'}`"
    if "text" in kinds and isinstance(value, (bool, int, float)):
        return "put it in quotes"
    if "a list" in kinds and isinstance(value, (str, bool, int, float)) and len(str(value)) <= 60:
        return f"a list of one is written `[{str(value).lower() if isinstance(value, bool) else value}]`"
    if isinstance(value, str) and not {"text", "a list", "a mapping"} & set(kinds):
        return number_help(kinds, value)
    return None


def form_help(path: Path, kinds: Sequence[str], value: object) -> str | None:
    """How a value is written that came in a simpler form: a mapping for a list, one word for a mapping."""
    if set(kinds) == {"a list"} and isinstance(value, dict) and value:
        named = path[-1] in ("constraints", "controls", "rules")
        return f"begin each entry with `- {'name: ' if named else ''}`"
    if path[-1:] == ("price",) and isinstance(value, str | int | float):
        return "write `{ input: …, output: … }`, each for a million tokens"
    if "a mapping" in kinds and isinstance(value, str):
        if len(path) > 2 and path[-3] == "steps":
            return f"write `{{ with: {value} }}`"
        if path[:-1] == ("features",) and value in ("boolean", "integer", "number", "string", "array"):
            return f"write `{{ type: {value} }}`"
    return None


def key_help(path: Path) -> str | None:
    """What may help where a key does not fit: many names that servers give to models are no ids."""
    if path[:-1] in (("models",), ("catalog", "models")):
        return "choose another id, and give the name that the server knows as the model's `tag`"
    return None


def unfit(detail: Mapping[str, Any], name: str, value: Any) -> tuple[str, str | None]:
    """What is wrong with a value of the right kind, and what may help."""
    by_kind = {"literal_error": _not_listed, "value_error": _refused}
    return by_kind.get(detail["type"], _out_of_limits)(detail, name, value)


_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("text", "str", "varchar"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("bool", "flag"), "boolean"),
    **dict.fromkeys(("list", "set", "tags"), "array"),
}
"""What other languages call the types of features."""


def _not_listed(detail: Mapping[str, Any], name: str, value: Any) -> tuple[str, str | None]:
    # The only list of the allowed values that pydantic gives is a text: `'a', 'b' or 'c'`.
    expected = detail["ctx"]["expected"]
    allowed = re.findall(r"'([^']*)'", expected) or [expected]
    meant = None
    if isinstance(value, str):
        other = _TYPES.get(value.lower())
        meant = other if other in allowed else closest(value, allowed)
    help = f"did you mean `{meant}`?" if meant else None
    if name == "`location`" and value == "local":
        help = _LOCAL_HELP
    elif name == "`kind`" and re.sub(r"[\W_]", "", str(value)).lower() in _SPEAK_OPENAI:
        help = "a server that speaks OpenAI's API is of kind `openai`; `host` says where it is"
    elif name == "`routewright`":
        help = _VERSION_HELP
    listed = joined([f"`{one}`" for one in allowed])
    return f"{name} takes {listed}, not {quoted(value)}", help


def _refused(detail: Mapping[str, Any], name: str, value: Any) -> tuple[str, str | None]:
    """A value that a validator of ours refused."""
    about = quoted(detail["input"]) if is_about_key(detail) else quoted(value)
    reason = str(detail["ctx"]["error"])
    if not reason.startswith("expected "):
        return f"{name}: {reason}", None
    if is_about_key(detail):
        return f"{about} cannot be a key: {reason}", None
    help = _CONDITION_HELP if reason == "expected a condition" else None
    if name == "`routewright`":
        help = _VERSION_HELP
    elif reason.startswith("expected a percentage") and isinstance(value, int | float) and 0 <= value <= 100:
        help = f"write `{value * 100 if 0 < value < 1 else value:.10g}%`"
    elif reason.startswith("expected an address with") and "://" not in str(value):
        help = f"write `http://{value}`"
    elif reason.startswith("expected a duration"):
        help = duration_help(value)
    elif reason.startswith("expected an amount"):
        help = money_help(value)
    wanted, colon, why = reason.removeprefix("expected ").partition(": ")
    return f"{name} takes {wanted}, not {about}{colon}{why}", help


_BOUNDS: Mapping[str, tuple[str, str]] = {
    "greater_than_equal": ("ge", "is at least"),
    "less_than_equal": ("le", "is at most"),
    "less_than": ("lt", "is less than"),
}
_LENGTHS: Mapping[str, tuple[str, str, str]] = {
    "too_short": ("min_length", "needs at least", "entries"),
    "string_too_short": ("min_length", "needs at least", "characters"),
    "too_long": ("max_length", "takes at most", "entries"),
    "string_too_long": ("max_length", "takes at most", "characters"),
}
"""By pydantic's kind of error, the name of the limit, what is said of it, and what it counts."""


def _out_of_limits(detail: Mapping[str, Any], name: str, value: Any) -> tuple[str, None]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        limit, says = _BOUNDS[kind]
        return f"{name} {says} {_number(context[limit])}, not {quoted(value)}", None
    if kind in _LENGTHS:
        limit, says, what = _LENGTHS[kind]
        if not value and limit == "min_length":
            return f"{name} is empty", None
        given = context.get("actual_length") or len(detail["input"])
        return f"{name} {says} {counted(context[limit], what)}, not {given:,}", None
    # Every kind that the shapes can give is named above, and a test goes through them.
    return f"{name} cannot be {quoted(value)}", None


def _number(limit: float) -> str:
    return f"{int(limit):,}" if limit == int(limit) else str(limit)
