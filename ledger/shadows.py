"""Refuses a ledger with objects that shadow names in the ledger's own SQL.

A user's macros and types may have any name, even that of a DuckDB function; they are left alone unless the ledger's
statements or views use that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .connection import database
from .errors import ShadowedError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


FUNCTIONS: Final = frozenset(
    """
    * + - ->> / // arg_max array_extract bool_or contains count count_star duckdb_columns duckdb_databases
    duckdb_functions duckdb_tables duckdb_types duckdb_views from_json from_json_strict hex histogram
    json_extract json_extract_string json_type len list list_concat list_contains list_filter list_position
    list_transform list_value lower make_timestamp make_timestamptz map map_contains map_entries map_extract_value
    map_from_entries map_keys map_values max max_by min nullif quantile_cont range regexp_full_match replace row
    row_number sha256 string_split struct_extract struct_pack substr sum unhex unnest variant_extract variant_typeof ||
    ~~
    """.split()
)
"""Every function in the ledger's statements and views. Operators are functions too, and so are `a.b` and `[a]`."""

TABLE_FUNCTIONS: Final = frozenset(name for name in FUNCTIONS if name.startswith("duckdb_")) | {
    "histogram",
    "range",
    "unnest",
}
"""Those among them that a table macro could stand in for."""

TYPES: Final = frozenset({"json"})
"""Types that a file can redefine; DuckDB does not allow it for any other."""

TABLES: Final = frozenset(
    """
    attempt_rows decision_rows decisions_1 declarations erasures imported_attempts imported_decisions imported_outcomes
    imports in_flight log_leaves log_origin memory_states migrations model_states outcomes parts policies prunings
    rejected views_made writers
    """.split()
)
"""The ledger's tables."""

_MACROS: Final = """
SELECT DISTINCT CASE function_type WHEN 'table_macro' THEN 'MACRO TABLE' ELSE 'MACRO' END AS kind, function_name AS name
FROM duckdb_functions()
WHERE NOT internal AND schema_name = 'main' AND function_type IN ('macro', 'table_macro')
ORDER BY kind, name
"""

_OTHERS: Final = """
SELECT 'TYPE' AS kind, type_name AS name FROM duckdb_types() WHERE NOT internal AND schema_name = 'main'
UNION
SELECT 'VIEW', view_name FROM duckdb_views() WHERE NOT internal AND schema_name = 'main'
ORDER BY kind, name
"""

_OURS: Final = {"MACRO": FUNCTIONS, "MACRO TABLE": FUNCTIONS, "TYPE": TYPES, "VIEW": TABLES}


def refuse_shadows(connection: DuckDBPyConnection) -> None:
    """Raise ShadowedError, with the statements that drop them, if objects in the file shadow names of ours.

    The connection must resolve names to DuckDB's own objects first, and be in no transaction.
    """
    found = connection.execute(_OTHERS).fetchall()
    if _has_macros_of_our_names(connection):
        found = connection.execute(_MACROS).fetchall() + found
    statements = [
        f'DROP {kind} main."{name.replace(chr(34), chr(34) * 2)}"'
        for kind, name in found
        if name.lower() in _OURS[kind]
    ]
    if statements:
        raise ShadowedError(statements)


def _has_macros_of_our_names(connection: DuckDBPyConnection) -> bool:
    """Whether macros of these names cannot be made, as there are some; none is made.

    DuckDB lists the macros of a file only among its own three thousand functions, which takes several times as long.
    """
    import duckdb

    main = f"{database(connection)}.main"
    connection.execute("BEGIN")
    try:
        for names, body in ((FUNCTIONS, "1"), (TABLE_FUNCTIONS, "TABLE SELECT 1")):
            connection.execute(";".join(f'CREATE MACRO {main}."{name}"() AS {body}' for name in names))
    except duckdb.CatalogException:
        return True
    finally:
        connection.execute("ROLLBACK")
    return False
