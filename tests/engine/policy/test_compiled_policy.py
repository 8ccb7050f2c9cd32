"""What a policy is compiled to: names resolved, repeats left out, limits worked out."""

from __future__ import annotations

import pytest
from support.policy_texts import WHOLE, compiled, problems_of

from routewright.engine.policy.compiled import CompiledPolicy
from routewright.engine.report.problems import Problem, render_problem
from routewright.engine.report.suggestions import suggest

MODELS = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends:
    mlx: { kind: mlx }
    cloud: { kind: ollama, location: cloud, disabled: true, disabled_reason: not today }
  models:
    coder: { backend: mlx, tag: shared, aliases: [programmer, 'vendor/coder:30b'] }
    shared: { backend: cloud, tag: 'shared:1t-cloud' }
    kimi: { backend: cloud, tag: 'kimi-k2:1t-cloud', operations: [chat, embed, rerank] }
features:
  urgent: { type: boolean, default: false }
"""


def rule(*lines: str) -> str:
    return MODELS + "rules:\n  - name: r\n" + "".join(f"    {line}\n" for line in lines)


def candidates(policy: CompiledPolicy) -> list[tuple[str, str]]:
    models = policy.catalog.models
    return [(models[c.model].id, c.origin) for c in policy.rules[0].candidates]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("coder", "coder"),
        ("programmer", "coder"),
        ("vendor/coder:30b", "coder"),
        ("mlx:shared", "coder"),
        ("mlx:programmer", "coder"),
        # An id is stronger than another model's tag.
        ("shared", "shared"),
        ("shared:1t-cloud", "shared"),
        ("kimi-k2:1t-cloud", "kimi"),
        ("cloud:kimi-k2:1t-cloud", "kimi"),
        ("cloud:kimi", "kimi"),
    ],
)
def test_a_model_goes_by_its_id_aliases_tag_and_backend(name: str, model: str) -> None:
    assert candidates(compiled(rule(f"use: ['{name}']"))) == [(model, "use")]


def test_candidates_are_those_of_the_rule_then_its_chain_without_repeats() -> None:
    text = rule("use: [kimi]", "fallback: all") + "chains: { all: [coder, kimi, shared] }\n"
    assert candidates(compiled(text)) == [("kimi", "use"), ("coder", "chain all"), ("shared", "chain all")]
    text = rule("use: [kimi]", "fallback: [coder, kimi]")
    assert candidates(compiled(text)) == [("kimi", "use"), ("coder", "fallback")]


def test_what_is_disabled_is_taken_out_and_named() -> None:
    text = rule("use: [coder]", "fallback: all") + (
        "  - { name: off, use: [coder], disabled: true }\n"
        "chains: { all: [{ model: kimi, disabled: true, reason: too dear }, shared] }\n"
        "constraints: [{ name: never, require: false, disabled: true }]\n"
        "controls:\n"
        "  - { name: daily, max_requests: 5, per: day, disabled: true }\n"
        "  - { name: kept, of: daily, reserve: 5%, for: urgent }\n"
    )
    policy = compiled(text)
    assert candidates(policy) == [("coder", "use"), ("shared", "chain all")]
    assert policy.rules[0].excluded == (("kimi", "too dear"),)
    assert set(policy.disabled) == {
        "rule off",
        "chain all: kimi",
        "constraint never",
        "control daily",
        "control kept, as daily is",
        "backend cloud",
    }
    assert policy.catalog.models[1].disabled == "backend `cloud`: not today"


def test_an_operation_needs_the_model_and_its_backend() -> None:
    offered = [sorted(model.operations) for model in compiled(rule("use: [coder]")).catalog.models]
    assert offered == [["chat"], ["chat"], ["chat", "embed"]]


@pytest.mark.parametrize(
    ("limit", "share", "held"),
    [(100, "7%", 7), (1000, "20%", 200), (10, "33%", 4), (3, "0%", 0), (7, "100%", 7)],
)
def test_a_reserve_is_rounded_up_and_exact(limit: int, share: str, held: int) -> None:
    text = rule("use: [coder]") + (
        f"controls:\n  - {{ name: q, max_requests: {limit}, per: day }}\n"
        f"  - {{ name: k, of: q, reserve: {share}, for: urgent }}\n"
    )
    (quota,) = compiled(text).quotas
    assert [reserve.held for reserve in quota.reserves] == [held]


def test_a_split_without_a_weight_stands_by() -> None:
    text = rule("use: [kimi, coder]", "choose: split", "split: { weights: { programmer: 3 } }")
    split = compiled(text).rules[0].split
    assert split is not None and split.weights == (0, 3)


def test_what_is_not_supported_yet_is_said() -> None:
    said = compiled(WHOLE).unenforced
    assert [line.split(":")[0] for line in said] == ["assertion as", "assertion 2"]


def test_a_feature_that_could_not_be_read_is_reported_once() -> None:
    uses = "".join(f"  - {{ name: r{n}, when: lost || !lost, use: [coder] }}\n" for n in range(10))
    text = MODELS + "  lost: { type: bool }\nrules:\n" + uses
    assert [problem.message for problem in problems_of(text)] == [
        "`type` takes `boolean`, `integer`, `number`, `string` or `array`, not `bool`"
    ]


def test_an_alias_elsewhere_in_a_rule_without_a_condition_is_no_problem() -> None:
    text = rule("use: &models [coder]") + "  - { name: s, use: *models }\n"
    assert [problem.code for problem in problems_of(text)] == []


def test_problems_are_shown_without_control_characters_and_under_wide_letters() -> None:
    line = "  when: '日本' == \u202eteam\t&& x"
    problem = Problem("code", "message \x1b[31m\nred", "help\x07", None, (), "p.yaml", 3, 11, line, 4)
    assert render_problem(problem).splitlines() == [
        "p.yaml:3:11: error[code]: message \\x1b[31m\\nred",
        "  |   when: '日本' == \\u{202e}team && x",
        "  |            ^^^^^",
        "  = help: help\\x07",
    ]


def test_a_long_line_is_shown_around_the_place() -> None:
    problem = Problem("code", "m", None, None, (), "p.yaml", 1, 500, "x" * 499 + "y" + "z" * 500, 1)
    _, shown, marks = render_problem(problem).splitlines()
    assert len(shown) == len("  | ") + 160
    assert shown[marks.index("^")] == "y"


def test_suggestions_are_for_what_looks_alike() -> None:
    assert suggest("URGENT", ["urgent", "tokens"]) == "did you mean `urgent`? declared: tokens, urgent"
    assert suggest("colour", ["urgent"]) == "declared: urgent"
    assert suggest("a", []) == "nothing is declared"
    assert suggest("a", [], label="quotas") == suggest("a", [], label="it knows") == "there are none"
    many = [f"model_{number:05}" for number in range(50_000)]
    assert suggest("model_00017x", many).startswith("did you mean `model_00017`? declared: model_00000,")


@pytest.mark.parametrize(
    "part",
    [
        "use: [chats], steps: [{ STEP: { with: vectors } }]".replace("STEP", step)
        for step in ("screen", "draft", "verify", "refine")
    ]
    + [
        "ensemble: { members: [chats, more], combine: judge, judge: vectors }",
        "ensemble: { members: [chats, vectors], combine: consensus_or_override, override: vectors }",
    ],
)
def test_a_model_that_only_embeds_is_no_part_around_an_answer(part: str) -> None:
    text = f"""\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: {{ here: {{ kind: ollama }} }}
  models:
    chats: {{ backend: here }}
    more: {{ backend: here }}
    vectors: {{ backend: here, operations: [embed] }}
