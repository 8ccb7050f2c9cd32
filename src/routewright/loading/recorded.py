"""Compiles the policy under which a recorded decision was made, from the texts that the ledger keeps."""

from __future__ import annotations

from routewright.engine.explain import as_recorded
from routewright.engine.policy import Catalog, CompiledPolicy, compile_policy, read_catalog, read_policy
from routewright.engine.report import RecordError
from routewright.ledger import FoundDecision


def recorded_policy(found: FoundDecision) -> CompiledPolicy:
    """The policy that ``found`` was decided under, with the digests of its record.

    ``explain(recorded_policy(found), found.record)`` tells why it came out as it did. Raises RecordError where the
    ledger lacks a text or the record cannot be read, and PolicyError for a text that this version cannot compile.
    """
    record = found.record
    text = _known(found.policy_text, "policy", record.policy.digest)
    policy, catalog = read_policy(text, "the recorded policy"), None
    if not isinstance(policy.shape.catalog, Catalog):
        text = _known(found.catalog_text, "catalog", record.catalog.digest)
        catalog = read_catalog(text, "the recorded catalog")
    return as_recorded(compile_policy(policy, catalog), record)


def _known(text: str | None, kind: str, digest: str) -> str:
    if text is None:
        raise RecordError(f"the ledger has no text of the {kind} {digest}")
    return text
