"""Reads files of prompt templates: the shipped one, and those of the same shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import UnionType
from typing import Any, Final

from routewright.engine.report import RoutewrightError

from .ensemble import JUDGE_TEMPLATES
from .prompts import PLACE, WORD, Prompt, Prompts, Template
from .steps import STEP_KINDS

TEMPLATES: Final[Mapping[str, Template]] = {
    name: template
    for templates in (*(kind.templates for kind in STEP_KINDS.values()), JUDGE_TEMPLATES)
    for name, template in templates.items()
}
"""Every template that a file must have."""

_OPTIONS: Final[Mapping[str, tuple[type | UnionType, str]]] = {
    "system": (str, "a text"),
    "temperature": (int | float, "a number"),
    "max_output_tokens": (int, "a whole number above 0"),
    "thinking_tokens": (int, "a whole number above 0"),
}
"""What a template may say beside ``user``: the type of the value, and that in words."""


class PromptError(RoutewrightError):
    """A file of prompts that cannot be used."""


@cache
def shipped_prompts() -> Prompts:
    """The templates of ``policies/prompts.yaml``."""
    text = files("routewright").joinpath("policies", "prompts.yaml").read_text(encoding="utf-8")
    return read_prompts(text)


def read_prompts(text: str) -> Prompts:
    """The templates of a YAML text. Raises PromptError for what is missing, unknown or of the wrong kind."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        tree = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise PromptError(f"the prompts are not YAML: {str(error).splitlines()[0].lower()}") from None
    if not isinstance(tree, dict) or tree.get("prompts") != 1:
        raise PromptError("prompts begin with `prompts: 1`")
    unknown = sorted(str(name) for name in tree.keys() - {"prompts", *TEMPLATES})
    if unknown:
        raise PromptError(f"unknown prompt `{unknown[0]}`: there are {', '.join(TEMPLATES)}")
    return Prompts(
        {name: _prompt(name, template, tree.get(name)) for name, template in TEMPLATES.items()}, _digest(tree)
    )


def _prompt(name: str, template: Template, body: Any) -> Prompt:
    if not isinstance(body, dict) or not isinstance(body.get("user"), str):
        raise PromptError(f"prompt `{name}` needs a text `user`")
    unknown = sorted(str(key) for key in body.keys() - {"user", *(_OPTIONS if template.own_call else ())})
    if unknown:
        raise PromptError(f"prompt `{name}` has an unknown key `{unknown[0]}`")
    _check_kinds(name, body)
    _check_names(name, template, body)
    return Prompt(**body)


def _check_kinds(name: str, body: Mapping[str, Any]) -> None:
    for key, (kind, words) in _OPTIONS.items():
        given = body.get(key)
        if given is None:
            continue
        fits = isinstance(given, kind) and not isinstance(given, bool)
        if not fits or (kind is int and body[key] < 1):
            raise PromptError(f"prompt `{name}`: `{key}` is {words}")


def _check_names(name: str, template: Template, body: Mapping[str, Any]) -> None:
    named = set(PLACE.findall(body["user"]))
    for missing in sorted(template.must - named):
        raise PromptError(f"prompt `{name}` must name `{{{{{missing}}}}}`")
    strange = named - template.must - template.may | set(PLACE.findall(body.get("system") or ""))
    for other in sorted(strange - {WORD}):
        raise PromptError(f"prompt `{name}` names `{{{{{other}}}}}`, which it is not given")


def _digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
