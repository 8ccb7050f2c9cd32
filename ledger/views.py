"""Makes the views that people ask: from one file each, the currencies that were paid in, and what policies declare.

A view file says what ``all_NAME`` selects; ``NAME`` is what of it is executed, real traffic of one's own. For each
policy there are its decisions and attempts with its features in their types. Views are made anew when they change.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from .changed_features import changed_text
from .connection import database
from .declarations import (
    DeclaredFeatures,
    currencies,
    declared_features,
    local_features,
    quota_features,
    read_declarations,
)
from .errors import ShadowedError
from .typed_features import any_feature, named, quoted, typed_features

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_FOLDER: Final = Path(__file__).parent / "views"

DECISIONS: Final = "decision_records"

_SOURCES: Final = {
    # INVARIANT: rows of other origins join here, by UNION ALL BY NAME; else only in views that read single columns.
    "decisions": """(
    SELECT *, NULL::VARCHAR AS import FROM decision_records
    UNION ALL BY NAME
    SELECT * EXCLUDE (source_id, requested_model), 'imported' AS mode, tags['team'] AS team, tags['user'] AS "user"
    FROM imported_decisions
)""",
    "attempts": """(
    SELECT *, NULL::VARCHAR AS import FROM attempt_rows
    UNION ALL BY NAME
    SELECT * EXCLUDE (call_id, digest), false AS simulated FROM imported_attempts
)""",
    # What was corrected is no outcome.
    "outcomes": """(
    SELECT outcomes.*, NULL::VARCHAR AS import
    FROM outcomes
    ANTI JOIN (SELECT supersedes AS outcome_id FROM outcomes WHERE supersedes IS NOT NULL) USING (outcome_id)
    UNION ALL BY NAME
    SELECT *, import AS source FROM imported_outcomes
)""",
}
"""What stands for ``{{decisions}}``, ``{{attempts}}`` and so on: all rows, with the name of their import."""

_SIMULATED: Final = """(
    SELECT decision_id FROM {{attempts}} WHERE simulated UNION SELECT decision_id FROM decision_rows WHERE simulated
)"""
"""What stands for ``{{simulated}}``: the decisions of which a call was, or would have been."""

_REAL: Final = "NOT simulated AND import IS NULL AND mode NOT IN ('shadow', 'dry_run')"
"""What is executed, real traffic of one's own. A simulated call answers for nobody; a shadow was never carried out."""

_WITHOUT: Final[Mapping[str, Sequence[str]]] = {
    "decisions_flat": ("shadow_of",),
    "attempts_flat": ("called", "known_saved_{{currency}}"),
}
"""Columns that say nothing of what is executed and real, beside those of every view."""

_OF_POLICIES: Final = {"decisions_flat": "decisions", "attempts_flat": "attempts"}
"""Views that there are for each policy too, and how their names begin."""

DEFAULT_CURRENCY: Final = "USD"
"""There is always a column for it, so that statements can be written before anything was paid."""

_SHARED: Final = (
    "All of `{name}`, and what is simulated, shadow, dry run or imported: `simulated`, `mode`, `import` tell."
)


class Holding(NamedTuple):
    """What of a ledger the views follow from.

    ``currencies`` has codes by what the names of their columns end with, ``policies`` the features that the policies of
    each name declare, ``counted_by`` those by whose values quotas are counted, ``local`` those that keep work on local
    models.
    """

    currencies: Mapping[str, Sequence[str]] = {DEFAULT_CURRENCY.lower(): [DEFAULT_CURRENCY]}
    policies: Mapping[str, DeclaredFeatures] = {}
    counted_by: Sequence[str] = ()
    local: Sequence[str] = ()

    @property
    def declared(self) -> Mapping[str, set[str]]:
        """All features that any policy declares, in every spelling, with the types that they are declared with."""
        found: dict[str, set[str]] = {}
        for versions in self.policies.values():
            for one in versions:
                for name, type in one.items():
                    found.setdefault(name, set()).add(type)
        return found

    @property
    def whose(self) -> str:
        """SQL for the value of ``d`` that a quota as it was ``declared`` is counted for."""
        # Each by its name: one field of a VARIANT is read many times faster than the whole.
        cases = (
            f"WHEN {quoted(name)} THEN TRY_CAST(d.features.{named(name)} AS VARCHAR)"
            for name in self.counted_by
        )
        return f"(CASE declared.for_each {' '.join(cases)} END)" if self.counted_by else "NULL::VARCHAR"


