"""JSON Schemas for editors (draft 2020-12), made from the shapes of policies, catalogs and test files.

A schema tells what `shape`, `catalog` and `testfile` accept, as an author should write it: a key that may be
left out is left out, so it is not offered ``null``. Whether names refer to something is beyond a schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from .base import CONDITION_SCHEMA
from .catalog import Catalog
from .policy import Policy
from .testfile import TestFile

_DRAFT = "https://json-schema.org/draft/2020-12/schema"

_CONDITION_REF = "#/$defs/Condition"

_CONDITION: JsonSchemaValue = {
    "title": "Condition",
    "description": "an expression over features, or `any:`, `all:` or `none:` with a list of conditions",
    "anyOf": [
        {"type": "string", "minLength": 1},
        {"type": "boolean"},
        {
            "type": "object",
            "properties": {
                key: {
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": _CONDITION_REF},
                    "description": meaning,
                }
                for key, meaning in (
                    ("any", "true when one of them is"),
                    ("all", "true when each of them is"),
                    ("none", "true when each of them is false"),
                )
            },
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        },
    ],
}

# What the models leave to `compile`, since its messages are better, and what an editor can tell all the same.
_ALTERNATIVES: dict[str, JsonSchemaValue] = {
    "Step": {"minProperties": 1, "maxProperties": 1},
    "Assertion": {"oneOf": [{"required": ["never"]}, {"required": ["always"]}]},
}


SCHEMAS: Final[Mapping[str, tuple[type[BaseModel], str]]] = {
    "policy": (Policy, "Routewright policy"),
    "catalog": (Catalog, "Routewright catalog"),
    "test": (TestFile, "Routewright policy tests"),
}
"""By kind of file, its shape and the title of its schema."""


def json_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of a kind of file in ``SCHEMAS``, as plain values; each call makes a new one."""
    model, title = SCHEMAS[kind]
    made = model.model_json_schema(by_alias=True, schema_generator=_AsWritten)
    definitions: JsonSchemaValue = made.pop("$defs", {})
    for name, alternatives in _ALTERNATIVES.items():
        if name in definitions:
            definitions[name] |= alternatives
    body = _with_conditions(made | {"title": title})
    # The definition itself is put in last: its own title looks like the placeholder.
    definitions = _with_conditions(definitions) | {"Condition": deepcopy(_CONDITION)}
    return {"$schema": _DRAFT, "title": title, **body, "$defs": dict(sorted(definitions.items()))}


def _with_conditions(node: Any) -> Any:
    """A copy of ``node`` in which every placeholder refers to the recursive definition of a condition."""
    if isinstance(node, list):
        return [_with_conditions(item) for item in node]
    if not isinstance(node, dict):
        return node
    copied = {key: _with_conditions(value) for key, value in node.items()}
    if "type" not in copied and copied.get("title") == CONDITION_SCHEMA["title"]:
        del copied["title"]
        return {"$ref": _CONDITION_REF, **copied}
    return copied


class _AsWritten(GenerateJsonSchema):
    """pydantic's schema of what is accepted, narrowed to what an author should write."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False  # a title made from the key says what the key says

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        factory = schema.get("default_factory")
        # pydantic knows of factories that look at other fields; the shapes have none of them.
        return factory() if factory is not None else super().get_default_value(schema)  # type: ignore[call-arg]

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if "default_factory" in schema or schema["default"] is not None:
            return super().default_schema(schema)
        inner = schema["schema"]
        return self.generate_inner(inner["schema"] if inner["type"] == "nullable" else inner)

    def encode_default(self, dft: Any) -> Any:
        # A part that is left out is an empty one: its own keys say what they default to.
        return {} if isinstance(dft, BaseModel) else super().encode_default(dft)

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            made["additionalProperties"] = False
        return made
