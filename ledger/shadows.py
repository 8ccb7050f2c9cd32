"""Refuses a ledger with objects that shadow names in the ledger's own SQL.

A user's macros and types may have any name, even that of a DuckDB function; they are left alone unless the ledger's
statements or views use that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .errors import ShadowedError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


FUNCTIONS: Final = frozenset(
    """
    * + - ->> / arg_max array_extract bool_or count count_star duckdb_columns duckdb_databases
    duckdb_functions duckdb_tables duckdb_types duckdb_views from_json from_json_strict histogram json_extract
    json_type len list_concat list_contains list_filter list_transform list_value make_timestamp
    make_timestamptz map map_entries map_extract_value map_from_entries map_keys map_values max min nullif
    quantile_cont sha256 struct_extract struct_pack sum unnest variant_extract || ~~
    """.split()
)
"""Every function in the ledger's statements and views. Operators are functions too, and so are `a.b` and `[a]`."""

TYPES: Final = frozenset({"json"})
"""Types that a file can redefine; DuckDB does not allow it for any other."""

TABLES: Final = frozenset(
    {
        "attempts",
        "declarations",
        "decisions",
        "in_flight",
        "migrations",
        "policies",
        "rejected",
        "views_made",
        "writers",
    }
)
"""The ledger's tables."""

_FOUND: Final = """
SELECT CASE function_type WHEN 'table_macro' THEN 'MACRO TABLE' ELSE 'MACRO' END AS kind, function_name AS name
FROM duckdb_functions()
WHERE NOT internal AND schema_name = 'main' AND function_type IN ('macro', 'table_macro')
UNION
SELECT 'TYPE', type_name FROM duckdb_types() WHERE NOT internal AND schema_name = 'main'
UNION
SELECT 'VIEW', view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'
ORDER BY kind, name
"""

_OURS: Final = {"MACRO": FUNCTIONS, "MACRO TABLE": FUNCTIONS, "TYPE": TYPES, "VIEW": TABLES}


def refuse_shadows(connection: DuckDBPyConnection) -> None:
    """Raise ShadowedError, with the statements that drop them, if objects in the file shadow names of ours.

    The connection must resolve names to DuckDB's own objects first.
    """
    statements = [
        f'DROP {kind} main."{name.replace(chr(34), chr(34) * 2)}"'
        for kind, name in connection.execute(_FOUND).fetchall()
        if name.lower() in _OURS[kind]
    ]
    if statements:
        raise ShadowedError(statements)
