"""Every text of a policy, a catalog and a test file: whatever it says, no other file is opened and no variable read."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import pytest
from pydantic import BaseModel
from support.policy_texts import WHOLE

from routewright import PolicyError, load_policy
from routewright.backends import Backend, BackendError
from routewright.engine.policy import CompiledPolicy
from routewright.engine.policy.shapes.base import EnvRef, FilePath, NamesFile
from routewright.engine.policy.shapes.policy import Policy
from routewright.engine.policy.shapes.testfile import TestFile
from routewright.engine.policy.source.nodes import parse_yaml
from routewright.gateway.opening import open_backends, unopened
from routewright.loading.loading import load_tests
from routewright.loading.permissions import Permissions, permission_notes


def _opened_and_failed(
    policy: CompiledPolicy, **options: Any
) -> tuple[Mapping[str, Backend], dict[str, BackendError]]:
    backends = open_backends(policy, **options)
    failed = {id: one.error for id, one in unopened(backends).items()}
    return {id: one for id, one in backends.items() if id not in failed}, failed


Place = tuple[str | int, ...]

POLICY: dict[str, Any] = parse_yaml(WHOLE, "whole").root.plain()

TESTS: dict[str, Any] = {
    "routewright": 1,
    "policy": "policy.yaml",
    "cases": [
        {
            "name": "one",
            "task": {"features": {"x": True}},
            "state": {"models": {"a": {"health": "healthy"}}, "memory": {"b": {"loaded": ["a"]}}},
            "expect": {"outcome": "routed"},
        }
    ],
}


def parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all that it is made of, what is said beside a type included."""
    yield annotation
    for part in get_args(annotation) if get_origin(annotation) is not Literal else ():
        yield from parts(part)


def text_fields(
    shape: type[BaseModel],
    values: Any,
    path: Place = (),
    seen: set[tuple[type[BaseModel], str]] | None = None,
) -> Iterator[tuple[Place, Any]]:
    """The place and the annotation of every field of ``shape``, and of the shapes inside, that may hold a text.

    ``values`` has an example of each shape; the first one is taken.
    """
    seen = set() if seen is None else seen
    hints = get_type_hints(shape, include_extras=True)
    for name, field in shape.model_fields.items():
        key, hint = field.alias or name, hints[name]
        found = list(parts(hint))
        text = str in found or Any in found or any(get_origin(part) is Literal for part in found)
        if text and (shape, key) not in seen:
            seen.add((shape, key))
            yield (*path, key), hint
        for inner in (part for part in found if isinstance(part, type) and issubclass(part, BaseModel)):
            yield from examples(inner, values.get(key), (*path, key), seen)


