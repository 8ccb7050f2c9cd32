"""Reads the user's configuration: what policies may do here, how recorded rows wait, and where saved questions are."""

from __future__ import annotations

import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from routewright.engine.report import RoutewrightError
from routewright.ledger import LedgerSettings

from .permissions import Permissions

CONFIG_VARIABLE: Final = "ROUTEWRIGHT_CONFIG"
"""The environment variable that names another configuration file."""

# The field of Permissions for each key of a table; the keys of `[keys]` are names of variables.
_LISTS: Final = {("paths", "variables"): "path_variables", ("hosts", "without_tls"): "without_tls"}
_KEYS: Final = {
    "ledger": [one.name for one in fields(LedgerSettings)],
    "questions": ["folders"],
    **{table: [key for of, key in _LISTS if of == table] for table, _ in _LISTS},
}
"""The keys of each table with fixed ones."""


@dataclass(frozen=True, slots=True)
class _Configuration:
    permissions: Permissions = Permissions()
    ledger: LedgerSettings = LedgerSettings()
    question_folders: tuple[Path, ...] = ()


class ConfigurationError(RoutewrightError):
    """The user's configuration cannot be used; the message names the file."""


def configuration_path(environment: Mapping[str, str] | None = None, *, home: Path | None = None) -> Path:
    """The path of the configuration file, which need not exist.

    ``ROUTEWRIGHT_CONFIG`` if it is set; otherwise ``routewright/routewright.toml`` in ``$XDG_CONFIG_HOME`` or
    ``~/.config``, also on macOS, as for Git and other command-line programs. Raises RuntimeError if a home folder is
    needed and there is none.
    """
    env = os.environ if environment is None else environment
    if named := env.get(CONFIG_VARIABLE):
        return Path(named).expanduser()
    # The XDG specification says to ignore a relative path.
    # https://specifications.freedesktop.org/basedir-spec/latest/
    xdg = Path(env.get("XDG_CONFIG_HOME", ""))
    folder = xdg if xdg.is_absolute() else (Path.home() if home is None else home) / ".config"
    return folder / "routewright" / "routewright.toml"


def user_key_folder(environment: Mapping[str, str] | None = None) -> Path:
    """The folder of signing keys, ``keys`` beside the configuration file; neither need exist.

    Raises ConfigurationError for an account without a home folder.
    """
    try:
        return configuration_path(environment).parent / "keys"
    except RuntimeError:
        raise ConfigurationError(
            "there is no home folder, so there is no place for signing keys",
            help=f"{CONFIG_VARIABLE} names a file: keys are then in the folder `keys` beside it",
        ) from None


def user_permissions(environment: Mapping[str, str] | None = None) -> Permissions:
    """The permissions in the user's configuration; only the built-in rules if there is no such file.

    Raises ConfigurationError for a file that cannot be read, that everybody may write to, or that has an unknown key
    or an invalid value.
    """
    return _configuration(environment).permissions


def user_ledger_settings(environment: Mapping[str, str] | None = None) -> LedgerSettings:
    """The table ``[ledger]`` of the user's configuration; raises ConfigurationError as ``user_permissions`` does."""
    return _configuration(environment).ledger


def user_question_folders(environment: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """The folders of saved questions in the user's configuration; raises as ``user_permissions`` does."""
    return _configuration(environment).question_folders


def _configuration(environment: Mapping[str, str] | None) -> _Configuration:
    env = os.environ if environment is None else environment
    try:
        path = configuration_path(env)
    except RuntimeError:  # an account without a home folder
        if named := env.get(CONFIG_VARIABLE):
            raise ConfigurationError(f"{named}: there is no such home folder") from None
        return _Configuration()
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read()
    except FileNotFoundError:
        if env.get(CONFIG_VARIABLE):
            raise ConfigurationError(
                f"{path}: there is no such file", help=f"create it, or unset {CONFIG_VARIABLE}"
            ) from None
        return _Configuration(Permissions(file=str(path)))
    except OSError as error:
        raise ConfigurationError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if mode & stat.S_IWOTH:
        # The file decides where keys are sent, so anyone who can write to it can get them.
        raise ConfigurationError(f"{path}: everybody may write to it", help=f"chmod o-w {path}")
    try:
        return _read(tomllib.loads(content.decode("utf-8")), str(path))
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: the file is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path}: not TOML: {str(error)[:1].lower()}{str(error)[1:]}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _read(tables: Mapping[str, Any], file: str) -> _Configuration:
    """Raises ValueError for an unknown table or key, or an invalid value."""
    known = {"keys", *_KEYS}
    for name, table in tables.items():
        if name not in known:
            if not isinstance(table, dict):
                home = next((of for of, keys in _KEYS.items() if name in keys), "keys")
                raise ValueError(f"`{name}` is outside the tables: write it under `[{home}]`")
            raise ValueError(f"unknown table `[{name}]`; known: {', '.join(sorted(known))}")
        if not isinstance(table, dict):
            raise ValueError(f"`{name}` is a table: write `[{name}]`")
        for key, value in table.items():
            if name != "keys" and key not in _KEYS[name]:
                raise ValueError(f"unknown key `{key}` in `[{name}]`; known: {', '.join(_KEYS[name])}")
            if name != "ledger" and not isinstance(value, str) and not _is_list(value):
                raise ValueError(f"`{key}` in `[{name}]` takes a text in quotes, or a list of them")
    lists = {field: tables.get(table, {}).get(key, ()) for (table, key), field in _LISTS.items()}
    permissions = Permissions(keys=tables.get("keys", {}), file=file, **lists)
    named: str | list[str] = tables.get("questions", {}).get("folders", [])
    folders = tuple(Path(one).expanduser() for one in ([named] if isinstance(named, str) else named))
    try:
        return _Configuration(permissions, LedgerSettings(**tables.get("ledger", {})), folders)
    except ValueError as error:
        raise ValueError(f"in `[ledger]`: {error}") from None


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
