"""Reads files of prompt templates: the shipped one, and those of the same shape."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
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

_KEYS: Final = frozenset({"system", "user", "temperature", "max_output_tokens", "thinking_tokens"})
_WHOLE_NUMBERS: Final = ("max_output_tokens", "thinking_tokens")


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
    unknown = sorted(str(key) for key in body.keys() - (_KEYS if template.own_call else {"user"}))
    if unknown:
        raise PromptError(f"prompt `{name}` has an unknown key `{unknown[0]}`")
    _check_kinds(name, body)
    _check_names(name, template, body)
    return Prompt(**{key: body[key] for key in _KEYS & body.keys()})


def _check_kinds(name: str, body: Mapping[str, Any]) -> None:
    system, temperature = body.get("system"), body.get("temperature")
    if system is not None and not isinstance(system, str):
        raise PromptError(f"prompt `{name}`: `system` is a text")
    if temperature is not None and (
        isinstance(temperature, bool) or not isinstance(temperature, int | float)
    ):
        raise PromptError(f"prompt `{name}`: `temperature` is a number")
    for key in _WHOLE_NUMBERS:
        most = body.get(key)
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
            raise PromptError(f"prompt `{name}`: `{key}` is a whole number above 0")


def _check_names(name: str, template: Template, body: Mapping[str, Any]) -> None:
    named = set(PLACE.findall(body["user"]))
    for missing in sorted(template.must - named):
        raise PromptError(f"prompt `{name}` must name `{{{{{missing}}}}}`")
    strange = named - template.must - template.may | set(PLACE.findall(body.get("system") or ""))
    for other in sorted(strange - {WORD}):
        raise PromptError(f"prompt `{name}` names `{{{{{other}}}}}`, which it is not given")


def _digest(tree: Any) -> str:
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
