"""A rollout's candidate is loaded with its policy: problems of all files at once, each at its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from routewright import PolicyError, TaskError, load_policy

CATALOG = """\
routewright: 1
backends: { here: { kind: mlx } }
models: { small: { backend: here } }
"""

WIDER = """\
routewright: 1
backends: { here: { kind: mlx }, cloud: { kind: ollama } }
models: { small: { backend: here }, kimi: { backend: cloud, tag: "kimi-k2:1t-cloud" } }
"""

POLICY = """\
routewright: 1
name: now
catalog: catalog.yaml
features: { team: { type: string } }
rules: [{ name: all, use: [small] }]
rollout: { candidate: new/next.yaml, mode: canary, percent: 10%, key: team }
"""

NEXT = """\
routewright: 1
name: next
catalog: wider.yaml
rules: [{ name: all, use: [kimi], fallback: [small] }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    for name, text in (
        ("catalog.yaml", CATALOG),
        ("policy.yaml", POLICY),
        ("new/next.yaml", NEXT),
        ("new/wider.yaml", WIDER),
    ):
        (tmp_path / name).write_text(text)
    return tmp_path


def changed(folder: Path, name: str, *changes: tuple[str, str]) -> None:
    text = (folder / name).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)


def problems_of(folder: Path) -> list[tuple[str, int | None, int | None, str, str]]:
    with pytest.raises(PolicyError) as caught:
        load_policy(folder / "policy.yaml")
    return [(Path(p.source or "").name, p.line, p.column, p.code, p.message) for p in caught.value.problems]


def test_the_candidate_is_found_beside_its_policy_and_has_a_catalog_of_its_own(folder: Path) -> None:
    policy = load_policy(folder / "policy.yaml")
    assert policy.rollout is not None and policy.rollout.candidate is not None
    candidate = policy.rollout.candidate
    assert (policy.rollout.mode, policy.rollout.share, policy.rollout.key_name) == ("canary", 0.1, "team")
    assert [model.id for model in policy.catalog.models] == ["small"]
    assert [model.id for model in candidate.catalog.models] == ["small", "kimi"]
    assert candidate.digest == load_policy(folder / "new" / "next.yaml").digest


def test_the_digest_of_the_policy_is_of_its_rollout_and_not_of_the_candidate(folder: Path) -> None:
    path = folder / "policy.yaml"
    digest = load_policy(path).digest
    changed(folder, "new/next.yaml", ("use: [kimi]", "use: [small, kimi]"), (", fallback: [small]", ""))
    assert load_policy(path).digest == digest
    (folder / "new" / "next.yaml").rename(folder / "new" / "other.yaml")
    changed(folder, "policy.yaml", ("next.yaml", "other.yaml"))
    assert load_policy(path).digest == digest
    for old, new in (("10%", "11%"), ("key: team }", "key: team, salt: s }"), (", key: team", "")):
        before = path.read_text()
        changed(folder, "policy.yaml", (old, new))
        assert load_policy(path).digest != digest
        path.write_text(before)


def test_problems_of_all_files_are_reported_at_once(folder: Path) -> None:
    changed(folder, "policy.yaml", ("key: team", "key: teem"), ("use: [small]", "use: [smal]"))
    changed(folder, "new/next.yaml", ("use: [kimi]", "use: [kimmi]"), ("name: next", "nane: next"))
    changed(folder, "new/wider.yaml", ("kind: ollama", "kind: olama"))
    found = problems_of(folder)
    assert [(name, line, code) for name, line, _, code, _ in found] == [
        ("next.yaml", 2, "unknown-key"),
        ("next.yaml", 4, "unknown-model"),
        ("wider.yaml", 2, "wrong-value"),
        ("policy.yaml", 5, "unknown-model"),
        ("policy.yaml", 6, "unknown-feature"),
    ]


def test_a_problem_of_a_shared_catalog_is_told_once(folder: Path) -> None:
    changed(folder, "new/next.yaml", ("wider.yaml", "../catalog.yaml"), ("use: [kimi]", "use: [small]"))
    changed(folder, "new/next.yaml", (", fallback: [small]", ""))
    changed(folder, "catalog.yaml", ("kind: mlx", "kind: mxl"))
    assert [(name, code) for name, _, _, code, _ in problems_of(folder)] == [("catalog.yaml", "wrong-value")]


