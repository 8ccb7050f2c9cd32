"""Makes tokens, vectors and scores with a loaded model. Blocks, in the model's thread.

This module and ``load`` are the ones that call mlx_lm.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..errors import BackendError
from .text import Machine, Transitions

END_OF_TEXT: Final = "<|endoftext|>"
"""The token that ends a text to embed; its place is where the vector is read."""

ANSWERS: Final = ("yes", "no")
"""The tokens whose probabilities, taken against each other, are a document's score."""

_CPU_PREFILL, _GPU_PREFILL = 128, 512


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn: the most likely one at temperature 0, else at random from ``seed``."""

    temperature: float
    seed: int | None = None
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """One generated token: the text that it completes (may be empty), and how many there were so far."""

    text: str
    tokens: int
    finish: Literal["stop", "length"] | None


class LoadedModel:
    """A model with its tokenizer (a ``TokenizerWrapper`` of mlx_lm).

    ``defaults`` is how its makers say that it should be sampled; ``channels`` is whether it has those of gpt-oss.
    """

    def __init__(self, model: Any, tokenizer: Any, defaults: Mapping[str, Any]) -> None:
        self.tokenizer, self.defaults = tokenizer, defaults
        self.channels = {"<|channel|>", "<|message|>"} <= tokenizer.get_vocab().keys()
        self._model = model

    def warm_up(self) -> None:
        """Generate two tokens for nobody.

        MLX compiles its kernels when they are first used, which takes seconds: part of loading, not of the first
        call's first token.
        """
        with closing(
            self.generate([0, 0], max_tokens=2, sampling=Sampling(0), stopped=lambda: False)
        ) as pieces:
            for _ in pieces:
                pass

    def machine(self, transitions: Transitions) -> Machine:
        """What finds the markers of ``transitions`` in generated text."""
        from mlx_lm.generate import TextStateMachine

        make: Any = TextStateMachine
        return make(transitions)

    def generate(
        self, prompt: Sequence[int], *, max_tokens: int, sampling: Sampling, stopped: Callable[[], bool]
    ) -> Generator[Piece, None, None]:
        """Token by token, the last with its ``finish``; ends without one once ``stopped()`` is true.

        ``max_tokens`` below 0 is no limit. While the prompt is read, ``stopped`` is asked after each part of it.
        """
        import mlx.core as mx
        from mlx_lm.generate import stream_generate
        from mlx_lm.sample_utils import make_logits_processors

        def progress(_done: int, _all: int) -> None:
            if stopped():
                raise _Stopped

        generated: Any = stream_generate(
            self._model,
            self.tokenizer,
            list(prompt),
            max_tokens=max_tokens,
            sampler=_sampler(sampling),
            logits_processors=make_logits_processors(
                repetition_penalty=sampling.repetition_penalty,
                presence_penalty=sampling.presence_penalty,
                frequency_penalty=sampling.frequency_penalty,
            ),
            # A part is what cannot be interrupted: larger ones gain little, and on a CPU nothing.
            prefill_step_size=_CPU_PREFILL if mx.default_device() == mx.cpu else _GPU_PREFILL,
            prompt_progress_callback=progress,
        )
        # Closed here, in the model's thread: MLX does not allow it in another.
        with closing(generated), suppress(_Stopped):
            for response in generated:
                if stopped():
                    return
                yield Piece(response.text, response.generation_tokens, response.finish_reason)

    def embedding_tokens(self, text: str) -> list[int]:
        """The tokens of a text to embed, ended by one end-of-text."""
        end = self._token(END_OF_TEXT)
        tokens = [int(token) for token in self.tokenizer.encode(text, split_special_tokens=True)]
        return tokens if tokens and tokens[-1] == end else [*tokens, end]

    def embed(self, tokens: Sequence[int], dimensions: int | None) -> tuple[float, ...]:
        """The last token's state as a unit vector, of its first ``dimensions`` numbers if given.

        Shortening before normalising is what Qwen3-Embedding was trained for (Matryoshka representations).
        """
        import mlx.core as mx

        state = self._last_state(tokens).astype(mx.float32)
        if dimensions is not None:
            if dimensions > state.size:
                raise BackendError(
                    f"vectors of this model have {state.size} numbers, not {dimensions}",
                    error_class="bad_response",
                    help="correct `dimensions` in the catalog",
                )
            state = state[:dimensions]
        length: Any = mx.linalg.norm(state).item()
        if not 0 < length < float("inf"):
            raise BackendError("the model gave a vector without a direction", error_class="bad_response")
        return tuple(float(number) for number in (state / length).tolist())

    def rerank_tokens(self, head: str, body: str, tail: str) -> list[int]:
        """The tokens of a prompt in three parts; special tokens inside ``body`` are text like any other."""
        encode = self.tokenizer.encode
        tokens = encode(head, add_special_tokens=False)
        tokens = tokens + encode(body, add_special_tokens=False, split_special_tokens=True)
        return [int(token) for token in tokens + encode(tail, add_special_tokens=False)]

    def score(self, tokens: Sequence[int]) -> float:
        """How likely the model says yes rather than no, from 0 to 1."""
        import mlx.core as mx

        inner, state = self._model.model, self._last_state(tokens)
        tied = self._model.args.tie_word_embeddings
        logits = inner.embed_tokens.as_linear(state) if tied else self._model.lm_head(state)
        yes, no = (self._token(answer) for answer in ANSWERS)
        chance: Any = mx.softmax(logits[mx.array([yes, no])].astype(mx.float32))[0].item()
        return float(chance)

    def _last_state(self, tokens: Sequence[int]) -> Any:
        import mlx.core as mx

        return self._model.model(mx.array(list(tokens))[None])[0, -1]

    def _token(self, text: str) -> int:
        token = self.tokenizer.get_vocab().get(text)
        if token is None:
            raise BackendError(
                f"the model's vocabulary has no token `{text}`, which its family needs",
                error_class="bad_response",
                help="the model's files may not be what its name says",
            )
        return int(token)


class _Stopped(Exception):
    """Leaves mlx_lm in the middle of a prompt."""


def _sampler(sampling: Sampling) -> Callable[[Any], Any]:
    import mlx.core as mx
    from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p

    if sampling.temperature == 0:
        return lambda logprobs: mx.argmax(logprobs, axis=-1)
    # Keys of its own: the library's random state is shared by all models, and a seed would say nothing.
    seed = int.from_bytes(os.urandom(8), "big") if sampling.seed is None else sampling.seed
    key = mx.random.key(seed % 2**64)

    def sample(logprobs: Any) -> Any:
        nonlocal key
        if 0 < sampling.top_p < 1:
            logprobs = apply_top_p(logprobs, sampling.top_p)
        if sampling.min_p > 0:
            logprobs = apply_min_p(logprobs, sampling.min_p)
        if 0 < sampling.top_k < logprobs.shape[-1]:
            logprobs = apply_top_k(logprobs, sampling.top_k)
        key, now = mx.random.split(key)
        return mx.random.categorical(logprobs / sampling.temperature, key=now)

    return sample
