"""Every leaf of the sources is carried by an element of the shipped policy, or says why none carries it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from support.shipped import POLICIES, ROOT, hybrid, plain_yaml
from support.source_leaves import Leaf, leaves_of_json, leaves_of_markdown
from support.source_mapping import Elements, check_mapping

SHARED = ROOT.parent / "shared"
MAPPINGS: Mapping[str, Mapping[str, str | Mapping[str, object]]] = plain_yaml(
    Path(__file__).with_name("sources.yaml")
)

# The sources are not the project's to ship: elsewhere than beside its own checkout there are none to compare.
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="the sources are not beside the checkout")


def _leaves(source: str) -> list[Leaf]:
    if source.endswith(".md"):
        return leaves_of_markdown((SHARED / "seed" / source).read_text(encoding="utf-8"))
    return leaves_of_json((SHARED / "data" / "cortex-os" / source).read_text(encoding="utf-8"))


def _elements() -> Elements:
    roots = {
        "catalog": plain_yaml(POLICIES / "catalog.yaml"),
        "policy": plain_yaml(POLICIES / "hybrid.yaml"),
        "cases": plain_yaml(POLICIES / "hybrid.test.yaml")["cases"],
    }
    return Elements(roots, hybrid().catalog)


def test_every_source_is_mapped() -> None:
    found = {path.name for folder in ("data/cortex-os", "seed") for path in (SHARED / folder).iterdir()}
    assert found == set(MAPPINGS)


@pytest.mark.parametrize("source", MAPPINGS)
def test_every_leaf_is_carried_or_says_why_not(source: str) -> None:
    problems = check_mapping(_leaves(source), MAPPINGS[source], _elements())
    assert not problems, "\n".join(problems)


def test_priorities_and_chains_agree_on_the_order() -> None:
    source = "hybrid-model-enforcement.json"
    numbers: dict[str, list[tuple[int, object]]] = {}
    for path, value in _leaves(source):
        mapping = MAPPINGS[source].get("/".join(path))
        if path[0] == "model_priorities" and isinstance(mapping, Mapping):
            element = str(mapping.get("element", ""))
            if element.startswith(f"policy/chains/{path[1]}/"):
                numbers.setdefault(path[1], []).append((int(element.rsplit("/", 1)[1]), value))
    assert set(numbers) == {"embedding", "chat", "mixture_of_experts", "tool_calling", "rerank", "vision"}
    for chain, placed in numbers.items():
        in_order = [number for _, number in sorted(placed)]
        assert in_order == sorted(in_order, key=lambda number: -int(str(number))), chain


def test_no_two_blocks_of_the_document_hold_one_leaf() -> None:
    paths = [path for path, _ in _leaves("kimi-k2-model-addition.md")]
    assert len(paths) == len(set(paths))


def test_a_wrong_mapping_is_noticed() -> None:
    leaves: list[Leaf] = [(("models", "a"), 1), (("models", "b"), "kimi-k2-cloud")]
    problems = check_mapping(
        leaves,
        {
            "models/a": "catalog/models/kimi-k2-cloud/context_length",
            "models/*": {"element": "policy/rules/otherwise/use/0", "check": "model"},
            "models/b": {"reason": "never reached"},
        },
        _elements(),
    )
    assert problems == [
        "models/a: catalog/models/kimi-k2-cloud/context_length equal: 200000 against 1",
        "models/b: policy/rules/otherwise/use/0 model: 'glm-4.5' against 'kimi-k2-cloud'",
        "models/b: no leaf needs this mapping",
    ]
