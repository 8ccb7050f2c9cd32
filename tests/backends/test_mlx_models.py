"""Where the files of an MLX model are: paths with variables, cache folders, and what is said when there are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from routewright.backends import BackendError
from routewright.backends.mlx.models import Folders, MlxModel, find_folder

NO_ENV: Mapping[str, str] = {}


def make(folder: Path, **config: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def make_cached(folder: Path, *snapshots: str, main: str | None = None) -> Path:
    for name in snapshots:
        make(folder / "snapshots" / name)
    if main is not None:
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(main + "\n")
    return folder


def test_a_path_may_start_with_a_variable(tmp_path: Path) -> None:
    folder = make(tmp_path / "models" / "m")
    model = MlxModel(path="${MLX_CACHE_DIR}/m")
    assert find_folder("m", model, None, {"MLX_CACHE_DIR": str(tmp_path / "models")})[0] == folder


def test_messages_name_the_variable_of_a_path_and_not_its_value(tmp_path: Path) -> None:
    env = {"MLX_CACHE_DIR": str(tmp_path / "hunter2")}
    for model, root in ((MlxModel(path="${MLX_CACHE_DIR}/m"), None), (MlxModel(), "${MLX_CACHE_DIR}")):
        with pytest.raises(BackendError) as caught:
            find_folder("m", model, root, env)
        assert "`config.json` in: ${MLX_CACHE_DIR}/m" in str(caught.value.help)
        assert "hunter2" not in str(caught.value.help)
    (make(tmp_path / "hunter2" / "m") / "config.json").write_text("no JSON")
    with pytest.raises(BackendError) as caught:
        Folders({"m": MlxModel()}, "${MLX_CACHE_DIR}", env).find("m")
    assert caught.value.help == "check its `config.json` in ${MLX_CACHE_DIR}/m, or download the model again"


@pytest.mark.parametrize("env", [NO_ENV, {"MLX_CACHE_DIR": ""}])
def test_a_variable_without_a_value_is_named(env: Mapping[str, str]) -> None:
    with pytest.raises(BackendError) as caught:
        find_folder("m", MlxModel(path="${MLX_CACHE_DIR}/m"), None, env)
    assert (
        str(caught.value)
        == "the environment variable `MLX_CACHE_DIR` of the path `${MLX_CACHE_DIR}/m` is not set"
    )
    assert caught.value.error_class == "not_found"
    assert caught.value.help == "set `MLX_CACHE_DIR` to the folder that holds the MLX models"


@pytest.mark.parametrize(
    ("place", "model"),
    [
        ("m", MlxModel()),
        ("org/name", MlxModel(source="org/name")),
        ("models--org--name", MlxModel(source="org/name")),
        ("hub/models--org--name", MlxModel(source="org/name")),
    ],
)
def test_without_a_path_a_model_is_looked_for_under_the_backends(
    tmp_path: Path, place: str, model: MlxModel
) -> None:
    folder = make(tmp_path / place)
    assert find_folder("m", model, "${ROOT}", {"ROOT": str(tmp_path)})[0] == folder


def test_a_cache_folder_leads_to_the_snapshot_that_main_names(tmp_path: Path) -> None:
    make_cached(tmp_path / "models--org--name", "aaa", "bbb", main="bbb")
    found, _ = find_folder("m", MlxModel(path=str(tmp_path / "models--org--name")), None, NO_ENV)
    assert found.name == "bbb"


def test_without_a_ref_a_single_snapshot_is_taken_and_several_are_not(tmp_path: Path) -> None:
    one = make_cached(tmp_path / "one", "aaa")
    two = make_cached(tmp_path / "two", "aaa", "bbb")
    assert find_folder("m", MlxModel(path=str(one)), None, NO_ENV)[0].name == "aaa"
    with pytest.raises(BackendError, match="the model `m` is not on this disk"):
        find_folder("m", MlxModel(path=str(two)), None, NO_ENV)


def test_a_missing_model_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(BackendError) as caught:
        find_folder("m", MlxModel(), str(tmp_path), NO_ENV)
    assert str(caught.value) == "the model `m` is not on this disk"
    assert caught.value.help == (
        f"looked for its `config.json` in: {tmp_path}/m, {tmp_path}/models--m, {tmp_path}/hub/models--m; "
        "models are never downloaded"
    )
    with pytest.raises(BackendError) as caught:
        find_folder("m", MlxModel(), None, NO_ENV)
    assert caught.value.help == (
        "give the model a `path` in the catalog, or its backend one; models are never downloaded"
    )


@pytest.mark.parametrize(
    ("config", "said", "window"),
    [
        ({"max_position_embeddings": 4096}, None, 4096),
        ({"max_position_embeddings": 4096}, 1000, 1000),
        ({"max_position_embeddings": 4096}, 8192, 4096),
        ({"text_config": {"max_position_embeddings": 512}}, None, 512),
        ({}, 2048, 2048),
        ({}, None, None),
    ],
)
def test_the_window_is_the_narrower_of_what_the_files_and_the_catalog_say(
    tmp_path: Path, config: Mapping[str, object], said: int | None, window: int | None
) -> None:
    make(tmp_path / "m", **config)
    folders = Folders({"m": MlxModel(context_length=said)}, str(tmp_path), NO_ENV)
    assert folders.find("m").window == window


def test_a_folder_that_has_gone_is_not_remembered(tmp_path: Path) -> None:
    folder = make(tmp_path / "m")
    folders = Folders({"m": MlxModel()}, str(tmp_path), NO_ENV)
    assert folders.problem("m") is None
    (folder / "config.json").unlink()
    folder.rmdir()
    assert folders.problem("m") == "the model `m` is not on this disk"


def test_a_configuration_that_is_no_json_is_reported(tmp_path: Path) -> None:
    folder = make(tmp_path / "m")
    (folder / "config.json").write_text("{")
    with pytest.raises(BackendError) as caught:
        Folders({"m": MlxModel()}, str(tmp_path), NO_ENV).find("m")
    assert (str(caught.value), caught.value.error_class) == (
        "the configuration of `m` cannot be read",
        "bad_response",
    )
