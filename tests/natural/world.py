"""A small ledger with everything awkward in it, and the same rows as Python has them, to count answers from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from support.ledger_rows import arm as arm_of
from support.ledger_rows import attempt as attempt_row
from support.ledger_rows import candidate, policy
from support.ledger_rows import decision as decision_row
from support.new_ledgers import new_ledger
from support.shipped import plain_yaml

from routewright.ledger import AttemptRow, DecisionRow, Ledger, Outcome, PolicyRow

RULES = ("never", "hard", "vote", "small", "otherwise")
NANO = Decimal(10) ** 9

_REST = """\
catalog:
  routewright: 1
  backends: { ollama: { kind: ollama } }
  models: { kimi: { backend: ollama, price: { input: 1, output: 2, currency: EUR } } }
rules:
  - { name: otherwise, use: [kimi] }
controls:
  - { name: daily, max_requests: 20, per: day }
  - { name: spent, max_cost: 5 USD, per: day, for_each: team }
"""

VERSIONS: Mapping[str, tuple[str, str]] = {
    # A name, and what is declared: of `hybrid`, `complexity` widened and `tier` changed its type.
    "hybrid-1": (
        "hybrid",
        "features:\n  complexity: { type: integer }\n  private: { type: boolean, default: false }\n"
        "  tier: { type: number }\n  team: { type: string }\n  langs: { type: array, items: string }\n",
    ),
    "hybrid-2": (
        "hybrid",
        "features:\n  complexity: { type: number }\n  private: { type: boolean, default: false }\n"
        "  tier: { type: string }\n  team: { type: string }\n  langs: { type: array, items: string }\n",
    ),
    "other": (
        "small.Models",
        "features:\n  private: { type: boolean }\n  size: { type: integer }\n  status: { type: string }\n",
    ),
}


@dataclass(frozen=True)
class Call:
    """An attempt; money is in whole units, and a cost of None is unknown."""

    model: str
    status: str = "ok"
    role: str = "answer"
    cost: str | None = None
    currency: str | None = None
    ms: int | None = 1_000
    load_ms: int = 0
    error: str | None = None
    output_tokens: int | None = 100
    least: bool = False
    saved: str | None = None
    simulated: bool = False

    @property
    def location(self) -> str:
        return {"kimi": "cloud", "glm": "cloud", "tiny": "local"}[self.model]

    @property
    def made(self) -> bool:
        return self.status not in ("skipped", "cached")

    @property
    def backend(self) -> str:
        return "mlx" if self.location == "local" else "ollama_cloud"


@dataclass(frozen=True)
class Made:
    """A decision that was made ``ago`` before the ledger; ``answered`` is the number of the attempt that answered."""

    number: int
    ago: timedelta
    calls: Sequence[Call] = ()
    version: str = "hybrid-2"
    rule: str = "otherwise"
    target: str | None = "kimi"
    answered: int | None = 1
    mode: str = "exploit"
    arm: str | None = None
    shadow_of: int | None = None
    features: Mapping[str, Any] = field(default_factory=dict)
    default: Mapping[str, Any] = field(default_factory=dict)
    unknown: Sequence[str] = ()
    team: str | None = "search"
    user: str | None = None
    at: datetime = datetime(1, 1, 1, tzinfo=UTC)

    @property
    def policy(self) -> str:
        return VERSIONS[self.version][0]

    @property
    def real(self) -> bool:
        return self.mode in ("exploit", "canary") and not any(call.simulated for call in self.calls)

    @property
    def whose_team(self) -> str | None:
        return self.team or self.features.get("team")

    @property
    def values(self) -> dict[str, Any]:
        return {**self.features, **self.default}

    @property
    def started(self) -> list[datetime]:
        """When each call began: one after the other."""
        found, at = [], self.at
        for call in self.calls:
            found.append(at)
            at += timedelta(milliseconds=call.ms or 0)
        return found

    @property
    def took_ms(self) -> int:
        return sum(call.ms or 0 for call in self.calls)

    @property
    def answer(self) -> Call | None:
        return None if self.answered is None else self.calls[self.answered - 1]


_AGO = {"min": "minutes", "h": "hours", "d": "days"}


def _read(values: dict[str, Any]) -> Made:
    size, unit = values["ago"].split()
    calls = [Call(**{**call, **_texts(call)}) for call in values["calls"]]
    return Made(**values | {"ago": timedelta(**{_AGO[unit]: int(size)}), "calls": calls})


def _texts(call: Mapping[str, Any]) -> dict[str, str]:
    """Money as it is written, since a float is not exact."""
    return {name: str(call[name]) for name in ("cost", "saved") if name in call}


ROWS: Sequence[Made] = [_read(values) for values in plain_yaml(Path(__file__).with_name("rows.yaml"))]


@dataclass(frozen=True)
class World:
    """The ledger's file, and the rows that are in it."""

    path: Path
    rows: Sequence[Made]

    @property
    def decisions(self) -> list[Made]:
        """Executed, real ones."""
        return [one for one in self.rows if one.real]

    @property
    def calls(self) -> list[tuple[Made, Call, datetime]]:
        """Real calls that were made, each with its decision and when it began."""
        return [(d, call, at) for d, call, at in self.attempts if call.made]

    @property
    def attempts(self) -> list[tuple[Made, Call, datetime]]:
        """Of real decisions, those passed over and those from the cache too."""
        return [(d, call, at) for d in self.decisions for call, at in zip(d.calls, d.started, strict=True)]


