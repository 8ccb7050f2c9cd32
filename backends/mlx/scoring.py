"""Tells which models can embed and rerank, and makes the prompts that they need for it.

Pooling and prompts belong to a family of models: vectors made in another way look right and mean nothing. So two
families are offered, as their makers document them, and no other: Qwen3-Embedding
(https://huggingface.co/Qwen/Qwen3-Embedding-0.6B) and Qwen3-Reranker
(https://huggingface.co/Qwen/Qwen3-Reranker-0.6B).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, Final, Literal

from ..errors import BackendError
from ..protocol import EmbedRequest, RerankRequest
from .models import MlxModel
from .runtime import LoadedModel

Operation = Literal["chat", "embed", "rerank"]

_DEFAULT_INSTRUCTION: Final = "Given a web search query, retrieve relevant passages that answer the query"
_RERANK_HEAD: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
_RERANK_TAIL: Final = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_FAMILIES: Final[Mapping[Literal["embed", "rerank"], str]] = {
    "embed": "Qwen3-Embedding",
    "rerank": "Qwen3-Reranker",
}


def check_family(
    operation: Literal["embed", "rerank"], tag: str, model: MlxModel, config: Mapping[str, Any], folder: Path
) -> None:
    """Raise BackendError ``not_found`` when the model is of no family that does ``operation``.

    The family is told by the architecture (``qwen3``) and by the model's names: its tag, its ``source``, the
    folder of its ``path``. Embedding models are known too by the pooling that their folder declares.
    """
    family = _FAMILIES[operation]
    names = (tag, model.source or "", PurePath(model.path or "").name)
    named = any(family.lower() in name.lower() for name in names)
    declared = operation == "embed" and _pools_last_token(folder)
    if config.get("model_type") == "qwen3" and (named or declared):
        return
    raise BackendError(
        f"`{tag}` cannot {operation} here: the mlx backend knows how for {family} models alone",
        error_class="not_found",
        help=f"name the repository in `source` if it is one, such as `source: Qwen/{family}-0.6B`",
    )


def vector_steps(
    loaded: LoadedModel,
    request: EmbedRequest,
    *,
    tag: str,
    window: int | None,
    dimensions: int | None,
    stopped: Callable[[], bool],
) -> Generator[tuple[int, tuple[float, ...]], None, None]:
    """For each text in order its number of tokens and its vector; ends early once ``stopped()``.

    With the option ``instruction`` the texts are queries, else documents. Raises BackendError before anything is
    run when a text does not fit into the window, and for other options.
    """
    instruction = _instruction(request.options)
    texts = request.texts
    if instruction is not None:
        texts = tuple(f"Instruct: {instruction}\nQuery:{text}" for text in texts)
    prompts = [loaded.embedding_tokens(text) for text in texts]
    _check_fit(prompts, "text", tag, window)
    for prompt in prompts:
        if stopped():
            return
        yield len(prompt), loaded.embed(prompt, dimensions)


def score_steps(
    loaded: LoadedModel, request: RerankRequest, *, tag: str, window: int | None, stopped: Callable[[], bool]
) -> Generator[tuple[int, float], None, None]:
    """For each document in order the number of tokens that it took and its score.

    The option ``instruction`` says what makes a document relevant. Ends early and raises like ``vector_steps``.
    """
    asked = _instruction(request.options) or _DEFAULT_INSTRUCTION
    prompts = [
        loaded.rerank_tokens(
            _RERANK_HEAD,
            f"<Instruct>: {asked}\n<Query>: {request.query}\n<Document>: {document}",
            _RERANK_TAIL,
        )
        for document in request.documents
    ]
    _check_fit(prompts, "document", tag, window)
    for prompt in prompts:
        if stopped():
            return
        yield len(prompt), loaded.score(prompt)


def _check_fit(prompts: Sequence[Sequence[int]], what: str, tag: str, window: int | None) -> None:
    for number, prompt in enumerate(prompts, start=1):
        if window is not None and len(prompt) > window:
            raise BackendError(
                f"{what} {number} has {len(prompt)} tokens, and `{tag}` has a window of {window}",
                error_class="context_overflow",
                help=f"split the {what}",
            )


def _instruction(options: Mapping[str, object]) -> str | None:
    """The option ``instruction``: the task in a sentence."""
    unknown = sorted(options.keys() - {"instruction"})
    if unknown:
        raise BackendError(
            f"the mlx backend does not know the option `{unknown[0][:100]}` here",
            error_class="invalid_request",
            help="known: instruction",
        )
    instruction = options.get("instruction")
    return None if instruction is None else str(instruction)


def _pools_last_token(folder: Path) -> bool:
    try:
        pooling = json.loads((folder / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(pooling, dict) and pooling.get("pooling_mode_lasttoken") is True
