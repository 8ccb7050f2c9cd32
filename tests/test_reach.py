"""What a file names must lie under the root, whichever loader reads it; nothing of any other file is shown."""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from routewright import ModelGateway, PolicyError, Task, TaskError, load_policy, loading
from routewright.cli import app
from routewright.engine.policy.source.nodes import parse_yaml
from routewright.engine.report.problems import Problem
from routewright.loading.loading import load_tests, shipped
from routewright.loading.reach import Root, UnreachableError, root_for

CATALOG = """\
routewright: 1
backends: { near: { kind: simulated } }
models: { small: { backend: near } }
"""

POLICY = """\
routewright: 1
name: here
catalog: CATALOG
rules:
  - { name: only, use: [small] }
"""

TESTS = """\
routewright: 1
policy: POLICY
cases: [{ name: one, expect: { target: small } }]
"""

ROLLOUT = "rollout: { candidate: CANDIDATE, mode: shadow }\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two others: ``mine``, and ``shared`` with a catalog."""
    for name in ("mine", "shared"):
        (tmp_path / name).mkdir()
    (tmp_path / "shared" / "catalog.yaml").write_text(CATALOG)
    return tmp_path


def policy_at(path: Path, catalog: str = "../shared/catalog.yaml", more: str = "") -> Path:
    path.write_text(POLICY.replace("CATALOG", catalog) + more)
    return path


def problems_of(load: Callable[[], object]) -> list[Problem]:
    with pytest.raises(PolicyError) as caught:
        load()
    return list(caught.value.problems)


def places(problems: list[Problem]) -> list[tuple[str, str, int | None, int | None]]:
    return [(Path(one.source or "").name, one.code, one.line, one.column) for one in problems]


# --- the root ----------------------------------------------------------------------------------------------


def test_the_root_is_the_folder_of_the_file_where_nothing_else_is_said(folder: Path) -> None:
    path = policy_at(folder / "mine" / "policy.yaml")
    (problem,) = problems_of(lambda: load_policy(path))
    assert (problem.code, problem.line, problem.column, problem.width) == ("outside-root", 3, 10, 22)
    assert problem.message == (
        f"the catalog `../shared/catalog.yaml` is `{folder}/shared/catalog.yaml`, which is not under the root "
        f"`{folder}/mine`"
    )
    assert problem.help == (
        "the root is the folder of the file that was named; choose a folder that holds both files with --root, "
        "ROUTEWRIGHT_ROOT, or `root=` in Python"
    )


def test_the_root_is_the_nearest_folder_above_that_holds_git(folder: Path) -> None:
    path = policy_at(folder / "mine" / "policy.yaml")
    (folder / ".git").mkdir()
    assert load_policy(path).name == "here"
    (folder / "mine" / ".git").write_text("gitdir: elsewhere\n")  # as in a worktree
    assert "holds `.git`" in str(problems_of(lambda: load_policy(path))[0].help)


