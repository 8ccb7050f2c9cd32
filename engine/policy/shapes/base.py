"""The building blocks of all shapes: the base model, names, references, numbers, conditions."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ..quantities import MAX_EXACT
from ..variables import VARIABLE

Operation = Literal["chat", "embed", "rerank"]


@dataclass(frozen=True, slots=True)
class Form:
    """What a text must look like: a pattern for the whole of it, and the words that say so to an author."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^{self.pattern}$"}

    def _checked(self, value: str) -> str:
        if re.fullmatch(self.pattern, value) is None:
            raise ValueError(f"expected {self.words}")
        return value


_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u2800\u3164\uffa0")
"""Invisible characters whose category is a letter, mark or symbol."""


def check_unbroken(name: str) -> str:
    """``name`` unchanged. Raises ValueError if it holds blanks, control characters or invisible ones."""
    for character in name:
        if character.isspace() or not character.isprintable() or character in _BLANK_LETTERS:
            raise ValueError(
                f"expected a name without blanks and invisible characters: it holds U+{ord(character):04X}"
            )
    return name


Name = Annotated[
    str,
    Form(
        r"[A-Za-z][A-Za-z0-9_.-]{0,99}",
        "at most 100 letters, digits, `_`, `.` or `-`, a letter first",
    ),
]
"""A name that the author gives."""

FeatureName = Annotated[
    str,
    Form(
        r"[A-Za-z_][A-Za-z0-9_]{0,99}",
        "at most 100 letters, digits or `_`, no digit first",
    ),
]
"""A name that conditions can use."""

Text = Annotated[str, Field(min_length=1)]
"""A text that says something."""


@dataclass(frozen=True, slots=True)
class NamesFile:
    """Marks a text that names a Routewright file; where such a file may be is not the policy's decision."""


FileName = Annotated[str, Field(min_length=1), NamesFile()]
"""A YAML file, relative to the file that names it."""

Salt = Annotated[str, Form(r"[^\0]*", "a text without a zero byte, which separates salt and key")]
"""Makes one division of keys independent of another."""

ModelRef = Annotated[
    str,
    Field(min_length=1, max_length=200, description="a model's id, alias or tag, or `backend:tag`"),
]

EnvRef = Annotated[str, Form(VARIABLE, "an environment variable such as `${OLLAMA_API_KEY}`")]
"""``${NAME}``: an environment variable, never the secret itself."""

FilePath = Annotated[str, Field(min_length=1), Form(f"({VARIABLE})?[^$]*", "a path, perhaps after `${NAME}`")]
"""A path; it may start with an environment variable."""

Version = Annotated[str, Form(r"[0-9]+(\.[0-9]+){0,3}", "a version such as `0.12.3`")]

Amount = Annotated[int, Field(ge=0, le=1_000_000)] | Annotated[float, Field(ge=0, le=1_000_000)]
"""Money for a million tokens, or gigabytes."""

MAX_LISTED_MODELS = 100
"""Models in one list of a policy: a rule's ``use`` or ``fallback``, a chain."""


def _version(value: object) -> object:
    """Refuse `true` and `1.0`, which equal 1 in Python, and numbers that pydantic does not compare."""
    if type(value) is not int or abs(value) > MAX_EXACT:
        raise ValueError("expected the number `1`")
    return value


FormatVersion = Annotated[Literal[1], BeforeValidator(_version)]
"""The version of a file's format."""

NotNegative = Annotated[int, Field(ge=0, le=MAX_EXACT)]
"""A whole number that JSON, Python and SQL read alike."""

Positive = Annotated[int, Field(ge=1, le=MAX_EXACT)]

Scalar = bool | int | float | str


class Shape(BaseModel):
    """Base of everything that is read from YAML: unknown keys are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


def _condition(value: object) -> object:
    """Refuse what can never be a condition; its text is parsed by ``compile``."""
    if isinstance(value, (str, bool, dict)):
        return value
    raise ValueError("expected a condition")


CONDITION_SCHEMA = {"title": "Condition"}
"""Stands for a condition in generated JSON Schemas; ``schema`` puts the recursive definition in its place."""

Condition = Annotated[Any, BeforeValidator(_condition), WithJsonSchema(CONDITION_SCHEMA)]
"""An expression, or a mapping with one of ``any``, ``all``, ``none`` and a list of conditions."""
