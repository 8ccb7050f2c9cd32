"""Each kind of backend that a catalog may name is opened by the package of that name, by all of its keys."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from routewright.backends import Backend, BackendError, open_backend
from routewright.backends.registry import opener_of
from routewright.engine.policy.compile.catalog import compile_catalog_file
from routewright.engine.policy.compiled import CompiledCatalog
from routewright.engine.policy.reading.read import read_catalog
from routewright.engine.policy.shapes.kinds import KEYS_OF_SOME_MODELS, KINDS
from routewright.engine.policy.shapes.kinds import Backend as BackendShape

CATALOG = """\
routewright: 1
backends:
  ollama: { kind: ollama }
  mlx: { kind: mlx }
  openai: { kind: openai, host: "http://127.0.0.1:1/v1" }
  llamacpp: { kind: llamacpp }
  simulated: { kind: simulated }
models:
  of-ollama: { backend: ollama, min_version: 0.1.2, keep_alive: 5m }
  of-mlx: { backend: mlx, path: /nowhere }
  of-openai: { backend: openai }
  of-llamacpp: { backend: llamacpp, path: /nowhere.gguf, pooling: mean }
  of-simulated: { backend: simulated }
"""

PACKAGES = Path(__file__).parents[2] / "backends"

NOT_FOR_OPENING = {*BackendShape.model_fields, "preload"}
"""Carried out by the compiler, the planner and the gateway."""


@pytest.fixture(scope="module")
def catalog() -> CompiledCatalog:
    return compile_catalog_file(read_catalog(CATALOG, "catalog.yaml"))


def test_the_catalog_has_every_kind(catalog: CompiledCatalog) -> None:
    assert list(catalog.backends) == [shape.kind for shape in catalog.backends.values()] == list(KINDS)


def test_every_kind_has_a_package_and_every_package_of_a_kind_has_a_shape() -> None:
    opening = {
        path.parent.name for path in PACKAGES.glob("*/__init__.py") if "open_backend" in path.read_text()
    }
    assert opening == set(KINDS)
    assert all(callable(opener_of(kind)) for kind in KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_opens_and_calls_nobody(kind: str, catalog: CompiledCatalog) -> None:
    models = [model for model in catalog.models if model.backend == kind]
    opened: Backend = open_backend(kind, catalog.backends[kind], models, {})
    assert type(opened).__module__.startswith(f"routewright.backends.{kind}.")


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_kind_is_looked_at_when_it_opens(kind: str, catalog: CompiledCatalog) -> None:
    read: set[str] = set()

    def watched(value: Any) -> Any:
        class Watched(type(value)):  # type: ignore[misc]  # the class is known at run time alone
            def __getattribute__(self, name: str) -> Any:
                read.add(name)
                return super().__getattribute__(name)

        return Watched.model_construct(**dict(value))

    shape = watched(catalog.backends[kind])
    models = [model for model in catalog.models if model.backend == kind]
    open_backend(kind, shape, models, {})
    assert KINDS[kind].model_fields.keys() - NOT_FOR_OPENING <= read

    read.clear()
    open_backend(kind, catalog.backends[kind], [replace(m, shape=watched(m.shape)) for m in models], {})
    assert read & (KEYS_OF_SOME_MODELS - NOT_FOR_OPENING) == KINDS[kind].model_keys - NOT_FOR_OPENING


def test_a_variable_that_is_not_set_is_an_error_of_its_own_class(catalog: CompiledCatalog) -> None:
    shape = KINDS["openai"].model_validate({"kind": "openai", "host": "http://x", "api_key": "${NO_KEY}"})
    with pytest.raises(BackendError) as caught:
        open_backend("far", shape, [], {})
    assert str(caught.value) == "backend `far` needs the environment variable `NO_KEY`, which is not set"
    assert caught.value.error_class == "unauthorized"


def test_a_key_that_no_header_can_hold_is_an_error_of_that_backend() -> None:
    shape = KINDS["openai"].model_validate({"kind": "openai", "host": "http://x", "api_key": "${KEY}"})
    with pytest.raises(BackendError, match="backend `far` cannot be opened: the key"):
        open_backend("far", shape, [], {"KEY": "two\nlines"})