def test_the_environment_names_the_root_and_the_caller_has_the_last_word(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = policy_at(folder / "mine" / "policy.yaml")
    monkeypatch.setenv("ROUTEWRIGHT_ROOT", str(folder))
    assert load_policy(path).name == "here"
    (problem,) = problems_of(lambda: load_policy(path, root=folder / "mine"))
    assert "what the caller chose" in str(problem.help)
    monkeypatch.setenv("ROUTEWRIGHT_ROOT", str(folder / "shared"))
    assert load_policy(path).name == "here", "the policy itself may lie anywhere"
    monkeypatch.setenv("ROUTEWRIGHT_ROOT", str(folder / "mine"))
    (problem,) = problems_of(lambda: load_policy(path))
    assert "what ROUTEWRIGHT_ROOT says" in str(problem.help)


def test_a_root_that_is_not_a_folder_is_told(folder: Path) -> None:
    path = policy_at(folder / "mine" / "policy.yaml")
    with pytest.raises(TaskError, match="the root `.*nowhere` is not a folder"):
        load_policy(path, root=folder / "nowhere")


def test_a_path_without_links_is_named_once(folder: Path) -> None:
    outside = str((folder / "shared" / "catalog.yaml").resolve())
    (problem,) = problems_of(lambda: load_policy(policy_at(folder / "mine" / "policy.yaml", outside)))
    assert problem.message == f"the catalog `{outside}` is not under the root `{(folder / 'mine').resolve()}`"


def test_links_are_followed_on_both_sides(folder: Path) -> None:
    policy_at(folder / "shared" / "policy.yaml", "catalog.yaml")
    (folder / "alias").symlink_to("shared")
    assert load_policy(folder / "alias" / "policy.yaml").name == "here"
    assert load_policy(folder / "shared" / "policy.yaml", root=folder / "alias").name == "here"
    # What is within the root may be reached by links; what only looks so may not.
    (folder / "shared" / "second.yaml").symlink_to("catalog.yaml")
    assert load_policy(policy_at(folder / "shared" / "policy.yaml", "second.yaml")).name == "here"
    (folder / "mine" / "within").symlink_to("../shared")
    (problem,) = problems_of(
        lambda: load_policy(policy_at(folder / "mine" / "p.yaml", "within/catalog.yaml"))
    )
    assert problem.code == "outside-root"


def test_the_file_that_the_caller_names_may_be_a_link_to_anywhere(folder: Path) -> None:
    policy_at(folder / "shared" / "policy.yaml", "catalog.yaml")
    (folder / "mine" / "policy.yaml").symlink_to("../shared/policy.yaml")
    shutil.copy(folder / "shared" / "catalog.yaml", folder / "mine")
    assert load_policy(folder / "mine" / "policy.yaml").name == "here"


def test_what_comes_with_routewright_needs_no_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROUTEWRIGHT_ROOT", str(tmp_path))
    assert load_policy(shipped("hybrid.yaml"), root=tmp_path).name == "hybrid"
    assert load_tests(shipped("hybrid.test.yaml"))[1].name == "hybrid"


# --- every way to load -------------------------------------------------------------------------------------


def test_every_loader_of_files_that_name_others_takes_a_root() -> None:
    loaders = {
        name: value
        for name, value in vars(loading.loading).items()
        if inspect.isfunction(value)
        and value.__module__ == loading.loading.__name__
        and name in loading.__all__
    }
    taking = {name for name, loader in loaders.items() if "root" in inspect.signature(loader).parameters}
    # The others read a file that names none, or only look at what kind of file it is.
    assert taking == {*loaders} - {"file_kind", "load_catalog", "load_samples", "read_text", "shipped"}
    assert "root" in inspect.signature(ModelGateway.from_policy).parameters


def test_every_command_that_loads_a_policy_takes_a_root() -> None:
    named = {
        command.name or command.callback.__name__: inspect.signature(command.callback).parameters
        for command in app.registered_commands
        if command.callback is not None
    }
    loading_one = {name for name, parameters in named.items() if {"policy", "files"} & parameters.keys()}
    assert {"check", "decide", "eval", "health", "models", "quota", "replay", "rollout", "run"} == loading_one
    assert all("root" in named[name] for name in loading_one)
    # The demo's policy is the shipped one, and a schema is none.
    assert set(named) - loading_one == {"demo", "schema"}


def test_a_test_file_s_root_is_that_of_all_that_it_leads_to(folder: Path) -> None:
    """Test file, policy, catalog, candidate and its catalog: each could have another root of its own."""
    inner = folder / "mine" / "inner"
    inner.mkdir()
    (inner / ".git").mkdir()
    rollout = ROLLOUT.replace("CANDIDATE", "../next.yaml")
    policy_at(inner / "policy.yaml", "../../shared/catalog.yaml", rollout)
    policy_at(folder / "mine" / "next.yaml")
    tests = folder / "mine" / "policy.test.yaml"
    tests.write_text(TESTS.replace("POLICY", "inner/policy.yaml"))
    cases, policy = load_tests(tests, root=folder)
    assert policy.rollout is not None and policy.rollout.candidate is not None and cases.cases
    # With the root of the test file's own folder both catalogs are outside, and the candidate is not.
    assert places(problems_of(lambda: load_tests(tests))) == [
        ("policy.yaml", "outside-root", 3, 10),
        ("next.yaml", "outside-root", 3, 10),
    ]
    # By itself the policy has the root of the folder with `.git`.
    assert places(problems_of(lambda: load_policy(inner / "policy.yaml"))) == [
        ("policy.yaml", "outside-root", 3, 10),
        ("policy.yaml", "outside-root", 6, 23),
    ]
    tests.write_text(TESTS.replace("POLICY", "../policy.yaml"))
    policy_at(folder / "policy.yaml", "shared/catalog.yaml")
    (problem,) = problems_of(lambda: load_tests(tests))
    assert places([problem]) == [("policy.test.yaml", "outside-root", 2, 9)]
    assert problem.message.startswith("the policy `../policy.yaml` is ")


def test_a_gateway_keeps_its_root_when_it_reads_the_policy_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = policy_at(folder / "mine" / "policy.yaml")
    monkeypatch.chdir(folder)
    with ModelGateway.from_policy("mine/policy.yaml", root="..", simulate=True) as wide:
        assert wide.decide(Task()).decision.target == "small"
    with ModelGateway.from_policy("mine/policy.yaml", root=".", simulate=True) as gateway:
        monkeypatch.chdir(folder / "mine")
        monkeypatch.setenv("ROUTEWRIGHT_ROOT", str(folder / "mine"))
        path.write_text(path.read_text().replace("only", "all"))
        assert gateway.reload_sync()
        policy_at(path, "../../elsewhere.yaml")
        with pytest.raises(PolicyError, match="outside-root"):
            gateway.reload_sync()
        assert gateway.decide(Task()).decision.target == "small"
    with pytest.raises(PolicyError, match="outside-root"):
        ModelGateway.from_policy(path, simulate=True)


# --- what is no file of Routewright's ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "password: hunter2\n",
        "password: [hunter2\n",
        "models: [hunter2\n",
        "backends: { hunter2: hunter2 }\nmodels: hunter2\n",
        "- hunter2\n",
        "hunter2",
        "services:\n  routewright: hunter2\n",
        "services:\n  routewright: [hunter2\n",
        "",
    ],
)
@pytest.mark.parametrize("what", ["catalog", "candidate", "policy"])
def test_nothing_is_shown_of_a_file_that_does_not_say_that_it_is_one_of_routewright(
    tmp_path: Path, what: str, text: str
) -> None:
    (tmp_path / "secrets.yaml").write_text(text)
    (tmp_path / "catalog.yaml").write_text(CATALOG)
    files = {
        "catalog": POLICY.replace("CATALOG", "secrets.yaml"),
        "candidate": POLICY.replace("CATALOG", "catalog.yaml") + ROLLOUT.replace("CANDIDATE", "secrets.yaml"),
        "policy": TESTS.replace("POLICY", "secrets.yaml"),
    }
    path = tmp_path / "file.yaml"
    path.write_text(files[what])
    (problem,) = problems_of(lambda: load_tests(path) if what == "policy" else load_policy(path))
    place = {"catalog": (3, 10), "candidate": (6, 23), "policy": (2, 9)}[what]
    assert places([problem]) == [("file.yaml", f"not-a-{what}", *place)]
    assert problem.message == (
        f"the {what} `secrets.yaml` has no key `routewright`, so it is not a Routewright file"
    )
    assert "hunter2" not in repr(problem)


