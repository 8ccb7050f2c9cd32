"""A damaged policy, catalog or test file gives PolicyError or is one: no traceback, in bounded time and memory."""

from __future__ import annotations

import os
import re
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

from ruamel.yaml import YAML
from support.sizes import MUTATED_POLICIES, THOROUGH

from routewright import State, Task, decide
from routewright.engine.policy.reading.read import kind_of
from routewright.engine.report.errors import PolicyError, RoutewrightError
from routewright.loading.loading import file_kind, load_catalog, load_policy, load_tests

from .mutations import encoded, mutate_bytes, mutate_value

ROOT = Path(__file__).resolve().parents[2]
MOST_CPU_S = 5.0
MOST_BYTES = 200_000_000


@dataclass
class Result:
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slowest: str = ""
    grown_bytes: int = 0

    def summary(self) -> str:
        counted = ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items()))
        slowest = f"slowest {self.slowest_s:.2f} CPU s ({self.slowest})"
        return f"{counted}; {slowest}; grown by {self.grown_bytes // 1_000_000} MB; {len(self.faults)} faults"


@dataclass(frozen=True)
class Original:
    """A text, and the folder in which the files that it names are found."""

    name: str
    folder: str
    text: str


def originals() -> dict[str, list[Original]]:
    """What ships, what the README shows, the cases of the tests, and configuration of others, by their kind."""
    files = [*(ROOT / "policies").glob("*.yaml"), *(ROOT / "tests" / "cases").rglob("*.yaml")]
    found = [
        Original(path.name, str(path.parent.relative_to(ROOT)), path.read_text(encoding="utf-8"))
        for path in sorted(files)
    ]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"```yaml\n(.*?)```", readme, flags=re.DOTALL)
    found += [Original("README.md", "policies", text) for text in shown]
    kinds: dict[str, list[Original]] = {}
    for one in found:
        kinds.setdefault(kind_of(one.text), []).append(one)
    beside = ROOT.parent / "shared"
    for path in sorted([*(beside / "data").rglob("*.json"), *(beside / "conformance").rglob("*.json")]):
        foreign = Original(path.name, "policies", path.read_text(encoding="utf-8"))
        if len(foreign.text) < 60_000:
            kinds.setdefault("foreign", []).append(foreign)
    return kinds


def hunt(seeds: range) -> Result:
    kinds = originals()
    # Mostly policies; small files more often, since each says as much in less time.
    shares = {"policy": 6, "catalog": 2, "tests": 1, "foreign": 1}
    names = [kind for kind in shares if kind in kinds]
    weights = {kind: [1 / (2_000 + len(one.text)) for one in kinds[kind]] for kind in names}
    values: dict[Original, Any] = {}
    result, before = Result(), _peak_bytes()
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name)
        for folder in ("policies", "tests/cases"):
            shutil.copytree(ROOT / folder, tree / folder)
        for seed in seeds:
            random = Random(seed)
            kind = random.choices(names, [shares[one] for one in names])[0]
            original = random.choices(kinds[kind], weights[kind])[0]
            if random.random() < 0.5:
                data = mutate_bytes(random, original.text.encode())
            else:
                if original not in values:
                    values[original] = YAML(typ="safe", pure=True).load(original.text)
                data = encoded(mutate_value(random, values[original]))
            path = tree / original.folder / "mutated.yaml"
            path.write_bytes(data)
            started = time.process_time()
            try:
                result.counts[_read(path)] += 1
            except PolicyError as error:
                assert error.problems
                result.counts["refused"] += 1
            except Exception:
                result.faults.append(f"seed {seed} ({original.name}): {traceback.format_exc(limit=-4)}")
            took = time.process_time() - started
            if took > result.slowest_s:
                result.slowest_s, result.slowest = took, f"seed {seed}, {original.name}"
    result.grown_bytes = _peak_bytes() - before
    return result


def _read(path: Path) -> str:
    match file_kind(path):
        case "catalog":
            load_catalog(path)
            return "catalogs"
        case "tests":
            load_tests(path)
            return "test files"
        case _:
            policy = load_policy(path)
    try:
        decide(
            policy, Task(), State(1_767_225_600_000_000), decision_id="01890000-0000-7000-8000-000000000000"
        )
    except RoutewrightError:
        return "policies that decide nothing"
    return "policies that decide"


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def test_a_mutated_file_is_refused_or_read_and_nothing_else() -> None:
    if THOROUGH:
        parts = os.cpu_count() or 1
        with ProcessPoolExecutor(parts, mp_context=get_context("spawn")) as pool:
            results = list(pool.map(hunt, [range(part, MUTATED_POLICIES, parts) for part in range(parts)]))
    else:
        results = [hunt(range(MUTATED_POLICIES))]
    for result in results:
        print(result.summary())
    assert [fault for result in results for fault in result.faults] == []
    if THOROUGH:
        # Measured only where nothing else is meant to run: a loaded machine says nothing of a policy.
        assert max(result.slowest_s for result in results) < MOST_CPU_S
        assert max(result.grown_bytes for result in results) < MOST_BYTES