class View(NamedTuple):
    """A view: its name, what its comment says, and the statement that it selects."""

    name: str
    comment: str
    select: str


class _File(NamedTuple):
    comment: str
    template: str


@cache
def _files() -> Mapping[str, _File]:
    """The view files by name, each after those that it selects from."""
    found = {path.stem.removeprefix("all_"): _read(path) for path in sorted(_FOLDER.glob("all_*.sql"))}
    needed = {
        name: {other for other in found if f"FROM all_{other}\n" in f"{one.template}\n"}
        for name, one in found.items()
    }
    return {name: found[name] for name in TopologicalSorter(needed).static_order()}


def _read(path: Path) -> _File:
    comment, _, template = path.read_text(encoding="utf-8").partition("\n")
    return _File(comment.removeprefix("-- "), template.strip())


@cache
def _decisions() -> _File:
    """The view of all decisions of one's own, which the others select from in place of a table."""
    return _read(_FOLDER / f"{DECISIONS}.sql")


DECISION_IDS: Final = """
SELECT decision_id, at_us FROM main.decision_rows UNION ALL SELECT decision_id, at_us FROM main.decisions_1
"""
"""Id and time of every decision, from tables alone."""


def decisions_select(features: str | None = None) -> str:
    """What the view ``decision_records`` selects, for statements of ours: somebody may have replaced the view.

    ``features`` is SQL for what stands there in place of the features of ``d``.
    """
    rows = "decision_rows"
    if features is not None:
        # At the scan itself: there DuckDB reads single fields of a VARIANT.
        rows = f"(SELECT d.* REPLACE ({features} AS features) FROM {rows} AS d)"
    template = _decisions().template.replace("{{decision_rows}}", rows)
    return template.replace("{{features}}", features or "d.features")


def view_names() -> tuple[str, ...]:
    """The plain names of all views but those of policies; each has its ``all_NAME`` too."""
    return tuple(_files())


def selected(name: str, holding: Holding) -> str:
    """The statement of the view ``all_NAME``."""
    return _filled(_files()[name].template, holding)


def simulated_select(name: str) -> str:
    """The statement of what the view ``NAME`` would hold if only simulated work were real."""
    called = " AND called" if name.startswith("attempts_") else ""
    return f'SELECT * FROM main."all_{name}" WHERE simulated{called}'


def plain_names(names: Collection[str]) -> tuple[str, ...]:
    """Those of the names of a ledger's tables and views that are plain names of views, of policies too."""
    of_policies = tuple(f"{prefix}_" for prefix in _OF_POLICIES.values())
    found = (one for one in names if one.startswith(of_policies) and f"all_{one}" in names)
    return tuple(dict.fromkeys((*view_names(), *found)))


def views(holding: Holding) -> Iterator[View]:
    """Every view, each after those that it selects from."""
    yield View(DECISIONS, _decisions().comment, decisions_select())
    for name, (comment, template) in _files().items():
        yield View(f"all_{name}", _SHARED.format(name=name), _filled(template, holding))
        yield View(name, comment, _plain(name, f"all_{name}", holding))
    taken = {DECISIONS, *(one for name in _files() for one in (name, f"all_{name}"))}
    for policy, features in holding.policies.items():
        for name, prefix in _OF_POLICIES.items():
            template = _files()[name].template
            view = _free(f"{prefix}_{_identifier(policy)}", taken)
            comment = f"The rows of `{name}` of the policy `{policy}`, with its features in their types."
            comment += changed_text(features)
            typed = typed_features(features)
            full = _filled(
                template,
                holding,
                # What was imported has no policy of ours.
                decisions=f"(SELECT *, NULL::VARCHAR AS import FROM ({decisions_select(typed)}))",
                features="d.features," if typed else "",
                policy=f"WHERE (d.policy_name = {quoted(policy)})",
            )
            yield View(f"all_{view}", _SHARED.format(name=view) + changed_text(features), full)
            yield View(view, comment, _plain(name, f"all_{view}", holding))


def _plain(name: str, all_name: str, holding: Holding) -> str:
    columns = ["simulated", "import", *_WITHOUT.get(name, ())]
    excluded = ", ".join(_repeated(columns, holding))
    # What was skipped, or answered from the cache, was no call.
    called = " AND called" if "called" in columns else ""
    return f'SELECT * EXCLUDE ({excluded})\nFROM "{all_name}"\nWHERE {_REAL}{called}'