def test_a_test_file_in_a_catalog_s_place_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "some.test.yaml").write_text(TESTS)
    path = policy_at(tmp_path / "policy.yaml", "some.test.yaml")
    (problem,) = problems_of(lambda: load_policy(path))
    assert (problem.code, problem.message) == (
        "not-a-catalog",
        "the catalog `some.test.yaml` is a file of policy tests",
    )


@pytest.mark.parametrize("text", [CATALOG, json.dumps(parse_yaml(CATALOG, "c").root.plain(), indent=1)])
def test_a_catalog_may_be_written_in_either_style(tmp_path: Path, text: str) -> None:
    (tmp_path / "catalog.yaml").write_text(text)
    assert load_policy(policy_at(tmp_path / "policy.yaml", "catalog.yaml")).name == "here"


def test_a_catalog_s_own_mistakes_are_shown_with_their_lines(tmp_path: Path) -> None:
    for text, code in (("routewright: 1\nmodels: [\n", "yaml-syntax"), (CATALOG + "x: 1\n", "unknown-key")):
        (tmp_path / "catalog.yaml").write_text(text)
        path = policy_at(tmp_path / "policy.yaml", "catalog.yaml")
        (problem, *_) = problems_of(lambda: load_policy(path))  # noqa: B023  # called at once
        assert (Path(problem.source or "").name, problem.code) == ("catalog.yaml", code)
        assert problem.source_line is not None


