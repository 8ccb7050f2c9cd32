"""The process that holds a model for ``LlamaCppBackend``: llama.cpp's server on a loopback port.

Run as a script. One line of JSON comes in (the settings, with the key that callers must show), one goes out
(``{"url": …}`` or ``{"error": …}``). It ends when its standard input closes, however its parent ended.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import Any


def parameters(xllamacpp: Any, settings: dict[str, Any]) -> Any:
    """llama.cpp's parameters for our settings."""
    chosen = xllamacpp.CommonParams()
    chosen.model.path = settings["path"]
    chosen.model_alias = {settings["alias"]}
    chosen.hostnames = ["127.0.0.1"]
    chosen.port = 0
    chosen.api_keys = [settings["key"]]
    chosen.n_parallel = settings["slots"]
    chosen.n_ctx = settings["context_tokens"] * settings["slots"]
    # A batch is what cannot be stopped half-way: small ones let a cancelled call end soon.
    chosen.n_batch = chosen.n_ubatch = settings["batch_tokens"]
    if settings["threads"] is not None:
        chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = settings["threads"]
    chosen.verbosity = -1
    chosen.ui = False
    chosen.offline = True
    # Of prompts seen before only as much as the slots hold: the default keeps 8 GB beside them.
    chosen.cache_ram_mib = 0
    if settings["operation"] != "chat":
        pooling = xllamacpp.llama_pooling_type
        chosen.embedding = True
        if settings["operation"] == "rerank":
            chosen.pooling_type = pooling.LLAMA_POOLING_TYPE_RANK
        elif settings["pooling"] is not None:
            chosen.pooling_type = getattr(pooling, f"LLAMA_POOLING_TYPE_{settings['pooling'].upper()}")
    return chosen


def main() -> None:
    """Serve until standard input closes."""
    settings = json.loads(sys.stdin.readline())
    try:
        library = import_module("xllamacpp")
        server = library.Server(parameters(library, settings))
        said = {"url": server.listening_address}
    except Exception as error:  # whatever it was, the parent has to hear of it
        said = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said), flush=True)
    if "url" in said:
        sys.stdin.read()
    # Tidying up would wait for running generations.
    os._exit(0)


if __name__ == "__main__":
    main()
