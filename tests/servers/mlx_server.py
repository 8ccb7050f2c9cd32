"""Run mlx_lm's own OpenAI-compatible server with a model of this disk, until it is killed.

    python mlx_server.py FOLDER PORT HOME

HOME is an empty folder to use in place of the user's Hugging Face cache: without a cache there the server
answers `GET /v1/models` with nothing. It listens on 127.0.0.1 and reaches no network.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path


def serve(folder: str, port: str, home: str) -> None:
    """Never returns."""
    (Path(home) / "hub").mkdir(parents=True, exist_ok=True)
    # Read when the libraries are imported, so they are set before.
    os.environ.update(HF_HOME=home, HF_HUB_OFFLINE="1")
    os.environ.pop("HF_HUB_CACHE", None)
    from mlx_lm import server

    sys.argv = ["mlx_lm.server", "--model", folder, "--host", "127.0.0.1", "--port", port]
    run: Callable[[], None] = server.main
    run()


if __name__ == "__main__":
    serve(*sys.argv[1:])
