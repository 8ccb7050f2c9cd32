"""What a model does not take of a request, as its catalog says, or learned from a refusal of its server.

Servers with one API differ in this by model: OpenAI's reasoning models refuse a ``temperature`` and want
``max_completion_tokens`` (https://platform.openai.com/docs/guides/reasoning), others do not know ``seed`` or
``stream_options``.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Mapping, MutableMapping
from typing import Any, Final, get_args

from routewright.engine.policy import UnsupportedParameter

PARAMETERS: Final[tuple[str, ...]] = get_args(UnsupportedParameter)
"""What may be left out of a request, and leaves it the same request. A ``stop`` or a tool is not among them."""

_INSTEAD: Final = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}

_REFUSED: Final = re.compile(
    r"unsupported|not supported|n[o']t support|unknown name|unrecognized|unexpected|extra.?(inputs|forbidden|fields)"
    r"|deprecated|not (permitted|allowed)",
    re.IGNORECASE,
)
_NEAR: Final = 80
"""Characters between a parameter's name and the words that refuse it."""

_SENTENCE_ENDS: Final = re.compile(r"[.;!?]\s|\\n|\n")

_BOUND: Final = re.compile(
    r"exceed|above|below|(larg|small|great|high|low)er|(more|less) than|at most|at least|between|range",
    re.IGNORECASE,
)
"""What a sentence says that refuses one value: others may be taken, and the parameter is not left out."""

_log = logging.getLogger("routewright")


class Parameters:
    """The parameters that each model of one server does not take; ``declared`` is what the catalog says, by tag."""

    def __init__(self, declared: Mapping[str, Collection[str]]) -> None:
        self._unsupported = {tag: frozenset(names) for tag, names in declared.items()}

    def fit(self, model: str, body: MutableMapping[str, Any]) -> None:
        """Take out of ``body`` what ``model`` does not take; a limit in tokens goes under the name that it knows."""
        unsupported = self._unsupported.get(model, frozenset())
        for name in unsupported & body.keys():
            value, instead = body.pop(name), _INSTEAD.get(name)
            if instead is not None and instead not in unsupported:
                body[instead] = value

    def learn(self, model: str, body: Mapping[str, Any], status: int, refusal: str) -> str | None:
        """The parameter of ``body`` that ``refusal`` is about, the text of an error's body; left out from now on.

        None if it is about something else, or if no limit in tokens would be left.
        """
        if status not in (400, 422) or (name := refused_parameter(body, refusal)) is None:
            return None
        unsupported = self._unsupported.get(model, frozenset())
        if name in unsupported or _INSTEAD.get(name) in unsupported:
            return None
        self._unsupported[model] = unsupported | {name}
        _log.warning(
            "`%s` does not take `%s`, which is left out from now on; `unsupported: [%s]` in the catalog saves the "
            "refused call",
            *(model, name, name),
        )
        return name


def refused_parameter(body: Mapping[str, Any], refusal: str) -> str | None:
    """The parameter of ``body`` that a sentence of a refusal names first, next to words that refuse it."""
    given = _plain(json.dumps(body.get("messages"), ensure_ascii=False))
    for sentence in _SENTENCE_ENDS.split(refusal):
        if (
            _BOUND.search(sentence) is None
            and (found := _refused_in(_plain(sentence), body, given)) is not None
        ):
            return found
    return None


def _plain(text: str) -> str:
    """``text`` without what quoting it in JSON, once or twice, may add."""
    return text.replace("\\", "")


def _refused_in(sentence: str, body: Mapping[str, Any], given: str) -> str | None:
    """The parameter that ``sentence`` refuses, unless the words are ``given``: some servers repeat what they got."""
    found = {}
    for name in PARAMETERS:
        if name not in body:
            continue
        # xAI writes `reasoningEffort`.
        spelt = rf"\b({name}|{re.sub('_(.)', lambda match: match[1].upper(), name)})\b"
        for match in re.finditer(spelt, sentence):
            refused = _REFUSED.search(sentence, max(0, match.start() - _NEAR), match.end() + _NEAR)
            if refused is None:
                continue
            if sentence[min(match.start(), refused.start()) : max(match.end(), refused.end())] not in given:
                found[match.start()] = name
                break
    return found[min(found)] if found else None
