"""Fits the outcome model of the doubly robust estimate: means by context and action, from the other folds."""

from __future__ import annotations

from typing import Final

from .weighing import FOLDS, Weighed

LEAST_ROWS: Final = 10
"""Of an action in a context, in the other folds: with fewer, the mean of the action anywhere stands in."""


def fit(weighed: Weighed, metric: int) -> None:
    """Write ``model``: for each context, action and fold ``value``, the mean of the outcome with 0 where it was not
    measured, and ``seen``, the share that was measured. No row of the fold itself has a part in them. An action
    that no other fold has gets 0 for both: nothing is then taken from the model.
    """
    weighed.drop(weighed.model)
    weighed.connection.execute(
        f"""
        CREATE TEMP TABLE {weighed.model} AS
        WITH cells AS (
            SELECT context, action, unit % {FOLDS} AS fold,
                count(*) AS n, sum(coalesce(l{metric}, 0)) AS value, count(l{metric}) AS seen
            FROM {weighed.logged} GROUP BY ALL
        ),
        actions AS (
            SELECT action, fold, sum(n) AS n, sum(value) AS value, sum(seen) AS seen FROM cells GROUP BY ALL
        ),
        folds AS (SELECT unnest(range({FOLDS}))::UBIGINT AS fold),
        wanted AS (SELECT DISTINCT context, action FROM {weighed.pairs} WHERE kind = 'random'),
        near AS (
            SELECT w.context, w.action, f.fold, sum(c.n) AS n, sum(c.value) AS value, sum(c.seen) AS seen
            FROM wanted AS w CROSS JOIN folds AS f LEFT JOIN cells AS c
                ON c.context IS NOT DISTINCT FROM w.context AND c.action = w.action AND c.fold <> f.fold
            GROUP BY ALL
        ),
        anywhere AS (
            SELECT a.action, f.fold, sum(a.n) AS n, sum(a.value) AS value, sum(a.seen) AS seen
            FROM folds AS f JOIN actions AS a ON a.fold <> f.fold
            GROUP BY ALL
        )
        SELECT near.context, near.action, near.fold,
            CASE WHEN near.n >= {LEAST_ROWS} THEN near.value / near.n
                ELSE coalesce(anywhere.value / anywhere.n, 0) END AS value,
            CASE WHEN near.n >= {LEAST_ROWS} THEN near.seen / near.n
                ELSE coalesce(anywhere.seen / anywhere.n, 0) END AS seen
        FROM near LEFT JOIN anywhere USING (action, fold)
        """
    )
