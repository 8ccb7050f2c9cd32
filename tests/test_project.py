"""The project's own promises: one package tree, exact locks, light imports, a pure engine, live links."""

from __future__ import annotations

import ast
import importlib
import os
import pkgutil
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from support.pages import PAGES, ROOT, anchors

import routewright
from routewright.engine.version import ENGINE_VERSION

LINKED = ("backends", "engine", "ledger", "policies")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
LOCKS = {
    "build.txt": PYPROJECT["build-system"]["requires"],
    "run.txt": PYPROJECT["project"]["dependencies"]
    + EXTRAS["llamacpp"]
    + EXTRAS["ollama"]
    + EXTRAS["openai"],
    "dev.txt": PYPROJECT["dependency-groups"]["dev"] + EXTRAS["tokens"],
    "mlx.txt": EXTRAS["mlx"],
    "bench.txt": PYPROJECT["dependency-groups"]["bench"],
}


def module_names() -> list[str]:
    """Every module of the package that can be imported without running something."""
    found = pkgutil.walk_packages(routewright.__path__, "routewright.")
    return sorted(module.name for module in found if not module.name.endswith(".__main__"))


def lock_lines(name: str) -> list[str]:
    """The lines of a lock, each with its continuations, without comments."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", "")
    return [line for line in text.splitlines() if not line.startswith("#")]


def locked(name: str) -> dict[str, str]:
    """The version of each package in a lock, by name."""
    lines = (line.split()[0].split("==") for line in lock_lines(name) if line != "-r run.txt")
    return {package: version for package, version in lines}


# --- the package tree --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINKED)
def test_root_folders_are_linked_into_the_package_with_relative_links(name: str) -> None:
    link = ROOT / "src" / "routewright" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../../{name}"


def test_no_root_folder_shadows_the_package() -> None:
    assert not (ROOT / "routewright").exists()


@pytest.mark.parametrize("name", module_names())
def test_every_public_name_exists_and_is_named_once(name: str) -> None:
    module = importlib.import_module(name)
    public = getattr(module, "__all__", [])
    assert len(set(public)) == len(public)
    assert [missing for missing in public if not hasattr(module, missing)] == []


def test_the_wheel_holds_every_file_once_also_when_it_is_built_from_the_sdist(tmp_path: Path) -> None:
    def build(target: str, source: Path, out: Path) -> Path:
        command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
        subprocess.run(command, cwd=source, check=True, capture_output=True)
        (made,) = out.iterdir()
        return made

    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym()]
    (tmp_path / "unpacked").mkdir()
    subprocess.run(["tar", "-xzf", str(sdist), "-C", str(tmp_path / "unpacked")], check=True)
    (unpacked,) = (tmp_path / "unpacked").iterdir()

    for source in (ROOT, unpacked):
        wheel = build("wheel", source, tmp_path / f"wheel-{source == ROOT}")
        with zipfile.ZipFile(wheel) as contents:
            names = contents.namelist()
        assert len(set(names)) == len(names)
        held = {name for name in names if name.startswith("routewright/")}
        assert held == set(files_to_ship())


def files_to_ship() -> Iterator[str]:
    folders = {ROOT / "src" / "routewright": "routewright"}
    folders |= {ROOT / name: f"routewright/{name}" for name in LINKED}
    for folder, prefix in folders.items():
        for path in folder.rglob("*"):  # does not follow the links
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{prefix}/{path.relative_to(folder).as_posix()}"


def test_the_version_is_one_and_the_same_everywhere() -> None:
    assert routewright.__version__ == ENGINE_VERSION == PYPROJECT["project"]["version"]


# --- locks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_locks_hold_exact_versions_with_hashes_and_nothing_else(path: Path) -> None:
    exact = re.compile(r"[a-z0-9-]+==[0-9][0-9A-Za-z.+!]*( +--hash=sha256:[0-9a-f]{64})+")
    lines = lock_lines(path.name)
    assert [line for line in lines if line != "-r run.txt" and not exact.fullmatch(line)] == []


def test_every_installation_demands_hashes_and_wheels() -> None:
    """In every recipe; the project itself is installed from here, without a look at any index."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^INSTALL := .* install --require-hashes --only-binary :all:$", text, re.MULTILINE)
    recipes = [
        line
        for line in text.splitlines()
        if line.startswith("\t") and re.search(r"-m pip .*install|--requirement", line)
    ]
    assert recipes
    fenced = ("$(INSTALL)", " --no-index --no-deps ")
    assert [line for line in recipes if not any(part in line for part in fenced)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_locks_agree_with_pyproject(name: str) -> None:
    pins = locked(name) | (locked("run.txt") if name != "run.txt" else {})
    for requirement in map(Requirement, LOCKS[name]):
        pin = pins[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(pin), f"{requirement} is locked at {pin}: run make lock"


def test_no_two_locks_name_different_versions_of_one_package() -> None:
    pins: dict[str, set[str]] = {}
    for name in LOCKS:
        for package, version in locked(name).items():
            pins.setdefault(package, set()).add(version)
    assert {package: versions for package, versions in pins.items() if len(versions) > 1} == {}


# --- imports -----------------------------------------------------------------------------------------------


def test_no_pattern_is_possessive() -> None:
    # Before Python 3.11.5 such patterns match too much: https://github.com/python/cpython/issues/100061.
    possessive = re.compile(r"(?<!\\)[+*?}]\+|\(\?>")
    for folder in ("engine", "backends", "ledger", "src/routewright"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                    texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                    assert not [text for text in texts if possessive.search(str(text))], path


def test_import_routewright_loads_no_heavy_library() -> None:
    heavy = ["duckdb", "mlx", "mlx_lm", "ollama", "re2", "rich", "simpleeval", "typer"]
    script = f"import sys, routewright; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# What import contracts cannot tell: they see modules, not the functions that are called.
IMPURE_CALLS = {"breakpoint", "input", "open", "print"}
IMPURE_METHODS = {
    "fromtimestamp",
    "now",
    "read_bytes",
    "read_text",
    "today",
    "urlopen",
    "utcnow",
    "write_text",
}


@pytest.mark.parametrize("path", sorted((ROOT / "engine").rglob("*.py")), ids=lambda path: path.stem)
def test_the_engine_asks_no_clock_and_opens_no_file(path: Path) -> None:
    impure = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_CALLS:
                impure.append(f"{name} in line {node.lineno}")
            case ast.Call(func=ast.Attribute(attr=name)) if name in IMPURE_METHODS:
                impure.append(f".{name} in line {node.lineno}")
            case ast.Import(names=names) if any(alias.name == "urllib.request" for alias in names):
                impure.append(f"urllib.request in line {node.lineno}")
    assert impure == []


# --- documents ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_a_file_or_a_heading(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for file, anchor in re.findall(r"\]\((?![a-z]+:)([^)#\s]*)#?([^)\s]*)\)", text):
        target = page.parent / file if file else page
        assert target.exists(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_files_and_folders_that_a_page_names_are_there(page: Path) -> None:
    folders = "engine|backends|ledger|src|tests|docs|policies|benchmarks|requirements"
    named = re.findall(rf"`((?:{folders})/[\w./-]*)", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "terminal",
    [
        {"COLUMNS": "40", "LINES": "5", "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        {"NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C", "PYTHONUTF8": "0"},
    ],
    ids=["narrow and coloured", "dumb"],
)
def test_generated_files_are_up_to_date_whatever_the_terminal(terminal: dict[str, str]) -> None:
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | terminal)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("requirement", sorted({line for lines in LOCKS.values() for line in lines}))
def test_every_dependency_is_accounted_for(requirement: str) -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert f"| `{Requirement(requirement).name}` |" in page


def test_the_check_of_a_clean_checkout_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_nobody_is_told_to_install_a_name_that_is_not_registered() -> None:
    told = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    told += [path for folder in (*LINKED, "src", "tests") for path in (ROOT / folder).rglob("*.py")]
    command = re.compile(r"pip install \S*" + "routewright")
    assert [path for path in told if command.search(path.read_text(encoding="utf-8"))] == []


def test_every_page_is_named_by_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT).as_posix() for page in ROOT.glob("docs/*.md")]
    assert [page for page in pages if f"]({page})" not in readme] == []
