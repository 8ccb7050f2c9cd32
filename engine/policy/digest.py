"""Makes the digests of policies and catalogs from their meaning.

A digest is made from the compiled values, field by field: texts that compile to the same values have the same digest,
and every field counts unless a table here says why it does not. New fields count automatically.

A field without a value, or with the default that its class declares, is not hashed: a key that is added later does not
change the digests of policies that do not use it, if its field has a default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import tzinfo
from typing import Any, Final, NamedTuple, get_args, get_type_hints

from pydantic import BaseModel

from ..canonical import digest_of
from ..condition import CheckedExpr, render_expr
from .compiled import (
    CompiledCatalog,
    CompiledConstraint,
    CompiledModel,
    CompiledPolicy,
    CompiledRollout,
    CompiledRule,
    CompiledSplit,
    ModelIndex,
    Reserve,
)
from .shapes.catalog import Model
from .shapes.kinds import Backend, FolderBackend, ServerBackend

FORM: Final = 2
"""The version of how digests are made. A ledger keeps the digests that it has recorded, whatever their version.

Version 1 was a hand-written list that contained positions of models.
"""

_HOW_WRITTEN: Final = "how it is written, not what it says"
_FOLLOWS: Final = "follows from the other fields"
_NOT_SUPPORTED: Final = "what this engine does not do yet, not what the policy means"
_POSITION: Final = "a position; the name next to it counts"

LEFT_OUT: Final[Mapping[type, Mapping[str, str]]] = {
    CompiledPolicy: {
        "digest": "what is made here",
        "text": _HOW_WRITTEN,
        "source": "where the file is",
        **dict.fromkeys(("slots", "defaulted", "stated", "parameters", "scope", "sizes"), _FOLLOWS),
        **dict.fromkeys(("uses_state", "splits", "is_sticky"), _FOLLOWS),
        "evaluate": "a function made of the conditions",
        **dict.fromkeys(("unenforced", "unenforced_everywhere"), _NOT_SUPPORTED),
        "shape": "what it compiles to counts",
        "conditions": "the conditions of rules, constraints and reserves, which count there",
    },
    CompiledCatalog: {
        "digest": "what is made here",
        "text": _HOW_WRITTEN,
        "source": "where the file is",
        **dict.fromkeys(("names", "tokenizers", "scope"), _FOLLOWS),
        "shape": "its models and backends count",
    },
    CompiledModel: {"index": "a position; the order of models means nothing", "facts": _FOLLOWS},
    CompiledConstraint: dict.fromkeys(("by_model", "function", "model_names"), "made of `require`"),
    CompiledRule: {"index": "a position; the order of the rules counts"},
    CompiledSplit: {"key": _POSITION},
    CompiledRollout: {
        "key": _POSITION,
        "file": "where the candidate's file is",
        "candidate": "has a digest of its own, which every record of the rollout holds as well",
    },
    Reserve: {"condition": "a position; `when` counts"},
    Backend: {"description": "for people"},
    ServerBackend: {"api_key": "the name of a secret"},
    FolderBackend: {"path": "where files are on this machine"},
    Model: {"description": "for people", "path": "where files are on this machine"},
}
"""The fields that are not in a digest, and why; also those of subclasses."""

RESOLVED: Final[Mapping[type, Mapping[str, str]]] = {
    Backend: {"operations": "the operations of each of its models count"},
    Model: dict.fromkeys(
        ("backend", "tag", "context_length", "embedding_space", "tokenizer"),
        "the field of the same name of CompiledModel counts",
    ),
}
"""The fields that can be written in several ways with one meaning, and where that meaning counts instead."""

UNORDERED: Final[Mapping[type, frozenset[str]]] = {
    CompiledCatalog: frozenset(("models",)),
    Model: frozenset(("aliases", "operations", "unsupported")),
}
"""The lists whose order means nothing."""

_PLAIN: Final = frozenset((str, int, float, bool, type(None)))


def digest_of_catalog(catalog: CompiledCatalog) -> str:
    """``sha256:`` and the SHA-256 of the meaning of ``catalog`` in canonical JSON (RFC 8785)."""
    return digest_of({"form": FORM, "catalog": _Meaning(catalog).of(catalog)})


def digest_of_policy(policy: CompiledPolicy) -> str:
    """The same of a policy; its catalog counts by the catalog's own digest."""
    return digest_of({"form": FORM, "policy": _Meaning(policy.catalog).of(policy)})