rules:
  - {{ name: r, {part} }}
"""
    assert [problem.message for problem in problems_of(text)] == [
        "`vectors` does not chat: it offers `embed`"
    ]
    assert not problems_of(text.replace("operations: [embed]", "operations: [embed, chat]"))


OF_ONE_KIND = """\
routewright: 1
name: p
catalog:
  routewright: 1
  backends: { b: { BACKEND } }
  models: { m: { backend: b, MODEL } }
rules:
  - { name: r, use: [m] }
"""


@pytest.mark.parametrize(
    ("backend", "model", "told"),
    [
        ("kind: openai", "", ["backend `b` needs the key `host`"]),
        (
            "kind: openai, host: 'localhost:8080/v1'",
            "",
            ["`host` takes an address with `http://` or `https://`, not `localhost:8080/v1`"],
        ),
        (
            "kind: openai, host: 'ftp://x'",
            "",
            ["`host` takes an address such as `http://localhost:11434`, not `ftp://x`"],
        ),
        ("kind: ollama, host: 'http://x:0'", "", ["`host` takes an address such as"]),
        ("kind: mlx, host: 'http://x'", "", ["unknown key `host`"]),
        (
            "kind: llamacpp",
            "tag: smollm2, keep_alive: 5m, preload: true",
            ["unknown key `keep_alive`"],
        ),
        ("kind: mlx", "keep_alive: 5m, preload: true", []),
        ("kind: simulated", "preload: true", ["unknown key `preload`"]),
        ("kind: mlx, memory_pressure: evict", "", ["unknown key `memory_pressure`"]),
        (
            "kind: ollama",
            "tag: 'kimi-k2:1t-cloud', preload: true",
            ["`kimi-k2:1t-cloud` does not run on this machine, so nothing can be loaded"],
        ),
        ("kind: ollama", "path: /m, pooling: mean", ["unknown key `path`", "unknown key `pooling`"]),
        (
            "kind: openai, host: 'http://x', health: 'http://y/health'",
            "",
            ["`http://y/health` is on another server than `http://x`"],
        ),
        ("kind: openai, host: 'http://x/v1', health: 'http://x/health'", "", []),
        (
            "kind: ollama, host: 'http://x', api_key: '${KEY}'",
            "",
            ["an Ollama key is for https://ollama.com, and the host is `http://x`"],
        ),
        ("kind: ollama, host: 'https://ollama.com', api_key: '${KEY}'", "", []),
        ("kind: llamacpp", "tag: qwen", ["the model `qwen` has no file"]),
        ("kind: llamacpp", "tag: smollm2", []),
        ("kind: llamacpp", "tag: qwen, disabled: true", []),
    ],
)
def test_what_would_never_open_is_an_error_of_the_catalog(backend: str, model: str, told: list[str]) -> None:
    text = OF_ONE_KIND.replace("BACKEND", backend).replace(", MODEL", f", {model}" if model else "")
    found = problems_of(text)
    assert len(found) == len(told)
    assert all(one.message.startswith(words) for one, words in zip(found, told, strict=True))


def test_a_key_of_another_kind_is_told_with_the_kinds_that_take_it() -> None:
    (problem,) = problems_of(OF_ONE_KIND.replace("BACKEND", "kind: mlx, threads: 2").replace(", MODEL", ""))
    assert problem.help == "backends of kind `llamacpp` take it, and this one is `mlx`"
    (problem,) = problems_of(OF_ONE_KIND.replace("BACKEND", "kind: mlx").replace("MODEL", "pooling: mean"))
    assert problem.help == "models on backends of kind `llamacpp` take it, and `b` is of kind `mlx`"


@pytest.mark.parametrize(
    ("backend", "model", "help"),
    [
        (
            "kind: mlx, memory_pressure: evict",
            "",
            "nothing is done when memory runs short: `memory_gb` of a backend bounds what is loaded",
        ),
        (
            "kind: mlx",
            "residency: pinned",
            "write `preload: true` to have a model loaded early, and `keep_alive` for how long it stays",
        ),
        ("kind: ollama", "unload_after: 5m", "did you mean `keep_alive`?"),
        ("kind: mlx, vram_gb: 8", "", "did you mean `memory_gb`?"),
    ],
)
def test_keys_about_memory_that_mean_nothing_name_those_that_do(backend: str, model: str, help: str) -> None:
    text = OF_ONE_KIND.replace("BACKEND", backend).replace(", MODEL", f", {model}" if model else "")
    assert [problem.help for problem in problems_of(text)] == [help]
