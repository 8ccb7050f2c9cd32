"""Which policy a command shows when none is named, and which of its models are here."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from routewright.engine.report import escape_line

from .decisions import few
from .writer import writer

if TYPE_CHECKING:
    from routewright.engine.policy import CompiledCatalog
    from routewright.gateway import Presence

VARIABLE = "ROUTEWRIGHT_POLICY"


@dataclass(frozen=True)
class ShownPolicy:
    """The policy that a command shows, and where its name comes from if nobody gave one."""

    path: Path
    chosen_by: str | None

    def announce(self, *, json: bool) -> None:
        """Print its name as the first line; beside JSON as a note, and only if nobody gave one."""
        line = f"{self.path}" if self.chosen_by is None else f"{self.path} ({self.chosen_by})"
        if not json:
            writer.lines(f"{escape_line(line)}\n")
        elif self.chosen_by is not None:
            writer.note(line)


def shown_policy(named: Path | None) -> ShownPolicy:
    """The named policy, else that of the environment, else the shipped one."""
    from routewright.loading import shipped

    if named is not None:
        return ShownPolicy(named, None)
    given = os.environ.get(VARIABLE)
    if given:
        return ShownPolicy(Path(given), f"from {VARIABLE}")
    return ShownPolicy(shipped("hybrid.yaml"), f"the shipped policy: name yours, or set {VARIABLE}")


def presence_lines(found: Mapping[str, Presence], catalog: CompiledCatalog) -> Iterator[str]:
    """What is not here, said once for each backend, with the commands that fetch it."""
    backend_of = {model.id: model.backend for model in catalog.models}
    missing: dict[str, list[str]] = {}
    unasked: dict[str, list[str]] = {}
    for id, one in found.items():
        if one.state == "missing":
            missing.setdefault(backend_of[id], []).append(id if one.get is None else f"{one.get}  # {id}")
        elif one.state == "not known":
            unasked.setdefault(f"{backend_of[id]}: not known ({one.why})", []).append(id)
    for backend, lines in missing.items():
        yield f"{backend}: missing"
        yield from (f"  {line}" for line in lines)
    for reason, ids in unasked.items():
        yield f"{reason}: {few(ids)}"
