"""A policy's files read again, and the backends for it: those that are declared as before are kept, others opened."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from routewright.backends import Backend
from routewright.engine.policy.compiled import CompiledPolicy

from .arms import Arms, alike, meaning_of, own_backends, simulated_candidate
from .loading import load_policy
from .opening import open_backends
from .targets import simulated_backends

__all__ = ["Opening", "is_as_before"]


@dataclass(frozen=True, slots=True)
class Opening:
    """How a gateway was made from a file, so that it can be done again, in another directory too."""

    path: str
    maps: Mapping[str, str] | None = None
    simulate: bool = False
    directory: str = field(default_factory=os.getcwd)

    def policy(self) -> CompiledPolicy:
        """The policy as its files are now. Raises as ``load_policy`` does."""
        # As it was given, where that still leads there: so it is named in messages.
        path = os.path.join(self.directory, self.path)
        return load_policy(
            self.path if os.path.abspath(self.path) == os.path.normpath(path) else path, maps=self.maps
        )

    def backends(
        self, policy: CompiledPolicy, before: Arms | None = None
    ) -> tuple[Mapping[str, Backend], Mapping[str, Backend]]:
        """The backends of a policy, and those that its rollout's candidate has for itself.

        Those of ``before`` are kept where they are declared alike. Raises BackendError for the first that does not
        open.
        """
        if self.simulate:
            return simulated_backends(policy), simulated_candidate(policy)
        mine = _backends(policy, policy.catalog.backends, before)
        rollout = policy.rollout
        if rollout is None or rollout.candidate is None:
            return mine, {}
        return mine, _backends(rollout.candidate, own_backends(policy), before)


def is_as_before(before: CompiledPolicy, policy: CompiledPolicy) -> bool:
    """Whether two policies mean the same and their backends open the same way: which key they use is no meaning."""
    if meaning_of(before) != meaning_of(policy) or before.catalog.shape != policy.catalog.shape:
        return False
    if before.rollout is None or policy.rollout is None:
        return True
    one, other = before.rollout.candidate, policy.rollout.candidate
    return one is None or other is None or one.catalog.shape == other.catalog.shape


def _backends(policy: CompiledPolicy, ids: Collection[str], before: Arms | None) -> Mapping[str, Backend]:
    kept: dict[str, Backend] = {}
    for side in before or ():
        for id in ids:
            if id in side.backends and alike(side.policy.catalog, policy.catalog, id):
                kept.setdefault(id, side.backends[id])
    opened = open_backends(policy, only=[id for id in ids if id not in kept])
    return {id: kept[id] if id in kept else opened[id] for id in ids if id in kept or id in opened}
