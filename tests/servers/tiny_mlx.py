"""Builds tiny models that mlx_lm loads like any other, each in a folder of its own.

    python tiny_mlx.py OUT

Most have seeded random weights and talk noise, the same noise each time at temperature 0. The scripted ones have
weights that make each token be followed by a certain other one: real models, of which a test knows the answer.
Takes about two seconds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models import llama, qwen3
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

WINDOW = 2_048
MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
THINKING = ("<think>", "</think>")
CALLING = ("<tool_call>", "</tool_call>")
CORPUS = (
    "The quick brown fox jumps over the lazy dog. Hello, how are you today?",
    "def add(a, b):\n    return a + b\n",
    "What is the capital of France? Paris. yes no yes no yes no user system assistant",
)
CHATML = (
    "{% if messages[0]['role'] == 'assistant' %}{{ raise_exception('the user speaks first') }}{% endif %}"
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOOLS = (
    "{% if tools %}{{ '<|im_start|>system\n' }}{% for t in tools %}{{ t | tojson }}{% endfor %}"
    "{{ '<|im_end|>\n' }}{% endif %}"
    "{% for m in messages %}{% for tool_call in m.tool_calls or [] %}"
    "{{ '<tool_call>' + tool_call.function.name + '</tool_call>' if tool_call.function else tool_call.name }}"
    "{% endfor %}{% endfor %}"
)
NO_THINKING = "{% if enable_thinking is false %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
CALL = '{"name": "weather", "arguments": {"city": "Paris"}}'
SCRIPTS: Mapping[str, Sequence[str]] = {
    "thinker": ("<think>", "hmm, ", "let me see", "</think>", "\n\n", "It is ", "Paris.", "<|im_end|>"),
    "caller": ("I look. ", "<tool_call>", CALL, "</tool_call>", "<|im_end|>"),
    "mumbler": ("<tool_call>", "not a call", "</tool_call>", "<|im_end|>"),
}


def tokenizer_with(tokens: Sequence[str]) -> Tokenizer:
    """Byte-level BPE, so that every text has tokens; those of ``tokens`` are one each."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=list(MARKERS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS * 20, trainer)
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in tokens])
    return tokenizer


def write(
    folder: Path,
    kind: str,
    tokenizer: Tokenizer,
    *,
    template: str | None,
    script: Sequence[str] = (),
    bare_names: bool = False,
) -> None:
    """One model folder; ``bare_names`` leaves out the prefix ``model.`` of the weights."""
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    size = tokenizer.get_vocab_size()
    words: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": WINDOW,
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
    }
    if template is not None:
        words["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(words))
    config: dict[str, Any] = {
        "model_type": kind,
        "hidden_size": size if script else 64,
        "num_hidden_layers": 1 if script else 2,
        "intermediate_size": 128,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 1e-5,
        "vocab_size": size,
        "rope_theta": 10_000.0,
        "max_position_embeddings": WINDOW,
        "tie_word_embeddings": not script,
        "eos_token_id": tokenizer.token_to_id("<|im_end|>"),
    }
    (folder / "config.json").write_text(json.dumps(config))
    module: Any = {"llama": llama, "qwen3": qwen3}[kind]
    mx.random.seed(7)
    model = module.Model(module.ModelArgs.from_dict(config))
    parameters: Any = tree_flatten(model.parameters())
    weights = {name: value.astype(mx.float32) for name, value in parameters}
    if script:
        numbers = tokenizer.get_vocab()
        follow(weights, [numbers[token] for token in ("Ċ", *script)], size)
    if bare_names:
        weights = {name.removeprefix("model."): value for name, value in weights.items()}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})


def follow(weights: dict[str, Any], path: Sequence[int], size: int) -> None:
    """Let each token of ``path`` be followed by the next: layers add nothing, and the head looks the token up."""
    for name, value in weights.items():
        if "o_proj" in name or "down_proj" in name:
            weights[name] = mx.zeros_like(value)
    weights["model.embed_tokens.weight"] = mx.eye(size)
    head = mx.zeros((size, size))
    for token, after in zip(path, path[1:], strict=False):
        head[after, token] = 10.0
    weights["lm_head.weight"] = head


def build(out: Path) -> None:
    """All models, each in a folder of its own name."""
    plain = tokenizer_with(("yes", "no"))
    for name in ("tiny-a", "tiny-b", "tiny-c"):
        write(out / name, "llama", plain, template=CHATML)
    write(out / "untaught", "llama", plain, template=None)
    write(out / "Qwen3-Embedding-tiny", "qwen3", plain, template=None, bare_names=True)
    write(out / "Qwen3-Reranker-tiny", "qwen3", plain, template=None)
    for name, script in SCRIPTS.items():
        tokenizer = tokenizer_with([*THINKING, *CALLING, *dict.fromkeys(script)])
        write(out / name, "qwen3", tokenizer, template=TOOLS + CHATML + NO_THINKING, script=script)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
