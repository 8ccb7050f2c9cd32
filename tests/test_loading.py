"""Files in: every kind of file that is no policy is told as a problem, with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from routewright import PolicyError, load_policy
from routewright.engine.policy.source.nodes import MAX_FILE_BYTES
from routewright.loading import load_catalog, load_samples, load_tests, read_text, shipped

POLICY = """\
routewright: 1
name: x
catalog: {catalog}
rules:
  - {{ name: only, use: [small] }}
"""

CATALOG = """\
routewright: 1
backends: { ollama: { kind: ollama } }
models: { small: { backend: ollama, tag: "qwen3-coder:30b" } }
"""


def problem_of(path: Path) -> tuple[str, str | None, int | None, int | None]:
    """The code, file name, line and column of the only problem of a policy."""
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    (problem,) = caught.value.problems
    return problem.code, problem.source and Path(problem.source).name, problem.line, problem.column


def policy_with(folder: Path, catalog: str) -> Path:
    path = folder / "policy.yaml"
    path.write_text(POLICY.format(catalog=catalog), encoding="utf-8")
    return path


def test_the_catalog_is_found_beside_the_policy_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "team").mkdir()
    (tmp_path / "shared" / "catalog.yaml").write_text(CATALOG)
    path = policy_with(tmp_path / "team", "../shared/catalog.yaml")
    by_path = load_policy(path, root=tmp_path)
    monkeypatch.chdir(tmp_path)
    by_text = load_policy(os.path.join("team", "policy.yaml"), root=".")
    assert by_path.digest == by_text.digest
    assert [model.id for model in by_text.catalog.models] == ["small"]


@pytest.mark.parametrize("catalog", ["none.yaml", ".", "none/catalog.yaml"])
def test_a_catalog_that_is_not_there_is_told_where_it_is_named(tmp_path: Path, catalog: str) -> None:
    assert problem_of(policy_with(tmp_path, catalog)) == ("missing-catalog", "policy.yaml", 3, 10)


def test_problems_of_the_catalog_name_the_catalog(tmp_path: Path) -> None:
    (tmp_path / "catalog.yaml").write_text("routewright: [\n")
    code, source, *_ = problem_of(policy_with(tmp_path, "catalog.yaml"))
    assert (code, source) == ("yaml-syntax", "catalog.yaml")


def test_what_is_no_text_file_is_told(tmp_path: Path) -> None:
    assert problem_of(tmp_path) == ("unreadable-file", tmp_path.name, None, None)
    assert problem_of(tmp_path / "none.yaml") == ("unreadable-file", "none.yaml", None, None)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"routewright: 1\nname: caf\xe9\n")
    assert problem_of(latin) == ("not-utf-8", "latin.yaml", 2, 1)
    empty = tmp_path / "empty.yaml"
    empty.touch()
    assert problem_of(empty) == ("empty-file", "empty.yaml", 1, 1)


def test_a_file_is_read_up_to_its_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * MAX_FILE_BYTES)
    assert len(read_text(str(path))) == MAX_FILE_BYTES
    path.write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert problem_of(path) == ("file-too-large", "large.yaml", None, None)


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(PolicyError, match="cannot read the file: permission denied"):
        read_text("policy.yaml")


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"models: \xe9", "not-utf-8"), (b"#" * (MAX_FILE_BYTES + 1), "file-too-large")],
)
def test_a_catalog_that_cannot_be_read_is_told_with_the_problems_of_the_policy(
    tmp_path: Path, content: bytes, code: str
) -> None:
    (tmp_path / "catalog.yaml").write_bytes(content)
    path = policy_with(tmp_path, "catalog.yaml")
    path.write_text(path.read_text() + "  - { name: next, when: urgent, use: [large] }\n")
    with pytest.raises(PolicyError) as caught:
        load_policy(path)
    told = {(Path(problem.source or "").name, problem.code) for problem in caught.value.problems}
    assert told == {("catalog.yaml", code), ("policy.yaml", "unknown-name")}


def test_a_catalog_or_a_test_file_in_a_policy_s_place_is_told_as_what_it_is() -> None:
    for name, what in (("catalog.yaml", "a catalog"), ("hybrid.test.yaml", "a file of policy tests")):
        with pytest.raises(PolicyError) as caught:
            load_policy(shipped(name))
        (problem,) = caught.value.problems
        assert (problem.code, problem.message) == ("not-a-policy", f"this is {what}, not a policy")
        assert problem.help


def test_a_catalog_is_loaded_by_itself_with_all_its_problems(tmp_path: Path) -> None:
    assert load_catalog(shipped("catalog.yaml")).digest == load_policy(shipped("hybrid.yaml")).catalog.digest
    path = tmp_path / "catalog.yaml"
    path.write_text(
        CATALOG.replace("backend: ollama", "backend: olama").replace("kind: ollama", "kind: olama")
    )
    with pytest.raises(PolicyError) as caught:
        load_catalog(path)
    assert [problem.code for problem in caught.value.problems] == ["wrong-value"]


def test_test_files_name_their_policy_relative_to_themselves() -> None:
    tests, policy = load_tests(shipped("hybrid.test.yaml"))
    assert tests.cases
    assert Path(policy.source) == shipped("hybrid.yaml")
    assert policy.digest == load_policy(shipped("hybrid.yaml")).digest


def test_samples_with_a_mistake_are_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "samples.yaml"
    path.write_text("tasks:\n  - name: one\n    promt: hello\n")
    with pytest.raises(PolicyError) as caught:
        load_samples(path)
    (problem,) = caught.value.problems
    assert (problem.code, problem.line, problem.message) == ("unknown-key", 3, "unknown key `promt`")