# --- what is no ordinary file ------------------------------------------------------------------------------


@pytest.mark.parametrize("catalog", ["fifo.yaml", "/dev/zero", "/dev/tty", "/proc/self/environ"])
def test_what_is_no_ordinary_file_is_refused_without_waiting(tmp_path: Path, catalog: str) -> None:
    os.mkfifo(tmp_path / "fifo.yaml")
    path = policy_at(tmp_path / "policy.yaml", catalog)
    (problem,) = problems_of(lambda: load_policy(path, root="/"))
    assert places([problem]) == [("policy.yaml", "missing-catalog", 3, 10)]
    assert problem.message.startswith(f"the catalog `{catalog}` could not be read")
    if os.path.exists(tmp_path / catalog):
        assert problem.message.endswith(": it is not an ordinary file")


@pytest.mark.parametrize("swapped", ["catalog.yaml", "folder"])
def test_what_became_a_link_after_it_was_found_is_not_followed(folder: Path, swapped: str) -> None:
    inner = folder / "mine" / "folder"
    inner.mkdir()
    (inner / "catalog.yaml").write_text(CATALOG)
    root = root_for(str(folder / "mine" / "policy.yaml"))
    real = root.find(str(inner / "catalog.yaml"), "folder/catalog.yaml", "catalog")
    assert root.read(real, "c", "catalog", limit=9) == b"routewrig"
    if swapped == "folder":
        shutil.rmtree(inner)
        inner.symlink_to(folder / "shared")
    else:
        (inner / "catalog.yaml").unlink()
        (inner / "catalog.yaml").symlink_to(folder / "shared" / "catalog.yaml")
    with pytest.raises(UnreachableError, match="the catalog `c` could not be read"):
        root.read(real, "c", "catalog", limit=9)


def test_a_folder_in_a_file_s_place_is_told_as_missing(folder: Path) -> None:
    root = Root(str(folder.resolve()), "a test")
    (folder / "inner").mkdir()
    with pytest.raises(UnreachableError) as caught:
        root.read(root.find(str(folder / "inner"), "inner", "catalog"), "inner", "catalog", limit=10)
    assert caught.value.problem.message == "the catalog `inner` could not be read"


@pytest.mark.parametrize(
    "place", ["/proc/version", "/sys/kernel/profiling", "/sys/devices/system/cpu/online"]
)
def test_what_the_kernel_makes_up_is_refused_also_under_the_root(place: str) -> None:
    if not os.path.isfile(place):
        pytest.skip("this system has no such file")
    root = Root("/", "a test")
    with pytest.raises(UnreachableError, match=r"it is not an ordinary file$"):
        root.read(root.find(place, place, "catalog"), place, "catalog", limit=10)


def test_nothing_stays_open_whatever_is_read(folder: Path) -> None:
    root = Root(str(folder.resolve()), "a test")
    deep = folder / "a" / "b" / "c"
    deep.mkdir(parents=True)
    (deep / "file.yaml").write_text("x")
    os.mkfifo(deep / "fifo.yaml")

    def read(name: str) -> None:
        path = str(deep / name)
        try:
            root.read(root.find(path, name, "catalog"), name, "catalog", limit=10)
        except UnreachableError:
            assert name != "file.yaml"

    read("file.yaml")
    before = len(os.listdir("/dev/fd"))
    for name in ("file.yaml", "fifo.yaml", "none.yaml", "file.yaml/x"):
        read(name)
    assert len(os.listdir("/dev/fd")) == before


def test_a_name_that_no_file_can_have_is_told_where_it_stands(tmp_path: Path) -> None:
    path = policy_at(tmp_path / "policy.yaml", '"a\\0b"')
    assert places(problems_of(lambda: load_policy(path))) == [("policy.yaml", "missing-catalog", 3, 10)]
    assert root_for(str(path)) == Root(str(tmp_path), "the folder of the file that was named")
