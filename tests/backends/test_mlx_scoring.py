"""Vectors and scores from tiny models of the two families that the mlx backend knows: their form, not their sense."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.mlx_parts import tiny_models

from routewright.backends import BackendError, EmbedRequest, Limits, RerankRequest, Usage
from routewright.backends.mlx.backend import MlxBackend
from routewright.backends.mlx.models import MlxModel
from routewright.backends.mlx.runtime import LoadedModel

EMBEDS, RERANKS = frozenset({"embed"}), frozenset({"rerank"})
EMBEDDER, RERANKER = "Qwen3-Embedding-tiny", "Qwen3-Reranker-tiny"
TEXTS = ("Paris is in France.", "yes", "")


@pytest.fixture(scope="module")
def folder() -> Path:
    return tiny_models()


@asynccontextmanager
async def opened(folder: Path, **more: MlxModel) -> AsyncIterator[MlxBackend]:
    models = {EMBEDDER: MlxModel(operations=EMBEDS), RERANKER: MlxModel(operations=RERANKS), **more}
    backend = MlxBackend(models, path=str(folder))
    try:
        yield backend
    finally:
        await backend.close()


async def failed(call: object) -> BackendError:
    with pytest.raises(BackendError) as caught:
        await call  # type: ignore[misc]
    return caught.value


def test_vectors_are_unit_vectors_one_for_each_text_and_the_same_each_time(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder) as backend:
            first = await backend.embed(EMBEDDER, EmbedRequest(TEXTS))
            again = await backend.embed(EMBEDDER, EmbedRequest(TEXTS[::-1]))
            assert [len(vector) for vector in first.vectors] == [64, 64, 64]
            for vector in first.vectors:
                assert math.isclose(math.hypot(*vector), 1, rel_tol=1e-5)
            assert again.vectors == first.vectors[::-1]  # a text's neighbours do not matter
            assert len(set(first.vectors)) == 3
            assert first.usage.input_tokens == again.usage.input_tokens
            assert (first.usage.output_tokens, first.usage.source) == (0, "reported")
            assert first.timings.first_token_us is None
            assert again.timings.load_us == 0

    asyncio.run(main())


def test_the_vector_is_read_at_one_end_of_text_whether_the_tokenizer_adds_it_or_not(
    folder: Path, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, processors

    shutil.copytree(folder / EMBEDDER, tmp_path / EMBEDDER)
    file = str(tmp_path / EMBEDDER / "tokenizer.json")
    tokenizer = Tokenizer.from_file(file)
    end = ("<|endoftext|>", tokenizer.token_to_id("<|endoftext|>"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <|endoftext|>", special_tokens=[end])
    tokenizer.save(file)

    async def vectors(where: Path) -> object:
        async with opened(where) as backend:
            answer = await backend.embed(EMBEDDER, EmbedRequest(TEXTS))
            return answer.vectors, answer.usage

    assert asyncio.run(vectors(folder)) == asyncio.run(vectors(tmp_path))


def test_shorter_vectors_are_the_beginning_of_longer_ones_made_unit_again(folder: Path) -> None:
    async def main() -> None:
        path = str(folder / EMBEDDER)
        short = MlxModel(path=path, operations=EMBEDS, dimensions=16)
        wide = MlxModel(path=path, operations=EMBEDS, dimensions=65)
        async with opened(folder, short=short, wide=wide) as backend:
            (whole,) = (await backend.embed(EMBEDDER, EmbedRequest(("text",)))).vectors
            (part,) = (await backend.embed("short", EmbedRequest(("text",)))).vectors
            length = math.hypot(*whole[:16])
            assert part == pytest.approx([number / length for number in whole[:16]], abs=1e-6)
            error = await failed(backend.embed("wide", EmbedRequest(("text",))))
            assert str(error) == "vectors of this model have 64 numbers, not 65"
            assert (error.error_class, error.help) == ("bad_response", "correct `dimensions` in the catalog")

    asyncio.run(main())


def test_an_instruction_makes_texts_queries(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder) as backend:
            query = EmbedRequest(("Paris?",), options={"instruction": "Find the city"})
            by_hand = EmbedRequest(("Instruct: Find the city\nQuery:Paris?",))
            assert (await backend.embed(EMBEDDER, query)).vectors == (
                await backend.embed(EMBEDDER, by_hand)
            ).vectors

    asyncio.run(main())


def test_scores_are_chances_one_for_each_document_and_the_same_each_time(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder) as backend:
            request = RerankRequest("capital of France?", ("Paris is.", "Rome is not.", ""))
            first = await backend.rerank(RERANKER, request)
            again = await backend.rerank(RERANKER, request)
            other = await backend.rerank(
                RERANKER,
                RerankRequest(request.query, request.documents, options={"instruction": "Be strict"}),
            )
            assert len(first.scores) == 3
            assert all(0 < score < 1 for score in first.scores)
            assert len(set(first.scores)) == 3
            assert first.scores == again.scores != other.scores
            assert (first.usage.input_tokens or 0) > 3 * 100  # the instructions count

    asyncio.run(main())


def test_markers_inside_a_document_are_text(folder: Path) -> None:
    async def main() -> int | None:
        async with opened(folder) as backend:
            request = RerankRequest("q", ("<|im_end|>",))
            return (await backend.rerank(RERANKER, request)).usage.input_tokens

    async def plain() -> int | None:
        async with opened(folder) as backend:
            return (await backend.rerank(RERANKER, RerankRequest("q", ("",)))).usage.input_tokens

    assert (asyncio.run(main()) or 0) > (asyncio.run(plain()) or 0) + 1


def test_nothing_to_do_is_an_empty_answer(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder) as backend:
            assert (await backend.embed(EMBEDDER, EmbedRequest(()))).vectors == ()
            assert (await backend.rerank(RERANKER, RerankRequest("q", ()))).scores == ()

    asyncio.run(main())


def test_too_long_a_text_is_refused_before_any_is_run(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder) as backend:
            error = await failed(backend.embed(EMBEDDER, EmbedRequest(("short", "xyz " * 2_000))))
            assert error.error_class == "context_overflow"
            assert str(error).startswith("text 2 has ")
            assert str(error).endswith(f"`{EMBEDDER}` has a window of 2048")
            assert error.timings is not None
            assert error.timings.first_token_us is None

    asyncio.run(main())


def test_unknown_options_are_refused(folder: Path) -> None:
    async def main() -> None:
        async with opened(folder) as backend:
            error = await failed(backend.embed(EMBEDDER, EmbedRequest(("a",), options={"pooling": "mean"})))
            assert str(error) == "the mlx backend does not know the option `pooling` here"
            assert (error.error_class, error.help) == ("invalid_request", "known: instruction")

    asyncio.run(main())


def test_a_text_that_stalls_is_a_timeout_that_counts_what_was_spent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, done = LoadedModel.embed, []

    def stalling(self: LoadedModel, tokens: Sequence[int], dimensions: int | None) -> tuple[float, ...]:
        done.append(len(tokens))
        if len(done) == 3:
            time.sleep(2.5)
        return whole(self, tokens, dimensions)

    async def main() -> None:
        async with opened(folder) as backend:
            texts = EmbedRequest(("one", "two three", "four", "five", "six"))
            error = await failed(backend.embed(EMBEDDER, texts, limits=Limits(idle_ms=1_000)))
            assert error.error_class == "timeout.idle"
            assert error.usage == Usage(sum(done[:2]), 0, 0, 0, "reported")
        assert len(done) == 3  # the rest was not begun

    monkeypatch.setattr(LoadedModel, "embed", stalling)
    asyncio.run(main())


@pytest.mark.parametrize(
    ("tag", "operation"), [("tiny-a", "embed"), ("tiny-a", "rerank"), (EMBEDDER, "rerank")]
)
def test_a_model_of_no_known_family_gets_no_vectors_that_would_mean_nothing(
    folder: Path, tag: str, operation: str
) -> None:
    async def main() -> BackendError:
        backend = MlxBackend({tag: MlxModel(operations=EMBEDS | RERANKS)}, path=str(folder))
        if operation == "embed":
            return await failed(backend.embed(tag, EmbedRequest(("a",))))
        return await failed(backend.rerank(tag, RerankRequest("q", ("a",))))

    family = "Qwen3-Embedding" if operation == "embed" else "Qwen3-Reranker"
    error = asyncio.run(main())
    assert str(error) == (
        f"`{tag}` cannot {operation} here: the mlx backend knows how for {family} models alone"
    )
    assert error.error_class == "not_found"


def test_an_embedding_model_is_known_by_its_source_and_by_the_pooling_that_it_declares(
    folder: Path, tmp_path: Path
) -> None:
    for name in ("by-source", "by-pooling"):
        shutil.copytree(folder / EMBEDDER, tmp_path / name)
    (tmp_path / "by-pooling" / "1_Pooling").mkdir()
    pooling = tmp_path / "by-pooling" / "1_Pooling" / "config.json"
    pooling.write_text(json.dumps({"pooling_mode_lasttoken": True}))

    async def main() -> None:
        models = {
            "by-source": MlxModel(operations=EMBEDS, source="Qwen/Qwen3-Embedding-0.6B"),
            "by-pooling": MlxModel(operations=EMBEDS),
        }
        backend = MlxBackend(models, path=str(tmp_path))
        for tag in models:
            assert len((await backend.embed(tag, EmbedRequest(("a",)))).vectors) == 1
        await backend.close()

    asyncio.run(main())
