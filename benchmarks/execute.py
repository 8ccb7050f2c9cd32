"""Measures a whole routed call beside bare HTTP, the ``openai`` package and LiteLLM's ``Router``.

    python benchmarks/execute.py           measure, print, and write docs/performance.md (some minutes)
    python benchmarks/execute.py --quick   measure briefly and print only

All call the same server, which answers at once, from a process of their own each; they take turns, so that a busy
moment of the machine hits all alike. ``--others PYTHON`` names the Python that has ``openai`` and ``litellm``: they
have an environment of their own (``make bench`` makes it). A bar that is missed is printed and written, and is no
failure of the run.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Final

from tables import Bar, duration, table, verdict, with_block
from timing import ratio_of

HERE: Final = Path(__file__).resolve().parent
PAGE: Final = HERE.parent / "docs" / "performance.md"
OTHERS: Final = HERE.parent / ".venv" / "litellm" / "bin" / "python"

AT_ONCE: Final = (1, 64)

SDK_BAR: Final = Bar(1, "at most 1")
ROUTER_BAR: Final = Bar(1 / 5, "at most 1/5")
NO_BAR: Final = Bar(float("inf"), "no bar")
HTTP_BAR: Final = Bar(5945 / 2000, "at most 2.97")


@dataclass(frozen=True, slots=True)
class Way:
    """A way to make the call, and how many calls make a round: at one time, and at 64."""

    name: str
    told: str
    calls: tuple[int, int]
    other: bool = False


WAYS: Final = (
    Way("aiohttp", "`aiohttp`, the bare HTTP call", (2_000, 16_000)),
    Way("routewright", "routewright, ledger on", (2_000, 16_000)),
    Way("routewright_quota", "the same, under a quota", (2_000, 8_000)),
    Way("routewright_no_ledger", "routewright, no ledger", (2_000, 16_000)),
    Way("openai", "`openai`, the package", (800, 800), other=True),
    Way("litellm_router", "LiteLLM's `Router`", (300, 600), other=True),
)


@dataclass(frozen=True, slots=True)
class Round:
    """What one process measured: the time until the last answer, everything's processor time, each call's time."""

    calls: int
    answered_s: float
    closed_s: float
    cpu_s: float
    took_ms: Sequence[float]

    @property
    def per_call_us(self) -> float:
        return self.answered_s / self.calls * 1e6

    @property
    def cpu_us(self) -> float:
        return self.cpu_s / self.calls * 1e6

    def quantile_us(self, share: float) -> float:
        return self.took_ms[min(len(self.took_ms) - 1, int(len(self.took_ms) * share))] * 1e3


Rounds = Mapping[tuple[str, int], Sequence[Round]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Measure executing beside other ways to make the same call.")
    parser.add_argument(
        "--quick", action="store_true", help="a short run; docs/performance.md is not written"
    )
    parser.add_argument("--others", type=Path, default=OTHERS, help="the Python that has openai and litellm")
    given = parser.parse_args(arguments)
    if not given.others.exists():
        print(f"there is no {given.others}: `make bench` makes it", file=sys.stderr)
        return 1
    rounds, share = (1, 0.1) if given.quick else (5, 1.0)
    with answering() as url:
        found = {(way.name, at_once): [] for at_once in AT_ONCE for way in WAYS}  # type: dict[tuple[str, int], list[Round]]
        for column, at_once in enumerate(AT_ONCE):
            for number in range(rounds):
                for step in range(len(WAYS)):
                    way = WAYS[(number + step) % len(WAYS)]
                    calls = max(100, int(way.calls[column] * share))
                    found[way.name, at_once].append(run(way, url, calls, at_once, given.others))
                    print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    text = report(found, versions(given.others))
    print(text)
    if not given.quick:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_block(page, "executing", text), encoding="utf-8")
    return 0


@contextmanager
def answering() -> Any:
    """The address of a server that answers every call at once, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, HERE / "answering.py"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def run(way: Way, url: str, calls: int, at_once: int, others: Path) -> Round:
    """One round in a process of its own. Raises SystemExit with what the process said when it failed."""
    command = [
        others if way.other else sys.executable,
        HERE / "callers.py",
        way.name,
        url,
        str(calls),
        str(at_once),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise SystemExit(f"{way.name} failed:\n{ended.stderr}")
    said = json.loads(ended.stdout.splitlines()[-1])
    return Round(calls, said["answered_s"], said["wall_s"], said["cpu_s"], said["took_ms"])


def versions(others: Path) -> str:
    """What was measured, in one line."""
    code = "from importlib.metadata import version as v; print(v('openai'), v('litellm'))"
    openai, litellm = subprocess.run(
        [others, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    return (
        f"CPython {platform.python_version()} on {platform.system()}, {platform.machine()}. "
        f"routewright {version('routewright')}, aiohttp {version('aiohttp')}, openai {openai}, litellm {litellm}."
    )


def report(rounds: Rounds, measured: str) -> str:
    parts = [measured, "", "### Bars of executing", "", bars(rounds)]
    for at_once in AT_ONCE:
        title = "One call at a time" if at_once == 1 else f"{at_once} calls at once"
        parts += ["", f"### {title}", "", figures(rounds, at_once)]
    return "\n".join(parts)


def bars(rounds: Rounds) -> str:
    def ratio(first: str, second: str, at_once: int, of: Callable[[Round], float], bar: Bar) -> str:
        return verdict(
            ratio_of(
                [of(one) for one in rounds[first, at_once]], [of(one) for one in rounds[second, at_once]]
            ),
            bar,
        )

    def row(second: str, told: str, bar: Bar) -> list[str]:
        cells = [f"routed call ÷ {told}", bar.text]
        for at_once in AT_ONCE:
            cells.append(ratio("routewright", second, at_once, lambda one: one.per_call_us, bar))
            cells.append(ratio("routewright", second, at_once, lambda one: one.cpu_us, bar))
        return cells

    head = ["ratio", "bar", "time, 1 at once", "processor, 1", "time, 64 at once", "processor, 64"]
    return table(
        head,
        [
            row("openai", "`openai`, bare call", SDK_BAR),
            row("litellm_router", "LiteLLM's `Router`", ROUTER_BAR),
            [
                "routed call ÷ bare `aiohttp`",
                HTTP_BAR.text,
                "",
                "",
                ratio("routewright", "aiohttp", 64, lambda one: one.per_call_us, HTTP_BAR),
                "",
            ],
            [
                "the same, filling the tables included",
                "no bar",
                "",
                "",
                ratio("routewright", "aiohttp", 64, lambda one: one.closed_s, NO_BAR),
                ratio("routewright", "aiohttp", 64, lambda one: one.cpu_us, NO_BAR),
            ],
        ],
    )


def figures(rounds: Rounds, at_once: int) -> str:
    rows = []
    for way in WAYS:
        measured = rounds[way.name, at_once]

        def middle(of: Callable[[Round], float], measured: Sequence[Round] = measured) -> float:
            return median(of(one) for one in measured)

        rows.append(
            [
                way.told,
                duration(middle(lambda one: one.quantile_us(0.5))),
                duration(middle(lambda one: one.quantile_us(0.99))),
                f"{1e6 / middle(lambda one: one.per_call_us):,.0f}",
                f"{1e6 / middle(lambda one: one.closed_s / one.calls * 1e6):,.0f}",
                f"{middle(lambda one: one.cpu_us) / 1e3:.3f} s",
            ]
        )
    head = ["", "p50", "p99", "calls/s", "calls/s, closing included", "processor for 1,000"]
    return table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
