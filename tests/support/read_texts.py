"""The events of YAML texts that this process has read before, as hundreds of tests read the same policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

__all__ = ["remember_read_texts"]

_TEXTS = 64
_CHARACTERS = 100_000


def remember_read_texts() -> None:
    """From now on, let ruamel.yaml give the events of a text that it has read to its end as it did then.

    What is made of them, nodes and their problems, is made anew each time.
    """
    parse, read = YAML.parse, dict[str, list[Any]]()

    def remembered(self: YAML, text: str) -> Iterator[Any]:
        if text in read:
            yield from read[text]
            return
        events = []
        for event in parse(self, text):
            events.append(event)
            yield event
        if len(text) <= _CHARACTERS:
            while len(read) >= _TEXTS:
                del read[next(iter(read))]
            read[text] = events

    pytest.MonkeyPatch().setattr(YAML, "parse", remembered)