@pytest.mark.parametrize(
    ("file", "code", "message"),
    [
        ("none.yaml", "missing-candidate", "the candidate `none.yaml` could not be read"),
        (".", "missing-candidate", "the candidate `.` could not be read"),
        ("policy.yaml", "own-candidate", "the candidate `policy.yaml` is this policy itself"),
        ("new/../policy.yaml", "own-candidate", "the candidate `new/../policy.yaml` is this policy itself"),
    ],
)
def test_a_file_that_is_no_candidate_is_told_where_it_is_named(
    folder: Path, file: str, code: str, message: str
) -> None:
    changed(folder, "policy.yaml", ("new/next.yaml", file))
    assert problems_of(folder) == [("policy.yaml", 6, 23, code, message)]


def test_rollouts_do_not_nest(folder: Path) -> None:
    more = "rollout: { candidate: ../policy.yaml, mode: shadow }\n"
    (folder / "new" / "next.yaml").write_text(NEXT + more)
    message = "the candidate `new/next.yaml` has a rollout of its own, and rollouts do not nest"
    assert problems_of(folder) == [("policy.yaml", 6, 23, "nested-rollout", message)]


def test_a_candidate_that_is_no_yaml_is_told_in_its_own_file(folder: Path) -> None:
    (folder / "new" / "next.yaml").write_bytes(b"name: \xff")
    assert [(name, code) for name, _, _, code, _ in problems_of(folder)] == [("next.yaml", "not-utf-8")]
    (folder / "new" / "next.yaml").write_text("routewright: 1\nrules: [\n")
    assert [(name, code) for name, _, _, code, _ in problems_of(folder)] == [("next.yaml", "yaml-syntax")]


def test_maps_and_hosts_take_what_each_catalog_has(folder: Path) -> None:
    maps = {"small": "llamacpp:smollm2", "kimi": "llamacpp:smollm2"}
    policy = load_policy(
        folder / "policy.yaml", maps=maps, declared={"cloud": {"host": "http://localhost:1"}}
    )
    assert policy.rollout is not None and policy.rollout.candidate is not None
    candidate = policy.rollout.candidate
    kinds = [[model.kind for model in one.catalog.models] for one in (policy, candidate)]
    assert kinds == [["llamacpp"], ["llamacpp", "llamacpp"]]
    assert candidate.catalog.backends["cloud"].server.url == "http://localhost:1"


def test_a_map_of_what_neither_catalog_has_is_refused(folder: Path) -> None:
    with pytest.raises(TaskError, match="`kimmi` names no model to map"):
        load_policy(folder / "policy.yaml", maps={"kimmi": "llamacpp:smollm2"})
    with pytest.raises(TaskError, match="`clowd` names no backend"):
        load_policy(folder / "policy.yaml", declared={"clowd": {"host": "http://localhost:1"}})


@pytest.mark.parametrize(
    ("here", "there", "lack"),
    [
        ("{ type: string }", "{ type: integer }", "is integer there and string here"),
        ("{ type: number }", "{ type: integer }", "is integer there and number here"),
        ("{ type: integer }", "{ type: number }", None),
        ("{ type: string, enum: [a, b] }", "{ type: string, enum: [a] }", "lacks 'b' there"),
        ("{ type: string, enum: [a] }", "{ type: string, enum: [a, b] }", None),
        ("{ type: string }", "{ type: string, enum: [a] }", "has an `enum` there alone"),
        ("{ type: string, enum: [a] }", "{ type: string }", None),
        ("{ type: integer, minimum: 0 }", "{ type: integer, minimum: 1 }", "begins at 1 there"),
        ("{ type: integer, maximum: 9 }", "{ type: integer, minimum: 0, maximum: 9 }", "begins at 0 there"),
        ("{ type: integer, maximum: 9 }", "{ type: integer, maximum: 10 }", None),
        ("{ type: number }", "{ type: number, maximum: 1 }", "ends at 1 there"),
    ],
)
def test_the_candidate_of_a_canary_takes_whatever_its_control_takes(
    folder: Path, here: str, there: str, lack: str | None
) -> None:
    changed(
        folder, "policy.yaml", ("{ team: { type: string } }", f"{{ team: {{ type: string }}, x: {here} }}")
    )
    changed(folder, "new/next.yaml", ("rules:", f"features: {{ x: {there} }}\nrules:"))
    if lack is None:
        load_policy(folder / "policy.yaml")
        return
    message = f"the candidate `new/next.yaml` takes less than this policy: feature `x` {lack}"
    assert problems_of(folder) == [("policy.yaml", 6, 23, "narrower-candidate", message)]
    changed(folder, "policy.yaml", ("mode: canary, percent: 10%", "mode: shadow"))
    load_policy(folder / "policy.yaml")
