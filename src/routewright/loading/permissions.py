"""Decides which environment variables a policy may read, and to which host a key may go.

A policy names variables but cannot permit them: well-known services are permitted here, everything else in the user's
configuration or by the caller. Nothing here reads the environment.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from routewright.engine.policy import (
    Backend,
    Catalog,
    CompiledCatalog,
    CompiledPolicy,
    FolderBackend,
    Model,
    Path,
    ServerBackend,
    is_this_machine,
    parse_yaml,
    place_problem,
    variables_in,
)
from routewright.engine.report import Problem, sort_problems

SERVICES: Final[Mapping[str, str]] = {
    "ANTHROPIC_API_KEY": "api.anthropic.com",  # https://platform.claude.com/docs/en/api/openai-sdk
    "CEREBRAS_API_KEY": "api.cerebras.ai",  # https://inference-docs.cerebras.ai/resources/openai
    "DEEPSEEK_API_KEY": "api.deepseek.com",  # https://api-docs.deepseek.com/
    "FIREWORKS_API_KEY": "api.fireworks.ai",  # https://docs.fireworks.ai/tools-sdks/openai-compatibility
    "GEMINI_API_KEY": "generativelanguage.googleapis.com",  # https://ai.google.dev/gemini-api/docs/openai
    "GROQ_API_KEY": "api.groq.com",  # https://console.groq.com/docs/openai
    "HF_TOKEN": "router.huggingface.co",  # https://huggingface.co/docs/inference-providers/index
    "MISTRAL_API_KEY": "api.mistral.ai",  # https://docs.mistral.ai/api/
    "MOONSHOT_API_KEY": "api.moonshot.ai",  # https://platform.moonshot.ai/docs/
    "OLLAMA_API_KEY": "ollama.com",  # https://docs.ollama.com/cloud
    "OPENAI_API_KEY": "api.openai.com",  # https://platform.openai.com/docs/api-reference
    "OPENROUTER_API_KEY": "openrouter.ai",  # https://openrouter.ai/docs/quickstart
    "TOGETHER_API_KEY": "api.together.ai",  # https://docs.together.ai/docs/inference/openai-compatibility
    "XAI_API_KEY": "api.x.ai",  # https://docs.x.ai/developers/quickstart
}
"""The host of each well-known service, by the variable that its documentation uses for the key."""

PATH_VARIABLES: Final = frozenset({"HF_HOME", "MLX_CACHE_DIR"})
"""The variables that ``path`` may read, besides those that begin with ``PATH_PREFIX``."""

PATH_PREFIX: Final = "ROUTEWRIGHT_"

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST: Final = re.compile(r"(?:\[[0-9a-f:.]+\]|[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Permissions:
    """What policies may do beyond the built-in rules.

    ``keys`` are hosts by variable: the key in ``LAB_KEY`` may go to each of ``{"LAB_KEY": ["lab.example.org"]}``.
    ``path_variables`` are more variables that ``path`` may read, and ``without_tls`` are other machines that may be
    sent a key over plain HTTP. A host is a name or an address, with its port unless that is the scheme's default:
    ``lab.example.org``, ``10.0.0.5:8000``, ``[fd00::5]:8000``. Raises ValueError for anything else.
    """

    keys: Mapping[str, str | Collection[str]] = field(default_factory=dict)
    path_variables: str | Collection[str] = ()
    without_tls: str | Collection[str] = ()
    file: str | None = None
    """The configuration file that these come from, which ``help`` names; without one it names the arguments here."""

    def __post_init__(self) -> None:
        keys = {
            _checked_name(variable): frozenset(_checked_host(host, 443, 80) for host in _listed(hosts))
            for variable, hosts in self.keys.items()
        }
        without_tls = frozenset(_checked_host(host, 80) for host in _listed(self.without_tls))
        object.__setattr__(self, "keys", keys)
        object.__setattr__(
            self, "path_variables", frozenset(map(_checked_name, _listed(self.path_variables)))
        )
        object.__setattr__(self, "without_tls", without_tls)

    def hosts_of(self, variable: str) -> frozenset[str]:
        """The hosts that the key in ``variable`` may go to; empty for an unknown variable."""
        more = self.keys.get(variable, ())
        return frozenset(more) | ({SERVICES[variable]} if variable in SERVICES else set())

    def key_refusal(self, variable: str, url: str | None, proxy: str | None = None) -> Problem | None:
        """Why the key in ``variable`` may not be sent to ``url``, by way of ``proxy``; None if it may.

        Over TLS a proxy sees the host's name and nothing else; without it, it reads the key.
        """
        server = _server(url)
        if server is None:
            message = f"the key `${{{variable}}}` has no server to go to"
            return Problem(
                "variable-not-permitted", message, "give the backend a `host`, or remove `api_key`"
            )
        scheme, host = server
        hosts = self.hosts_of(variable)
        bare = scheme != "https" and host not in self.without_tls and not is_this_machine(host)
        if host not in hosts:
            known = f"it may go to {', '.join(sorted(hosts))}" if hosts else "nothing says where it may go"
            allow = f"to allow this host, {self._allow_key(variable, host)}"
            over_http = f"; over plain http it also needs {self._without_tls(host)}" if bare else ""
            return Problem(
                "variable-not-permitted",
                f"the key `${{{variable}}}` may not be sent to `{host}`",
                f"{known}; {allow}{over_http}",
            )
        if bare:
            return Problem(
                "key-without-tls",
                f"the key `${{{variable}}}` would be sent to `{host}` without TLS",
                f"use https; to allow plain http, {self._write(self._without_tls(host))}",
            )
        passed = None if scheme == "https" else _server(proxy)
        if passed is not None and passed[1] not in self.without_tls and not is_this_machine(passed[1]):
            return Problem(
                "key-without-tls",
                f"the key `${{{variable}}}` would pass the proxy `{passed[1]}` without TLS",
                f"use https for `{host}`; to trust this proxy, {self._write(self._without_tls(passed[1]))}",
            )
        return None

    def path_refusal(self, variable: str) -> Problem | None:
        """Why ``path`` may not read ``variable``; None if it may."""
        if variable.startswith(PATH_PREFIX) or variable in PATH_VARIABLES | set(self.path_variables):
            return None
        known = ", ".join([*sorted(PATH_VARIABLES | set(self.path_variables)), f"{PATH_PREFIX}…"])
        wanted = self._entry("paths", "variables", "path_variables", self.path_variables, variable)
        return Problem(
            "variable-not-permitted",
            f"`path` may not read the variable `{variable}`",
            f"it may read {known}; to allow this one, {self._write(wanted)}",
        )

    def _allow_key(self, variable: str, host: str) -> str:
        """What to write so that the key in ``variable`` may also go to ``host``."""
        listed = _quoted([*self.keys.get(variable, ()), host])
        if self.file is None:
            return self._write(f'`keys={{"{variable}": {listed}}}`')
        return self._write(f"`{variable} = {listed}` under `[keys]`")

    def _without_tls(self, host: str) -> str:
        return self._entry("hosts", "without_tls", "without_tls", self.without_tls, host)

    def _entry(self, table: str, key: str, argument: str, before: Collection[str], more: str) -> str:
        """A list of the configuration with one more entry: the whole list, to replace the old one."""
        listed = _quoted([*before, more])
        return f"`{argument}={listed}`" if self.file is None else f"`{key} = {listed}` under `[{table}]`"

    def _write(self, wanted: str) -> str:
        return f"give `Permissions` {wanted}" if self.file is None else f"write {wanted} in {self.file}"


def refusals(
    id: str, backend: Backend, models: Mapping[str, Model], permissions: Permissions
) -> Iterator[Problem]:
    """What a backend and its ``models`` ask for without permission; each ``path`` is the place in the catalog."""
    if isinstance(backend, ServerBackend):
        for variable in variables_in(backend.api_key or ""):
            yield from _at(
                permissions.key_refusal(variable, backend.server.url, backend.proxy),
                "backends",
                id,
                "api_key",
            )
    paths = {("models", one): model.path for one, model in models.items()}
    if isinstance(backend, FolderBackend):
        paths = {("backends", id): backend.path, **paths}
    for place, path in paths.items():
        for variable in variables_in(path or ""):
            yield from _at(permissions.path_refusal(variable), *place, "path")


def permission_notes(loaded: CompiledPolicy | CompiledCatalog, permissions: Permissions) -> list[Problem]:
    """The keys and variables that the backends of a policy or catalog may not use, each at its place in the YAML.

    Includes those of a rollout's candidate. It does not matter whether a variable is set.
    """
    if isinstance(loaded, CompiledCatalog):
        return sort_problems(_notes(loaded, (), permissions))
    found: list[Problem] = []
    for policy in loaded.with_candidate:
        inside = ("catalog",) if isinstance(policy.shape.catalog, Catalog) else ()
        found += _notes(policy.catalog, inside, permissions)
    return sort_problems(found)


def _notes(catalog: CompiledCatalog, inside: Path, permissions: Permissions) -> list[Problem]:
    shape = catalog.shape
    found = [
        replace(refused, path=(*inside, *refused.path))
        for id, backend in shape.backends.items()
        for refused in refusals(id, backend, _models_on(id, shape), permissions)
    ]
    if not found:
        return []
    document = parse_yaml(catalog.text, catalog.source)
    return [place_problem(one, document) for one in found]


def _models_on(id: str, catalog: Catalog) -> Mapping[str, Model]:
    return {one: model for one, model in catalog.models.items() if model.backend == id}


def _at(refused: Problem | None, *path: str) -> Iterator[Problem]:
    if refused is not None:
        yield replace(refused, path=path)


def _server(url: str | None) -> tuple[str, str] | None:
    """The scheme and host of an address, with the port unless it is the scheme's default."""
    try:
        parts = urlsplit(url or "")
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        return None
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    own = port in (None, _DEFAULT_PORTS[parts.scheme])
    return parts.scheme, name if own else f"{name}:{port}"


def _quoted(words: Collection[str]) -> str:
    """A list of strings, in the syntax that TOML and Python share."""
    return "[" + ", ".join(f'"{word}"' for word in sorted(words)) + "]"


def _listed(words: str | Collection[str]) -> Collection[str]:
    """A single string counts as a list of one, not of its letters."""
    return [words] if isinstance(words, str) else words


def _checked_name(variable: str) -> str:
    if _NAME.fullmatch(variable) is None:
        raise ValueError(f"`{variable}` cannot be the name of a variable")
    return variable


def _checked_host(host: str, own_port: int, of_others: int | None = None) -> str:
    if of_others is not None and host.endswith(f":{of_others}"):
        # An address with the default port of plain HTTP is compared without it, so this would never match.
        raise ValueError(f"`{host}`: leave out the port {of_others}, the default of plain HTTP")
    found = _HOST.fullmatch(host.lower())
    if found is None or int(found[1] or 0) > 65_535:
        raise ValueError(f"`{host}` is not a host: write it as in `lab.example.org` or `10.0.0.5:8000`")
    return host.lower().removesuffix(f":{own_port}")