def _filled(template: str, holding: Holding, **parts: str) -> str:
    fixed = {
        "simulated": _SIMULATED,
        "whose": holding.whose,
        "local": f"[{', '.join(map(quoted, holding.local))}]::VARCHAR[]",
        "features": "",
        "policy": "",
    }
    for name, part in (fixed | _SOURCES | parts).items():
        template = template.replace(f"{{{{{name}}}}}", part)
    return "\n".join(_repeated(filter(str.strip, template.split("\n")), holding))


def _repeated(lines: Iterable[str], holding: Holding) -> Iterator[str]:
    """The lines, each that is of a currency once for each currency, and of a feature once for each."""
    for line in lines:
        if "{{feature}}" in line:
            for name, types in holding.declared.items():
                yield line.replace("{{feature}}", quoted(name)).replace(
                    "{{values}}", any_feature(name, types)
                )
            continue
        if "{{currency}}" not in line:
            yield line
            continue
        for suffix, codes in holding.currencies.items():
            listed = ", ".join(map(quoted, codes))
            yield line.replace("{{currency}}", suffix).replace("{{codes}}", listed)


def cost_column(currency: str) -> str:
    """The column of views that holds what is known to have been paid in a currency."""
    return f"known_cost_{_identifier(currency)}"


def _identifier(name: str) -> str:
    """A policy's name as part of a plain SQL name: in lower case, with `_` for every other sign."""
    return re.sub(r"[^a-z0-9_]", "_", name.lower())


def _free(name: str, taken: set[str]) -> str:
    """``name``, or it with a suffix where another view has it; with its ``all_`` form it is then ``taken``."""
    while name in taken or f"all_{name}" in taken:
        name += "_policy"
    taken |= {name, f"all_{name}"}
    return name


def make_views(connection: DuckDBPyConnection) -> None:
    """Make the views anew if they are not what they should be for what the ledger holds. Ends no transaction.

    Raises ShadowedError, with the statements that rename them, if tables of the user have names of views.
    """
    read_declarations(connection)
    suffixes: dict[str, list[str]] = {}
    for code in dict.fromkeys((DEFAULT_CURRENCY, *currencies(connection))):
        suffixes.setdefault(_identifier(code), []).append(code)
    holding = Holding(
        suffixes, declared_features(connection), quota_features(connection), local_features(connection)
    )
    wanted = tuple(views(holding))
    [[layout]] = connection.execute("SELECT max(version) FROM migrations").fetchall()
    digested = _digested(wanted, layout)
    made = {digest for (digest,) in connection.execute("SELECT digest FROM views_made").fetchall()}
    if made == digested.keys():
        return
    _refuse_tables(connection, wanted)
    here = f"{database(connection)}.main"
    for view in (view for digest, view in digested.items() if digest not in made):
        connection.execute(f'CREATE OR REPLACE VIEW {here}."{view.name}" AS\n{view.select}')
        connection.execute(f'COMMENT ON VIEW {here}."{view.name}" IS {quoted(view.comment)}')
    connection.execute("DELETE FROM views_made")
    connection.execute("INSERT INTO views_made SELECT unnest(?::VARCHAR[])", [list(digested)])


@lru_cache(maxsize=16)
def _digested(wanted: tuple[View, ...], layout: int) -> Mapping[str, View]:
    """The views, in their order, each by a digest of it, of those that it selects from and of the tables' layout.

    A view has to be made anew where one of these is, as DuckDB keeps the columns that it had.
    """
    digests: dict[str, str] = {}
    for view in wanted:
        words = set(re.findall(r"\w+", view.select))
        needed = [digest for name, digest in digests.items() if name in words]
        digests[view.name] = hashlib.sha256(repr((view, needed, layout)).encode()).hexdigest()
    return {digests[view.name]: view for view in wanted}


def _refuse_tables(connection: DuckDBPyConnection, wanted: Iterable[View]) -> None:
    names = {view.name for view in wanted}
    tables = connection.execute("SELECT table_name FROM duckdb_tables() WHERE NOT internal").fetchall()
    taken = sorted(name for (name,) in tables if name.lower() in names)
    if taken:
        raise ShadowedError([f'ALTER TABLE main."{name}" RENAME TO "{name}_of_mine"' for name in taken])