def meaning_of(value: object, catalog: CompiledCatalog) -> object:
    """JSON values for a compiled value of a policy with this catalog; equal where the meaning is equal."""
    return _Meaning(catalog).of(value)


class _Field(NamedTuple):
    name: str
    key: str
    default: object
    write: Callable[[_Meaning, Any], Any]


_tables: dict[type, tuple[_Field, ...] | None] = {}


class _Meaning:
    """Converts compiled values of one catalog to JSON values, with models as their ids."""

    def __init__(self, catalog: CompiledCatalog) -> None:
        self._ids = [model.id for model in catalog.models]

    def of(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        table = _tables[kind] if kind in _tables else _fields_of(kind)
        if table is not None:
            members: dict[str, Any] = {}
            for name, key, default, write in table:
                part = getattr(value, name)
                if part is None or (part == default and type(part) is type(default)):
                    continue
                members[key] = part if type(part) in _PLAIN and write is _Meaning.of else write(self, part)
            return members
        if kind is CheckedExpr:
            return render_expr(value.source)
        if isinstance(value, list | tuple):
            return [self.of(part) for part in value]
        if isinstance(value, Mapping):
            return {key: self.of(part) for key, part in value.items()}
        if isinstance(value, frozenset):
            return sorted(value)
        if isinstance(value, tzinfo):
            return str(value)
        raise TypeError(f"{kind.__name__} has no place in a digest")

    def models(self, value: Any) -> Any:
        """Positions of models as their ids; all models as one word, since a quota for all may cover thousands."""
        if isinstance(value, int):
            return self._ids[value]
        if isinstance(value, frozenset):
            return "all" if len(value) == len(self._ids) else sorted(self._ids[index] for index in value)
        return [self._ids[index] for index in value]

    def unordered(self, value: Any) -> Any:
        return sorted(set(value))

    def by_id(self, value: Any) -> Any:
        return {item.id: self.of(item) for item in value}

    def digest(self, value: Any) -> Any:
        return value.digest


def not_hashed(kind: type) -> set[str]:
    """The fields of a class that do not count by themselves."""
    return {name for of in kind.__mro__ for table in (LEFT_OUT, RESOLVED) for name in table.get(of, ())}


def _fields_of(kind: type) -> tuple[_Field, ...] | None:
    """The fields of a class that count; None for a class without fields, or with another encoding."""
    declared: Iterable[tuple[str, str, object, object]]
    if issubclass(kind, BaseModel):
        declared = (
            (name, field.alias or name, field.get_default(call_default_factory=True), field.annotation)
            for name, field in kind.model_fields.items()
        )
    elif is_dataclass(kind) and kind is not CheckedExpr:
        hints = get_type_hints(kind)
        declared = (
            (field.name, field.name, None if field.default is MISSING else field.default, hints[field.name])
            for field in fields(kind)
        )
    else:
        _tables[kind] = None
        return None
    without = not_hashed(kind)
    table = _tables[kind] = tuple(
        _Field(name, key, default, _writer(kind, name, annotation))
        for name, key, default, annotation in declared
        if name not in without
    )
    return table


def _writer(kind: type, name: str, annotation: object) -> Callable[[_Meaning, Any], Any]:
    if name in UNORDERED.get(kind, ()):
        return _Meaning.by_id if kind is CompiledCatalog else _Meaning.unordered
    if annotation is CompiledCatalog:
        return _Meaning.digest
    return _Meaning.models if _holds_models(annotation) else _Meaning.of


def _holds_models(annotation: object) -> bool:
    return annotation is ModelIndex or any(map(_holds_models, get_args(annotation)))
