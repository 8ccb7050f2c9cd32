"""Reads what the policies and catalogs in the ledger declare: features with their types, quotas, currencies.

Each text is read once, when it is first there. One that this version cannot read declares nothing, and says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from routewright.engine.condition import Name, leaning, parse_condition, walk
from routewright.engine.policy import Catalog, MoneyAmount, Policy, read_catalog, read_policy
from routewright.engine.report import ConditionError, PolicyError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DeclaredFeatures = Sequence[Mapping[str, str]]
"""The features that the policies of one name declare, as type by name, the newest policy first."""

_WHERE: Final = "model.location"

_NOT_READ: Final = """
SELECT kind, digest, text FROM policies
ANTI JOIN declarations USING (kind, digest)
"""

_TYPES: Final[Mapping[str, Any]] = {
    "kind": "VARCHAR",
    "digest": "VARCHAR",
    "features": [{"name": "VARCHAR", "type": "VARCHAR"}],
    "quotas": [
        {
            "name": "VARCHAR",
            "unit": "VARCHAR",
            "limit": "BIGINT",
            "currency": "VARCHAR",
            "per": "VARCHAR",
            "for_each": "VARCHAR",
        }
    ],
    "currencies": ["VARCHAR"],
    "keep_local": ["VARCHAR"],
    "error": "VARCHAR",
}

_STORE: Final = f"""
INSERT INTO declarations BY NAME
SELECT unnest(read) FROM (SELECT unnest(from_json_strict(?, '{json.dumps([_TYPES])}')) AS read)
"""

_FEATURES: Final = """
SELECT policies.name, declarations.features
FROM policies JOIN declarations USING (kind, digest)
WHERE kind = 'policy'
ORDER BY first_seen_us DESC, digest
"""

_CURRENCIES: Final = """
SELECT currency FROM attempt_rows WHERE currency IS NOT NULL
UNION
SELECT currency FROM imported_attempts WHERE currency IS NOT NULL
UNION
SELECT unnest(currencies) FROM declarations
"""


_FOR_EACH: Final = """
SELECT DISTINCT quota['for_each'] AS feature FROM (SELECT unnest(quotas) AS quota FROM declarations)
WHERE feature IS NOT NULL ORDER BY feature
"""

_KEEP_LOCAL: Final = "SELECT DISTINCT unnest(keep_local) AS feature FROM declarations ORDER BY feature"


def read_declarations(connection: DuckDBPyConnection) -> None:
    """Read the policies and catalogs that have not been read yet. Ends no transaction."""
    found = connection.execute(_NOT_READ).fetchall()
    if found:
        connection.execute(_STORE, [json.dumps([_declared(*row) for row in found])])


def declared_features(connection: DuckDBPyConnection) -> dict[str, DeclaredFeatures]:
    """For the policies of each name, the names in the order in which they were first recorded."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for name, features in connection.execute(_FEATURES).fetchall():
        found.setdefault(name, []).append({one["name"]: one["type"] for one in features})
    return {name: found[name] for name in reversed(found)}


def currencies(connection: DuckDBPyConnection) -> list[str]:
    """The currencies of all recorded costs and of the prices in all catalogs."""
    return sorted(code for (code,) in connection.execute(_CURRENCIES).fetchall())


def local_features(connection: DuckDBPyConnection) -> list[str]:
    """The features that keep work on local models, by a constraint of any policy."""
    return [name for (name,) in connection.execute(_KEEP_LOCAL).fetchall()]


def quota_features(connection: DuckDBPyConnection) -> list[str]:
    """The features by whose values quotas are counted."""
    return [name for (name,) in connection.execute(_FOR_EACH).fetchall()]


def _declared(kind: str, digest: str, text: str) -> dict[str, Any]:
    declared: dict[str, Any] = {
        "kind": kind,
        "digest": digest,
        "features": [],
        "quotas": [],
        "currencies": [],
        "keep_local": [],
        "error": None,
    }
    try:
        if kind == "catalog":
            return declared | {"currencies": _priced_in(read_catalog(text, digest).shape)}
        policy = read_policy(text, digest).shape
    except PolicyError as error:
        return declared | {"error": str(error)}
    return declared | {
        "features": [
            {"name": name, "type": one.type if one.items is None else f"{one.items}[]"}
            for name, one in policy.features.items()
        ],
        "quotas": list(_quotas(policy)),
        "currencies": _priced_in(policy.catalog) if isinstance(policy.catalog, Catalog) else [],
        "keep_local": sorted(_keep_local(policy)),
    }


def _priced_in(catalog: Catalog) -> list[str]:
    prices = (model.price for model in catalog.models.values())
    return sorted({price.currency for price in prices if price is not None})


def _keep_local(policy: Policy) -> set[str]:
    """The boolean features that, where they are true, bring a constraint on where a model is into force."""
    found = set[str]()
    for constraint in policy.constraints:
        try:
            when, require = (parse_condition(one) for one in (constraint.when, constraint.require))
        except ConditionError:  # such a policy cannot be compiled, and so decides nothing
            continue
        if not constraint.disabled and any(
            isinstance(node, Name) and node.name == _WHERE for node, _ in walk(require)
        ):
            found |= leaning(when) | leaning(require, holds=False)
    return {name for name in found if name in policy.features and policy.features[name].type == "boolean"}


def _quotas(policy: Policy) -> Iterator[dict[str, Any]]:
    for control in policy.controls:
        for unit in ("requests", "tokens", "cost", "concurrent"):
            limit = getattr(control, f"max_{unit}")
            if limit is None or control.per == "request":
                continue
            money = limit if isinstance(limit, MoneyAmount) else None
            yield {
                "name": control.name,
                "unit": unit,
                "limit": limit if money is None else money.nano,
                "currency": None if money is None else money.currency,
                "per": control.per,
                "for_each": control.for_each,
            }
