"""The features of a policy have one type over all its versions, and no value is read as something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.ledger_rows import DECLARED, decision, given, policy
from support.new_ledgers import new_ledger

from routewright.ledger.typed_features import typed_features

VALUES = {
    "true": True,
    "whole": 3,
    "number": 0.75,
    "text": "gold",
    "digits": "12",
    "list": ["a", "b"],
    "numbers": [1, 2.5],
    "null": None,
}
ALL = dict.fromkeys(VALUES)


def read(declared: list[dict[str, str]], *records: dict[str, Any]) -> list[Any]:
    """What the struct says of each record's features."""
    struct = typed_features(declared)
    assert struct is not None
    with duckdb.connect() as connection:
        given = [json.dumps(one) for one in records]
        source = "(SELECT unnest(?::VARCHAR[])::JSON::VARIANT AS features) AS d"
        return [row for (row,) in connection.execute(f"SELECT {struct} FROM {source}", [given]).fetchall()]


@pytest.mark.parametrize(
    ("newest", "fits"),
    [
        ("boolean", {"true": True}),
        ("integer", {"whole": 3}),
        ("number", {"whole": 3.0, "number": 0.75}),
        ("string", {"true": "true", "whole": "3", "number": "0.75", "text": "gold", "digits": "12"}),
        ("number[]", {"numbers": [1.0, 2.5]}),
        ("string[]", {"list": ["a", "b"], "numbers": ["1", "2.5"]}),
    ],
)
def test_a_value_of_another_type_is_null_unless_it_can_be_written_as_the_newest(
    newest: str, fits: dict[str, Any]
) -> None:
    other = "boolean" if newest != "boolean" else "string"
    found = read([{"f": newest}, {"f": other}], *({"f": value} for value in VALUES.values()))
    assert dict(zip(VALUES, (one["f"] for one in found), strict=True)) == ALL | fits


def test_an_integer_widens_to_a_number_whichever_is_newer() -> None:
    for declared in ([{"f": "integer"}, {"f": "number"}], [{"f": "number"}, {"f": "integer"}]):
        assert read(declared, {"f": 3}, {"f": 0.75}) == [{"f": 3.0}, {"f": 0.75}]
    [lists] = read([{"f": "integer[]"}, {"f": "number[]"}], {"f": [1, 2.5]})
    assert lists == {"f": [1.0, 2.5]}


def test_what_one_version_does_not_declare_was_ignored_there_and_may_be_anything() -> None:
    found = read([{"f": "boolean"}, {"g": "string"}], {"f": True, "g": "x"}, {"f": 1, "g": ["x"]})
    assert found == [{"f": True, "g": "x"}, {"f": None, "g": None}]


def test_each_type_is_read_under_any_name_and_unknown_values_are_null() -> None:
    """Rows are stored field by field, also where a field is not in all of them, or in none."""
    values: dict[str, tuple[str, Any]] = {
        "flag": ("boolean", False),
        "o.dd": ("integer", 2**53 - 1),
        "two words": ("number", -0.5),
        'q"uote': ("string", "12"),
        "it's": ("string[]", ["a", "b"]),
        "x['y']": ("integer[]", [1, -2]),
        "größe": ("number[]", []),
        "select": ("number", 3),
    }
    declared = {name: type for name, (type, _) in values.items()}
    given = {name: value for name, (_, value) in values.items()}
    nulls = dict.fromkeys(values)
    found = read([{**declared, "absent": "string"}], given, {}, nulls, {**given, "ignored": 1})
    assert found == [{**one, "absent": None} for one in (given, nulls, nulls, given)]
    assert type(found[0]["select"]) is float


def test_spellings_of_one_name_are_one_field_with_the_newest() -> None:
    found = read([{"Team": "string"}, {"team": "string"}], {"Team": "a"}, {"team": "b"}, {})
    assert found == [{"Team": "a"}, {"Team": "b"}, {"Team": None}]


def test_who_asks_for_a_feature_that_had_another_type_is_told(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    versions = [
        "features: { tier: { type: string }, size: { type: integer }, private: { type: boolean } }\n",
        "features: { tier: { type: boolean }, size: { type: number }, private: { type: boolean } }\n",
    ]
    rest = DECLARED.partition("features:")[0] + "rules: [{ name: otherwise, use: [kimi] }]\n"
    ledger.append(
        [decision(1)],
        policies=[
            policy("desk", text + rest, digest=f"sha256:{number}", first_seen_us=number)
            for number, text in enumerate(versions)
        ],
    )
    told = "`tier` was declared as string too. What is no boolean is NULL here; `decision_features` has it."
    for view in ("decisions_desk", "all_attempts_desk"):
        assert ledger.query(f"SELECT features.Tier FROM {view}").notes == (f"`{view}`: {told}",)
        for other in ("features.size, features.private", "decision_id AS tier"):
            assert ledger.query(f"SELECT {other} FROM {view}").notes == ()
    written = ledger.export("SELECT features['tier'] FROM decisions_desk", tmp_path / "tiers.parquet")
    assert written.notes == (f"`decisions_desk`: {told}",)
    comment = "SELECT comment FROM duckdb_views() WHERE view_name = 'decisions_desk'"
    assert ledger.query(comment).rows[0][0].endswith(f"in their types. {told}")


def test_the_long_form_has_each_value_in_the_column_of_its_type_whatever_other_policies_declare(
    tmp_path: Path,
) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    rest = DECLARED.partition("features:")[0] + "rules: [{ name: otherwise, use: [kimi] }]\n"
    values: dict[str, dict[str, Any]] = {
        "first": {"tier": "gold", "size": 3, "langs": ["de"], "flag": True},
        "second": {"tier": 7, "size": None, "langs": [0.5], "flag": "yes"},
        "unread": {"tier": ["x"], "other": 0.25},
    }
    declared = ["string, integer, string[], boolean", "integer, number, number[], string"]
    features = [
        ", ".join(
            f"{name}: {{ type: {type.removesuffix('[]') if '[]' not in type else f'array, items: {type[:-2]}'} }}"
            for name, type in zip(values["first"], types.split(", "), strict=True)
        )
        for types in declared
    ]
    ledger.append(
        [
            decision(
                number, features=given(**values[name]), policy={"name": name, "digest": f"sha256:{name}"}
            )
            for number, name in enumerate(values)
        ],
        policies=[
            policy(name, f"features: {{ {one} }}\n{rest}")
            for name, one in zip(values, features, strict=False)
        ],
    )
    asked = 'SELECT policy_name, feature, "boolean", number, text, list FROM decision_features ORDER BY ALL'
    assert ledger.query(asked).rows == (
        ("first", "flag", True, None, None, None),
        ("first", "langs", None, None, None, ["de"]),
        ("first", "size", None, 3.0, None, None),
        ("first", "tier", None, None, "gold", None),
        ("second", "flag", None, None, "yes", None),
        ("second", "langs", None, None, None, ["0.5"]),
        ("second", "size", None, None, None, None),
        ("second", "tier", None, 7.0, None, None),
        ("unread", "other", None, 0.25, None, None),
        ("unread", "tier", None, None, None, ["x"]),
    )


def test_a_policy_without_features_has_no_struct() -> None:
    assert typed_features([{}, {}]) is None