def examples(
    shape: type[BaseModel], value: Any, path: Place, seen: set[tuple[type[BaseModel], str]]
) -> Iterator[tuple[Place, Any]]:
    """The text fields of ``shape`` in what may be one, or a list or mapping of such."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    known = {field.alias or name for name, field in shape.model_fields.items()}
    if isinstance(value, dict) and set(value) & known and set(value) <= known:
        yield from text_fields(shape, value, path, seen)
        return
    for key, one in below:
        yield from examples(shape, one, (*path, key), seen)


def shapes(shape: type[BaseModel]) -> set[type[BaseModel]]:
    """The shape and those inside it."""
    found = {shape}
    for hint in get_type_hints(shape, include_extras=True).values():
        for part in parts(hint):
            if isinstance(part, type) and issubclass(part, BaseModel) and part is not shape:
                found |= shapes(part)
    return found


def with_text(values: dict[str, Any], place: Place, hint: Any, text: str) -> str:
    """The file with ``text`` at ``place``."""
    changed = deepcopy(values)
    here: Any = changed
    for step in place[:-1]:
        here = here[step]
    plain = [part for part in parts(hint) if part in (str, Any)]
    kinds = {get_origin(part) for part in parts(hint)}
    one: Any = text
    if get_origin(hint) in (list, dict) or (not plain and list in kinds):
        one = [text] if get_origin(hint) is list else {"a": text}
    here[place[-1]] = one
    return json.dumps(changed)


OF_POLICY = list(text_fields(Policy, POLICY))
OF_TESTS = list(text_fields(TestFile, TESTS))


def test_the_examples_have_every_shape() -> None:
    for shape, values, fields in ((Policy, POLICY, OF_POLICY), (TestFile, TESTS, OF_TESTS)):
        names = {str(place[-1]) for place, _ in fields}
        for inner in shapes(shape):
            hints = get_type_hints(inner, include_extras=True)
            texts = {
                field.alias or name
                for name, field in inner.model_fields.items()
                if str in list(parts(hints[name]))
            }
            assert texts <= names, (inner, values)


# --- files -------------------------------------------------------------------------------------------------

OPENED: list[str] | None = None


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and OPENED is not None:
        OPENED.append(str(arguments[0]))


sys.addaudithook(_note)


@contextmanager
def opened() -> Iterator[list[str]]:
    """What this process opens meanwhile."""
    global OPENED
    found: list[str] = []
    OPENED = found
    try:
        yield found
    finally:
        OPENED = None


def names_file(hint: Any) -> bool:
    return any(isinstance(part, NamesFile) for part in parts(hint))


ATTACKS = [
    pytest.param(place, hint, how, id=f"{'.'.join(map(str, place))}-{how}")
    for place, hint in OF_POLICY + OF_TESTS
    for how in (("relative", "absolute", "link") if names_file(hint) else ("absolute",))
]


@pytest.mark.parametrize(("place", "hint", "how"), ATTACKS)
def test_no_text_has_a_file_outside_opened(tmp_path: Path, place: Place, hint: Any, how: str) -> None:
    secrets = tmp_path / "outside-secrets.yaml"
    secrets.write_text("routewright: 1\nmodels: { hunter2: [\n")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.yaml").symlink_to(secrets)
    (inside / "policy.yaml").write_text(json.dumps(POLICY))
    text = {"relative": "../outside-secrets.yaml", "absolute": str(secrets), "link": "link.yaml"}[how]
    file = inside / "file.yaml"
    of_tests = (place, hint) in OF_TESTS
    file.write_text(with_text(TESTS if of_tests else POLICY, place, hint, text))
    problems = ""
    with opened() as found:
        try:
            load_tests(file) if of_tests else load_policy(file)
        except PolicyError as error:
            problems = str(error)
            told = {problem.code: problem for problem in error.problems}
    assert str(file) in found
    # What is opened below a folder's descriptor has its name alone.
    ours = [name for name in found if not os.path.isabs(name) or name.startswith(str(tmp_path))]
    assert not [name for name in ours if "outside-secrets" in name or "link.yaml" in name]
    assert "hunter2" not in problems
    if names_file(hint):
        refused = told["outside-root"]
        assert (refused.source, refused.path, refused.line) == (str(file), place, 1)
        assert str(inside) in refused.message and "--root" in str(refused.help)


# --- variables ---------------------------------------------------------------------------------------------

# Its rollout names a file that is not there.
ALONE = {key: value for key, value in POLICY.items() if key != "rollout"}
OF_ALONE = [one for one in OF_POLICY if one[0][0] != "rollout"]

ALLOWED = Permissions(keys={"KEY": ["localhost:8080", "ollama.com"]}, path_variables=["MODELS"])


class Environment(dict[str, str]):
    """Notes which variables are read."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.read: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.read.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> str:
        self.read.add(key)
        return super().__getitem__(key)


def takes_variable(hint: Any) -> bool:
    kinds: tuple[Any, ...] = (EnvRef, FilePath)
    return hint in kinds or any(part in kinds for part in parts(hint))


@pytest.mark.parametrize(
    ("place", "hint"), OF_ALONE, ids=[".".join(map(str, place)) for place, _ in OF_ALONE]
)
def test_no_text_has_a_variable_read_that_is_not_permitted(tmp_path: Path, place: Place, hint: Any) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(with_text(ALONE, place, hint, "${SECRET_OF_MINE}"))
    try:
        policy = load_policy(file)
    except PolicyError:
        assert not takes_variable(hint)
        return
    environment = Environment({"SECRET_OF_MINE": "hunter2", "MODELS": "/models", "KEY": "k"})
    _, failed = _opened_and_failed(policy, environment=environment, permissions=ALLOWED)
    assert "SECRET_OF_MINE" not in environment.read
    assert "hunter2" not in str([(error, error.help) for error in failed.values()])
    notes = [note for note in permission_notes(policy, ALLOWED) if note.path == place]
    assert bool(notes) is takes_variable(hint)
    if notes:
        (note,) = notes
        of = str(place[2])
        backend = policy.catalog.shape.models[of].backend if "models" in place else of
        assert failed[backend].error_class == "unauthorized" and note.message in str(failed[backend])
        assert "`${SECRET_OF_MINE}`" in note.message or "`SECRET_OF_MINE`" in note.message
        assert (note.source, note.line) == (str(file), 1)


def test_what_is_permitted_is_read(tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(json.dumps(ALONE))
    environment = Environment({"MODELS": "/models", "KEY": "k"})
    _, failed = _opened_and_failed(load_policy(file), environment=environment, permissions=ALLOWED)
    assert "KEY" in environment.read
    assert not failed


def test_annotated_texts_are_seen_through() -> None:
    assert names_file(Annotated[str, NamesFile()] | None) and not names_file(str)
