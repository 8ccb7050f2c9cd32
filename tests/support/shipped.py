"""The files of ``policies/`` as they are shipped: their plain values, and the compiled policy."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from routewright.engine.policy.compile.policy import compile_policy
from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.policy.reading.read import read_catalog, read_policy

__all__ = ["POLICIES", "ROOT", "hybrid", "plain_yaml"]

ROOT = Path(__file__).resolve().parents[2]
POLICIES = ROOT / "policies"


def plain_yaml(path: Path) -> Any:
    """The values of a YAML file, without positions."""
    return YAML(typ="safe", pure=True).load(path)


@cache
def hybrid(*without: str) -> CompiledPolicy:
    """The hybrid policy with its catalog, compiled; ``without`` names rules to leave out."""
    policy, catalog = POLICIES / "hybrid.yaml", POLICIES / "catalog.yaml"
    read = read_policy(policy.read_text(encoding="utf-8"), policy.name)
    rules = [rule for rule in read.shape.rules if rule.name not in without]
    return compile_policy(
        replace(read, shape=read.shape.model_copy(update={"rules": rules})),
        read_catalog(catalog.read_text(encoding="utf-8"), catalog.name),
    )
