"""Forty questions in three phrasings each, and what Python says the answer is.

A phrasing gives the right rows, or, where it is marked by ``Refused``, an error: never another number. Statements are
as people write them who have looked at the names of views and columns, and at nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from .world import Call, Made, World, id_of

Row = tuple[Any, ...]


class Refused(str):
    """A statement that gives an error."""


@dataclass(frozen=True)
class Asking:
    """A world, when it is asked, and the zone of the session."""

    world: World
    now: datetime
    zone: ZoneInfo

    def since(self, ago: timedelta) -> list[Made]:
        return [one for one in self.world.decisions if one.at > self.now - ago]

    def day(self, at: datetime) -> str:
        return at.astimezone(self.zone).date().isoformat()

    @property
    def today(self) -> str:
        return self.day(self.now)

    def calls(self, wanted: Callable[[Made, Call], bool] = lambda d, c: True) -> list[Call]:
        return [call for d, call, _ in self.world.calls if wanted(d, call)]


@dataclass(frozen=True)
class Question:
    name: str
    answer: Callable[[Asking], Iterable[Row]]
    phrasings: Sequence[str]


def money(calls: Iterable[Call], currency: str = "USD") -> Decimal | None:
    """The known cost; None where none is known. A failure that cost nothing has none."""
    known = [
        Decimal(call.cost)
        for call in calls
        if call.cost is not None and call.currency == currency and (Decimal(call.cost) or call.status == "ok")
    ]
    return sum(known, Decimal(0)) if known else None


def mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def quantile(values: Iterable[float], q: float) -> float:
    """As DuckDB's ``quantile_cont``."""
    ordered = sorted(values)
    at = q * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)


def latency(made: Made) -> float | None:
    answer = made.answer
    return made.took_ms if answer is not None and answer.status == "ok" else None


def grouped(rows: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = {}
    for key, value in rows:
        found.setdefault(key, []).append(value)
    return found


def hybrid(a: Asking) -> list[Made]:
    return [one for one in a.world.decisions if one.policy == "hybrid"]


def tier(made: Made) -> str | None:
    value = made.values.get("tier")
    return None if value is None else str(value)


def fell_back(made: Made) -> bool:
    return sum(call.role in ("answer", "fallback") for call in made.calls) > 1


HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)

