"""The public names: sorted, importable, the same for type checkers, documented."""

from __future__ import annotations

import ast
import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest

import routewright
import routewright.backends

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def test_public_names_are_sorted_and_can_be_listed() -> None:
    assert routewright.__all__ == sorted(routewright.__all__)
    assert dir(routewright) == routewright.__all__


@pytest.mark.parametrize("name", routewright.__all__)
def test_every_public_name_can_be_imported_and_is_documented(name: str) -> None:
    value = getattr(routewright, name)
    if isinstance(value, type) or callable(value):
        assert value.__doc__
        assert not value.__doc__.startswith(f"{name}("), "a dataclass's own signature is no documentation"
    assert name == "__version__" or re.search(rf"\b{name}s?\b", PAGE), f"{name} is not in docs/python.md"


def test_type_checkers_see_the_names_that_there_are() -> None:
    source = Path(routewright.__file__).read_text(encoding="utf-8")
    seen = {
        alias.asname: f"{node.module}".removeprefix("routewright.")
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.level == 0
        for alias in node.names
        if alias.asname is not None
    }
    assert sorted([*seen, "__version__"]) == routewright.__all__
    # Where the name is loaded from is also what type checkers are told.
    assert seen == routewright._HOMES


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'routewright' has no attribute 'nothing'"):
        getattr(routewright, "nothing")  # noqa: B009  # mypy would refuse the plain form


def test_backends_are_named_without_being_loaded() -> None:
    """Importing them needs none of the libraries that they call, and naming one loads no other."""
    code = (
        "import sys, routewright.backends as b; "
        "assert not [m for m in sys.modules if m.startswith('routewright.backends.openai.backend')]; "
        "[getattr(b, name) for name in b.__all__]; "
        "print(sorted({'aiohttp', 'mlx', 'mlx_lm', 'ollama', 'quicktok', 'xllamacpp'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        getattr(routewright.backends, "nothing")  # noqa: B009  # mypy would refuse the plain form


def test_the_package_runs_as_a_module() -> None:
    words = [sys.executable, "-m", "routewright", "--version"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout == f"routewright {routewright.__version__}\n"


def test_the_example_of_the_package_runs() -> None:
    assert doctest.testmod(routewright) == doctest.TestResults(failed=0, attempted=2)