def make_world(path: Path, now: datetime, *, hybrid: str = "hybrid") -> World:
    """The ledger as if made ``now``, with another name for the policy `hybrid`."""
    rows = [Made(**{**vars(one), "at": now - one.ago}) for one in ROWS]
    ledger: Ledger = new_ledger(path)
    names = {name: hybrid if name == "hybrid" else name for name, _ in VERSIONS.values()}
    decisions = [_decision(one, names[one.policy]) for one in rows]
    ledger.append(decisions, list(_attempts(rows)), list(_policies(names)))
    scored = {1: 0.9, 3: 0.4, 6: 0.7}
    ledger.record_outcomes(
        [Outcome(id_of(one), "score", scored[one.number]) for one in rows if one.number in scored]
    )
    log = path.with_name("log.jsonl")
    log.write_text("".join(f"{json.dumps(call)}\n" for call in _imported(now)))
    ledger.import_file("calls", log, name="elsewhere")
    return World(path, rows)


def _imported(now: datetime) -> Iterator[dict[str, Any]]:
    """What another router logged of late, of the same models: it costs much and takes long."""
    time = (now - timedelta(minutes=5)).isoformat()
    whose = {"time": time, "operation": "chat", "role": "answer", "tags": {"team": "search", "user": "ann"}}
    shared = {**whose, "model": "kimi", "target": "kimi", "total_ms": 90_000}
    paid = {"status": "ok", "answered_attempt": 1, "cost": "70", "currency": "USD", "output_tokens": 5_000}
    yield {**shared, **paid, "id": "a", "features": {"complexity": 1, "tier": 9}, "outcomes": {"score": 0.1}}
    yield {**shared, "id": "b", "status": "failed", "error_class": "overloaded"}
    yield {**shared, **paid, "id": "c", "model": "elsewhere", "cost": "80", "currency": "EUR"}


def id_of(made: Made) -> str:
    ms = int(made.at.timestamp() * 1_000)
    return str(UUID(int=(ms << 80) | (0x7000_8 << 60) | made.number))


def _policies(names: Mapping[str, str]) -> Iterator[PolicyRow]:
    for at, (version, (name, declared)) in enumerate(VERSIONS.items()):
        yield policy(names[name], declared + _REST, digest=f"sha256:{version}", first_seen_us=at)


def _decision(made: Made, policy: str) -> DecisionRow:
    features = {
        **{name: {"value": value, "source": "given"} for name, value in made.features.items()},
        **{name: {"value": value, "source": "default"} for name, value in made.default.items()},
        **{name: {"value": None, "source": "unknown"} for name in made.unknown},
    }
    mode = "shadow" if 6 <= made.number <= 7 else "canary"
    probability = {"control": 1.0 if mode == "shadow" else 0.5, "candidate": 0.0 if mode == "shadow" else 0.5}
    row = decision_row(
        made.number,
        id=id_of(made),
        mode=made.mode,
        answered=made.answered,
        at_us=int(made.at.timestamp() * 1e6),
        policy={"name": policy, "digest": f"sha256:{made.version}"},
        arm=None if made.arm is None else arm_of(made.arm, mode, probability[made.arm]),
        outcome="no_target" if made.target is None else "routed",
        features=features,
        rule=made.rule,
        rules=[
            {"name": name, "verdict": name in (made.rule, "otherwise") or (None if name == "vote" else False)}
            for name in RULES
        ],
        state={"models": {}, "quota_used": {"daily": made.number % 7, "spent": made.number * 10**8}},
        target=made.target,
        candidates=_candidates(made),
        plan=None if made.target is None else {"target": made.target, "fallbacks": [], "steps": []},
    )
    tags = {name: tag for name, tag in (("team", made.team), ("user", made.user)) if tag is not None}
    control = next((one for one in ROWS if one.number == made.shadow_of), None)
    shadow_of = None if control is None else id_of(Made(**{**vars(control), "at": made.at}))
    return row._replace(tags=tags, shadow_of=shadow_of)


def _candidates(made: Made) -> list[dict[str, Any]]:
    chosen = [] if made.target is None else [candidate(made.target, "use", None, None, 1.0, 5_000_000, None)]
    refused = candidate("kimi", "use", "constraint", "private_stays_here", 0.0, None, None)
    return [refused, *chosen] if made.values.get("private") and made.target != "glm" else chosen


def _attempts(rows: Sequence[Made]) -> Iterator[AttemptRow]:
    for made in rows:
        for at, (call, started) in enumerate(zip(made.calls, made.started, strict=True), 1):
            source = None if call.cost is None else "lower_bound" if call.least else "reported"
            yield attempt_row(
                made.number,
                at,
                decision_id=id_of(made),
                role=call.role,
                model_id=call.model,
                backend_id=call.backend,
                started_at_us=int(started.timestamp() * 1e6),
                load_us=call.load_ms * 1_000,
                first_token_us=None if call.ms is None else call.load_ms * 1_000 + 100_000,
                total_us=None if call.ms is None else call.ms * 1_000,
                status=call.status,
                error_class=call.error,
                output_tokens=call.output_tokens,
                cost_nano=None if call.cost is None else int(Decimal(call.cost) * NANO),
                currency=call.currency,
                cost_source=source,
                simulated=call.simulated,
                cached_answer=call.status == "cached",
                saved_nano=None if call.saved is None else int(Decimal(call.saved) * NANO),
                reason="its breaker is open" if call.status == "skipped" else None,
                location=call.location,
                host=None if call.location == "local" else "ollama.com",
            )
