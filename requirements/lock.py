"""pyproject.toml in, the lock files beside this module out: exact versions, one file for each use.

    build.txt   installs the others and builds the project (pip, hatchling)
    run.txt     what `routewright` needs, and the backends that `make demo` uses
    dev.txt     run.txt, and what `make check test` need
    mlx.txt     run.txt, and mlx-lm with its build for Linux, for the tests there
    bench.txt   run.txt, and the engines that `make bench` compares with
    litellm.txt what `make bench` compares executing with: an environment of its own, which nothing else uses

All but the last is solved once, together, so that no two files name different versions of one package; each file
then takes its part. Wheels only: a package that would have to be compiled is no dependency. Run it with the
oldest Python that is supported (`make lock`), since what supports that supports the newer ones too.

No hashes: a file of hashes must list every wheel of every platform, and pip's report gives those of the
machine that runs this. No index addresses either: where packages come from is the reader's own affair.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent

BUILD = ["pip>=25"]
"""What installs; what builds stands in pyproject.toml."""

DEMO = ("llamacpp", "ollama", "openai")
"""The extras that the demo runs with."""


def main() -> int:
    pyproject = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = pyproject["dependency-groups"], pyproject["project"]["optional-dependencies"]
    parts: dict[str, list[str]] = {
        "build": BUILD + pyproject["build-system"]["requires"],
        "run": pyproject["project"]["dependencies"] + [line for name in DEMO for line in extras[name]],
        "dev": groups["dev"] + extras["tokens"],
        "mlx": extras["mlx"],
        "bench": groups["bench"],
    }
    together = solve([line for part in parts.values() for line in part], constraints={})
    run = solve(parts["run"], constraints=together)
    for name, requirements in parts.items():
        pins = solve(requirements, constraints=together)
        based_on_run = name in ("dev", "mlx", "bench")
        if based_on_run:
            pins = {package: version for package, version in pins.items() if package not in run}
        write(HERE / f"{name}.txt", pins, based_on_run=based_on_run)
    write(HERE / "litellm.txt", solve(groups["litellm"], constraints={}), based_on_run=False)
    return 0


def solve(requirements: Sequence[str], *, constraints: dict[str, str]) -> dict[str, str]:
    """The exact version of every package that `requirements` need, by normalized name, sorted."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, fixed, report = (Path(folder) / name for name in ("wanted.txt", "fixed.txt", "report.json"))
        wanted.write_text("\n".join(requirements), encoding="utf-8")
        fixed.write_text("\n".join(f"{name}=={version}" for name, version in constraints.items()))
        subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"]
            + ["--ignore-installed", "--only-binary=:all:", "--report", str(report)]
            + ["--requirement", str(wanted), "--constraint", str(fixed)],
            check=True,
        )
        installs = json.loads(report.read_text(encoding="utf-8"))["install"]
    pins = {normalized(item["metadata"]["name"]): item["metadata"]["version"] for item in installs}
    return dict(sorted(pins.items()))


def normalized(name: str) -> str:
    """The one spelling of a package's name that the packaging standard gives."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write(path: Path, pins: dict[str, str], *, based_on_run: bool) -> None:
    lines = ["# Exact versions, written by `make lock` from pyproject.toml (see requirements/lock.py)."]
    lines += ["-r run.txt"] if based_on_run else []
    lines += [f"{name}=={version}" for name, version in pins.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(pins)} packages")


if __name__ == "__main__":
    sys.exit(main())