QUESTIONS: Sequence[Question] = (
    # --- times and days -------------------------------------------------------------------------------------
    Question(
        "how many decisions in the last hour",
        lambda a: [(len(a.since(HOUR)),)],
        (
            "SELECT count(*) FROM decisions_flat WHERE decided_at > now() - INTERVAL 1 HOUR",
            "SELECT count(decision_id) FROM decisions_flat WHERE now() - decided_at < INTERVAL '1 hour'",
            "SELECT count(*) FROM decisions_flat WHERE decided_at >= current_timestamp - INTERVAL '60 minutes'",
        ),
    ),
    Question(
        "how many decisions today",
        lambda a: [(sum(a.day(one.at) == a.today for one in a.world.decisions),)],
        (
            "SELECT count(*) FROM decisions_flat WHERE day = current_date",
            "SELECT count(*) FROM decisions_flat WHERE decided_at >= current_date",
            "SELECT coalesce(sum(decisions), 0) FROM routing_daily WHERE day = today()",
        ),
    ),
    Question(
        "decisions by day",
        lambda a: Counter(a.day(one.at) for one in a.world.decisions).items(),
        (
            "SELECT day, count(*) FROM decisions_flat GROUP BY day ORDER BY day",
            "SELECT decided_at::DATE, count(*) FROM decisions_flat GROUP BY 1",
            "SELECT day, sum(decisions) AS n FROM routing_daily GROUP BY ALL ORDER BY day",
        ),
    ),
    Question(
        "calls by day",
        lambda a: Counter(a.day(at) for _, _, at in a.world.calls).items(),
        (
            "SELECT day, count(*) FROM attempts_flat GROUP BY day",
            "SELECT date_trunc('day', started_at)::DATE AS day, count(*) FROM attempts_flat GROUP BY ALL",
            "SELECT day, sum(calls) FROM success_rate GROUP BY day",
        ),
    ),
    Question(
        "the newest decision",
        lambda a: [(id_of(max(a.world.decisions, key=lambda one: one.at)),)],
        (
            "SELECT decision_id FROM decisions_flat ORDER BY decided_at DESC LIMIT 1",
            "SELECT max(decision_id) FROM decisions_flat",
            "SELECT arg_max(decision_id, decided_at) FROM decisions_flat",
        ),
    ),
    Question(
        "what happened before last week",
        lambda a: [(len(a.world.decisions) - len(a.since(WEEK)),)],
        (
            "SELECT count(*) FROM decisions_flat WHERE decided_at < now() - INTERVAL 7 DAYS",
            "SELECT count(*) FROM decisions_flat WHERE NOT decided_at > now() - INTERVAL 1 WEEK",
            "SELECT sum(decisions) FROM routing_daily WHERE day < current_date - 7",
        ),
    ),
    # --- where work goes ------------------------------------------------------------------------------------
    Question(
        "how many decisions each rule won",
        lambda a: Counter(one.rule for one in a.world.decisions).items(),
        (
            "SELECT matched_rule, count(*) FROM decisions_flat GROUP BY matched_rule",
            "SELECT matched_rule, sum(decisions) FROM routing_daily GROUP BY 1",
            "SELECT rule, sum(won) FROM rule_hits GROUP BY rule HAVING sum(won) > 0",
        ),
    ),
    Question(
        "rules that never won",
        lambda a: [("never",)],
        (
            "SELECT rule FROM rule_hits GROUP BY rule HAVING sum(won) = 0",
            "SELECT rule FROM rule_hits GROUP BY ALL HAVING max(won) = 0",
            "SELECT DISTINCT rule FROM rule_hits WHERE rule NOT IN (SELECT matched_rule FROM decisions_flat)",
        ),
    ),
    Question(
        "where decisions go",
        lambda a: Counter(one.target for one in a.world.decisions).items(),
        (
            "SELECT target, count(*) FROM decisions_flat GROUP BY target",
            "SELECT target, sum(decisions) FROM routing_daily GROUP BY ALL",
            "SELECT target, count(DISTINCT decision_id) FROM decisions_flat GROUP BY ALL",
        ),
    ),
    Question(
        "dead ends",
        lambda a: [(sum(one.target is None for one in a.world.decisions),)],
        (
            "SELECT count(*) FROM decisions_flat WHERE outcome <> 'routed'",
            "SELECT count(*) FROM decisions_flat WHERE target IS NULL",
            "SELECT sum(decisions) FROM routing_daily WHERE outcome = 'no_target'",
        ),
    ),
    Question(
        "calls of each model",
        lambda a: Counter(call.model for call in a.calls()).items(),
        (
            "SELECT model_id, count(*) FROM attempts_flat GROUP BY model_id",
            "SELECT model_id, sum(calls) FROM cost_daily GROUP BY ALL",
            "SELECT model_id, sum(calls) FROM success_rate GROUP BY model_id",
        ),
    ),
    Question(
        "calls of each decision on average",
        lambda a: [(mean(sum(call.made for call in one.calls) for one in a.world.decisions),)],
        (
            "SELECT avg(calls) FROM decisions_flat",
            "SELECT sum(calls) / count(*) FROM decisions_flat",
            "SELECT (SELECT count(*) FROM attempts_flat) / (SELECT count(*) FROM decisions_flat)",
        ),
    ),
    Question(
        "private work that went to the cloud",
        lambda a: [
            (
                sum(
                    d.policy == "hybrid" and d.values["private"] and c.location == "cloud"
                    for d, c, _ in a.world.calls
                ),
            )
        ],
        (
            "SELECT count(*) FROM attempts_hybrid WHERE features.private AND location = 'cloud'",
            "SELECT count(*) FROM attempts_hybrid WHERE features.private = true AND location != 'local'",
            "SELECT count(*) FROM attempts_flat WHERE location = 'cloud' AND decision_id IN "
            "(SELECT decision_id FROM decision_features WHERE feature = 'private' AND boolean)",
        ),
    ),
    Question(
        "hosts that were called",
        lambda a: [(host,) for host in {None if c.location == "local" else "ollama.com" for c in a.calls()}],
        (
            "SELECT DISTINCT host FROM attempts_flat",
            "SELECT host FROM attempts_flat GROUP BY host",
            "SELECT host FROM attempts_flat GROUP BY ALL",
        ),
    ),
    # --- what is not real -----------------------------------------------------------------------------------
    Question(
        "how many decisions were simulated",
        lambda a: [(sum(any(c.simulated for c in one.calls) for one in a.world.rows),)],
        (
            "SELECT count(*) FROM all_decisions_flat WHERE simulated",
            "SELECT sum(decisions) FROM all_routing_daily WHERE simulated",
            Refused("SELECT count(*) FROM decisions_flat WHERE simulated"),
        ),
    ),
    Question(
        "how many shadows decided",
        lambda a: [(sum(one.mode == "shadow" for one in a.world.rows),)],
        (
            "SELECT count(*) FROM all_decisions_flat WHERE mode = 'shadow'",
            "SELECT count(*) FROM all_decisions_flat WHERE shadow_of IS NOT NULL",
            Refused("SELECT count(*) FROM decisions_flat WHERE shadow_of IS NOT NULL"),
        ),
    ),
    Question(
        "what the shadow would have done otherwise",
        lambda a: [("tiny", "kimi", 1)],
        (
            "SELECT control_target, candidate_target, count(*) FROM rollout_differences WHERE differs GROUP BY ALL",
            "SELECT control_target, candidate_target, count(*) FROM rollout_differences "
            "WHERE control_target <> candidate_target GROUP BY 1, 2",
            "SELECT control_target, candidate_target, count(decision_id) FROM rollout_differences "
            "WHERE day >= current_date - 1 AND differs GROUP BY ALL",
        ),
    ),
    Question(
        "the arms of the canary",
        lambda a: Counter(one.arm for one in a.world.decisions if one.mode == "canary").items(),
        (
            "SELECT arm, decisions FROM rollout_arms WHERE mode = 'canary'",
            "SELECT arm, count(*) FROM decisions_flat WHERE mode = 'canary' GROUP BY arm",
            "SELECT arm, sum(decisions) FROM rollout_arms WHERE mode = 'canary' GROUP BY ALL",
        ),
    ),
    # --- money ----------------------------------------------------------------------------------------------
    Question(
        "what was spent in dollars",
        lambda a: [(money(a.calls()),)],
        (
            "SELECT sum(known_cost_usd) FROM attempts_flat",
            "SELECT sum(known_cost_usd) FROM cost_daily",
            "SELECT sum(known_cost_usd) FROM decisions_flat",
        ),
    ),
    Question(
        "what was spent in each currency",
        lambda a: [(money(a.calls()), money(a.calls(), "EUR"))],
        (
            "SELECT sum(known_cost_usd), sum(known_cost_eur) FROM cost_daily",
            "SELECT sum(COLUMNS('^known_cost_')) FROM decisions_flat",
            Refused("SELECT currency, sum(cost) FROM attempts_flat GROUP BY currency"),
        ),
    ),
    Question(
        "what was spent, whatever the currency",
        lambda a: [],
        (
            Refused("SELECT sum(cost) FROM attempts_flat"),
            Refused("SELECT sum(known_cost) FROM cost_daily"),
            Refused("SELECT sum(known_cost) FROM decisions_flat"),
        ),
    ),
    Question(
        "how many calls have no known cost",
        lambda a: [(sum(call.cost is None for call in a.calls()),)],
        (
            "SELECT sum(unknown_cost_calls) FROM attempts_flat",
            "SELECT sum(unknown_cost_calls) FROM cost_daily",
            "SELECT sum(unknown_cost_calls) FROM decisions_flat",
        ),
    ),
    Question(
        "how many costs are only a lower bound",
        lambda a: [(sum(call.least for call in a.calls()),)],
        (
            "SELECT sum(lower_bound_calls) FROM cost_daily",
            "SELECT sum(lower_bound_calls) FROM decisions_flat",
            "SELECT count(*) FROM attempts_flat WHERE cost_source = 'lower_bound'",
        ),
    ),
    Question(
        "cost by team in the last day",
        lambda a: [
            (team, money(calls))
            for team, calls in grouped(
                (d.whose_team, c) for d, c, at in a.world.calls if at > a.now - DAY
            ).items()
        ],
        (
            "SELECT team, sum(known_cost_usd) FROM attempts_flat WHERE started_at > now() - INTERVAL 1 DAY "
            "GROUP BY team",
            "SELECT team, sum(known_cost_usd) FROM decisions_flat WHERE decided_at > now() - INTERVAL 24 HOURS "
            "AND calls > 0 GROUP BY ALL",
            "SELECT team, sum(known_cost_usd) AS spent FROM attempts_flat "
            "WHERE started_at >= now() - INTERVAL '1 day' GROUP BY 1 ORDER BY spent DESC",
        ),
    ),
    Question(
        "cost by user",
        lambda a: [
            (user, money(calls)) for user, calls in grouped((d.user, c) for d, c, _ in a.world.calls).items()
        ],
        (
            "SELECT user, sum(known_cost_usd) FROM attempts_flat GROUP BY user",
            "SELECT user, sum(known_cost_usd) FROM cost_daily GROUP BY user",
            "SELECT tags['user'], sum(known_cost_usd) FROM cost_daily GROUP BY 1",
        ),
    ),
    Question(
        "average cost of a call of kimi",
        lambda a: [
            (
                mean(
                    float(c.cost)
                    for c in a.calls(lambda d, c: c.model == "kimi")
                    if c.cost is not None and (Decimal(c.cost) or c.status == "ok")
                ),
            )
        ],
        (
            "SELECT avg(known_cost_usd) FROM attempts_flat WHERE model_id = 'kimi'",
            "SELECT sum(known_cost_usd) / count(known_cost_usd) FROM attempts_flat WHERE model_id = 'kimi'",
            Refused("SELECT avg(cost) FROM attempts_flat WHERE model_id = 'kimi'"),
        ),
    ),
    Question(
        "what the cache saved",
        lambda a: [
            (sum(c.status == "cached" for _, c, _ in a.world.attempts), Decimal("0.5")),
        ],
        (
            "SELECT count(*), sum(known_saved_usd) FROM cache_hits",
            "SELECT count(*) AS hits, sum(known_saved_usd) AS saved FROM cache_hits WHERE day > current_date - 30",
            Refused("SELECT count(*), sum(saved) FROM attempts_flat WHERE cached"),
        ),
    ),
    # --- joins ----------------------------------------------------------------------------------------------
    Question(
        "cost and latency of decisions, joined with their calls",
        lambda a: [(money(a.calls()), mean(latency(one) for one in a.world.decisions))],
        (
            Refused(
                "SELECT sum(d.known_cost_usd), avg(d.latency_ms) FROM decisions_flat d "
                "JOIN attempts_flat a USING (decision_id)"
            ),
            Refused(
                "SELECT sum(d.known_cost_usd), avg(d.latency_ms) FROM decisions_flat d, attempts_flat a "
                "WHERE a.decision_id = d.decision_id"
            ),
            "SELECT sum(known_cost_usd), avg(latency_ms) FROM decisions_flat",
        ),
    ),
    Question(
        "decisions of which a call failed",
        lambda a: [
            (sum(any(c.status in ("failed", "partial") for c in one.calls) for one in a.world.decisions),)
        ],
        (
            "SELECT count(*) FROM decisions_flat WHERE decision_id IN "
            "(SELECT decision_id FROM attempts_flat WHERE error_class IS NOT NULL)",
            "SELECT count(*) FROM decisions_flat WHERE failed_calls > 0",
            Refused(
                "SELECT count(*) FROM decisions_flat d NATURAL JOIN attempts_flat a WHERE error_class IS NOT NULL"
            ),
        ),
    ),
    Question(
        "cost of work above 0.7, by complexity",
        lambda a: [
            (
                money(
                    c
                    for d, c, _ in a.world.calls
                    if d.policy == "hybrid" and (d.values.get("complexity") or 0) > 0.7
                ),
            )
        ],
        (
            "SELECT sum(known_cost_usd) FROM attempts_hybrid WHERE features.complexity > 0.7",
            "SELECT sum(known_cost_usd) FROM decisions_hybrid WHERE features.complexity > 0.7",
            Refused(
                "SELECT sum(h.known_cost_usd) FROM decisions_hybrid h JOIN attempts_flat a USING (decision_id) "
                "WHERE h.features.complexity > 0.7"
            ),
        ),
    ),
    # --- latency --------------------------------------------------------------------------------------------
    Question(
        "average latency of each model",
        lambda a: [
            (model, mean(call.ms - call.load_ms for call in calls if call.ms is not None))
            for model, calls in grouped((c.model, c) for c in a.calls(lambda d, c: c.status == "ok")).items()
        ],
        (
            "SELECT model_id, avg(latency_ms) FROM model_latency GROUP BY model_id",
            "SELECT model_id, avg(latency_ms) FROM attempts_flat GROUP BY model_id",
            "SELECT model_id, sum(latency_ms) / count(latency_ms) AS ms FROM attempts_flat GROUP BY ALL ORDER BY ms",
        ),
    ),
    Question(
        "p95 of each model",
        lambda a: [
            (model, quantile([call.ms - call.load_ms for call in calls if call.ms is not None], 0.95))
            for model, calls in grouped((c.model, c) for c in a.calls(lambda d, c: c.status == "ok")).items()
        ],
        (
            "SELECT model_id, quantile_cont(latency_ms, 0.95) FROM model_latency GROUP BY ALL",
            Refused("SELECT model_id, avg(p95_ms) FROM model_latency GROUP BY ALL"),
            Refused("SELECT model_id, p95_ms FROM model_latency"),
        ),
    ),
    Question(
        "how long a decision takes",
        lambda a: [(mean(latency(one) for one in a.world.decisions),)],
        (
            "SELECT avg(latency_ms) FROM decisions_flat",
            "SELECT avg(latency_ms) FROM decisions_flat WHERE answered",
            "SELECT mean(latency_ms) FROM decisions_flat WHERE status = 'ok'",
        ),
    ),
    Question(
        "the slowest decision",
        lambda a: [(max(filter(None, map(latency, a.world.decisions))),)],
        (
            "SELECT max(latency_ms) FROM decisions_flat",
            "SELECT latency_ms FROM decisions_flat ORDER BY latency_ms DESC NULLS LAST LIMIT 1",
            "SELECT latency_ms FROM decisions_flat WHERE latency_ms IS NOT NULL ORDER BY 1 DESC LIMIT 1",
        ),
    ),
    # --- success --------------------------------------------------------------------------------------------
    Question(
        "success rate of each model",
        lambda a: [
            (model, mean(call.status == "ok" for call in calls))
            for model, calls in grouped((c.model, c) for c in a.calls()).items()
        ],
        (
            "SELECT model_id, sum(ok) / sum(calls) FROM success_rate GROUP BY model_id",
            "SELECT model_id, count(*) FILTER (status = 'ok') / count(*) FROM attempts_flat GROUP BY model_id",
            Refused("SELECT model_id, avg(success_rate) FROM success_rate GROUP BY model_id"),
        ),
    ),
    Question(
        "what failed, by kind",
        lambda a: Counter(c.error for c in a.calls() if c.error is not None).items(),
        (
            "SELECT error_class, count(*) FROM attempts_flat WHERE error_class IS NOT NULL GROUP BY error_class",
            "SELECT error_class, count(*) FROM attempts_flat WHERE status IN ('failed', 'partial') GROUP BY ALL",
            "SELECT error_class, count(failed_after_ms) FROM attempts_flat GROUP BY 1 HAVING error_class IS NOT NULL",
        ),
    ),
    Question(
        "share of decisions that fell back",
        lambda a: [(mean(fell_back(one) for one in a.world.decisions if one.calls),)],
        (
            "SELECT sum(fell_back) / sum(executed) FROM fallback_frequency",
            "SELECT count(*) FILTER (fell_back) / count(*) FROM decisions_flat WHERE executed",
            Refused("SELECT avg(fallback_rate) FROM fallback_frequency"),
        ),
    ),
    Question(
        "share of decisions that were answered",
        lambda a: [(mean(one.answered is not None for one in a.world.decisions),)],
        (
            "SELECT count(*) FILTER (answered) / count(*) FROM decisions_flat",
            "SELECT sum(answered) / sum(decisions) FROM routing_daily",
            Refused("SELECT avg(answered) FROM decisions_flat"),
        ),
    ),
    # --- features -------------------------------------------------------------------------------------------
    Question(
        "average complexity",
        lambda a: [(mean(one.values.get("complexity") for one in hybrid(a)),)],
        (
            "SELECT avg(features.complexity) FROM decisions_hybrid",
            "SELECT avg(number) FROM decision_features WHERE feature = 'complexity'",
            Refused("SELECT avg(features.complexity) FROM decisions_flat"),
        ),
    ),
    Question(
        "how many decisions are complex",
        lambda a: [(sum((one.values.get("complexity") or 0) > 0.7 for one in hybrid(a)),)],
        (
            "SELECT count(*) FROM decisions_hybrid WHERE features.complexity > 0.7",
            "SELECT count(*) FROM decision_features WHERE feature = 'complexity' AND number > 0.7",
            Refused("SELECT count(*) FROM decision_features WHERE feature = 'complexity' AND value > 0.7"),
        ),
    ),
    Question(
        "decisions by a feature whose type changed",
        lambda a: Counter(map(tier, hybrid(a))).items(),
        (
            "SELECT features.tier, count(*) FROM decisions_hybrid GROUP BY features.tier",
            "SELECT features.tier AS tier, count(*) FROM decisions_hybrid GROUP BY ALL",
            "SELECT features['tier'], count(*) FROM decisions_hybrid GROUP BY 1",
        ),
    ),
    Question(
        "decisions of another policy, by a feature with the name of a column",
        lambda a: [("new", 1)],
        (
            "SELECT features.status, count(*) FROM decisions_small_models GROUP BY ALL",
            "SELECT features.status, count(*) FROM attempts_small_models WHERE features.size > 4.5 GROUP BY ALL",
            "SELECT text, count(*) FROM decision_features WHERE feature = 'status' GROUP BY text",
        ),
    ),
    Question(
        "how often tier was missing",
        lambda a: [(sum("tier" in one.unknown for one in a.world.decisions),)],
        (
            "SELECT sum(unknown) FROM unknown_features WHERE feature = 'tier'",
            "SELECT count(*) FROM decision_features WHERE feature = 'tier' AND source = 'unknown'",
            Refused("SELECT avg(unknown_rate) FROM unknown_features WHERE feature = 'tier'"),
        ),
    ),
    Question(
        "how often complexity was given as null",
        lambda a: [(1,)],
        (
            "SELECT sum(given_as_null) FROM unknown_features WHERE feature = 'complexity'",
            "SELECT count(*) FROM decision_features WHERE feature = 'complexity' AND source = 'given' "
            "AND number IS NULL",
            "SELECT sum(given_as_null) FROM unknown_features WHERE day >= current_date - 2",
        ),
    ),
    Question(
        "average length of an answer",
        lambda a: [(mean(c.output_tokens or None for c in a.calls()),)],
        (
            "SELECT avg(output_tokens) FROM attempts_flat",
            "SELECT sum(output_tokens) / count(output_tokens) FROM attempts_flat",
            "SELECT mean(output_tokens) FROM attempts_flat WHERE output_tokens IS NOT NULL",
        ),
    ),
    Question(
        "calls that were passed over",
        lambda a: [("kimi", sum(c.status == "skipped" for _, c, _ in a.world.attempts))],
        (
            "SELECT model_id, count(*) FROM skipped_calls GROUP BY model_id",
            "SELECT model_id, count(*) FROM skipped_calls WHERE reason LIKE '%breaker%' GROUP BY ALL",
            "SELECT model_id, count(*) FROM all_attempts_flat WHERE status = 'skipped' AND NOT simulated GROUP BY ALL",
        ),
    ),
    Question(
        "mean score by model",
        lambda a: [("kimi", 0.9), ("glm", 0.4), ("tiny", 0.7)],
        (
            "SELECT model_id, avg(scores['score']) FROM outcomes_flat GROUP BY model_id",
            "SELECT model_id, avg(scores.score) FROM outcomes_flat WHERE day >= current_date - 7 GROUP BY ALL",
            Refused("SELECT model_id, avg(scores) FROM outcomes_flat GROUP BY ALL"),
        ),
    ),
    Question(
        "what traffic elsewhere cost, by model",
        lambda a: [("kimi", Decimal(70), None, 1), ("elsewhere", None, Decimal(80), 0)],
        (
            "SELECT model_id, sum(known_cost_usd), sum(known_cost_eur), sum(unknown_cost_calls) "
            "FROM all_attempts_flat WHERE import = 'elsewhere' GROUP BY model_id",
            "SELECT model_id, sum(known_cost_usd), sum(known_cost_eur), sum(unknown_cost_calls) "
            "FROM all_cost_daily WHERE import IS NOT NULL GROUP BY ALL",
            "SELECT model_id, sum(known_cost_usd), sum(known_cost_eur), sum(unknown_cost_calls) "
            "FROM all_attempts_flat WHERE mode = 'imported' AND started_at > now() - INTERVAL 1 HOUR GROUP BY 1",
        ),
    ),
)
