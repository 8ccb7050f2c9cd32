"""Models share a bounded memory: who is unloaded, who waits, and that nobody waits for ever. Without MLX."""

from __future__ import annotations

import gc
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from routewright.backends import BackendError
from routewright.backends.mlx.pool import Claim, ModelPool

GB = 1_000_000_000


class Models:
    """Loads strings in place of models; `gates` hold loads back, `broken` makes them fail."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.broken: set[str] = set()
        self.ended: list[int] = []
        self.threads: set[int] = set()

    def load(self, tag: str) -> str:
        self.loads.append(tag)
        self.threads.add(threading.get_ident())
        if tag in self.gates:
            assert self.gates[tag].wait(10)
        if tag in self.broken:
            raise BackendError(f"`{tag}` is broken", error_class="bad_response")
        return f"model {tag}"

    def end(self) -> None:
        self.ended.append(threading.get_ident())


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def pool(models: Models) -> Iterator[ModelPool[str]]:
    pool = ModelPool(models.load, memory_bytes=10 * GB, thread_ended=models.end)
    yield pool
    for gate in models.gates.values():
        gate.set()
    pool.close()


def hold(pool: ModelPool[str], tag: str, gb: int = 4) -> Claim[str]:
    """A claim whose model is loaded."""
    claim = pool.claim(tag, gb * GB)
    assert claim.granted.result(10).loading.result(10) == f"model {tag}"
    return claim


def use(pool: ModelPool[str], tag: str, gb: int = 4) -> None:
    hold(pool, tag, gb).leave()


def soon(holds: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.002)
    return True


def test_a_model_is_loaded_once_and_stays(pool: ModelPool[str], models: Models) -> None:
    use(pool, "a")
    use(pool, "a")
    assert models.loads == ["a"]
    assert pool.loaded().keys() == {"a"}


def test_the_least_recently_used_idle_model_makes_room(pool: ModelPool[str]) -> None:
    use(pool, "a")
    use(pool, "b")
    use(pool, "a")
    use(pool, "c")
    assert pool.loaded().keys() == {"a", "c"}


def test_no_more_models_are_unloaded_than_must_be(pool: ModelPool[str]) -> None:
    use(pool, "small", 1)
    use(pool, "large", 8)
    use(pool, "next", 7)
    assert pool.loaded().keys() == {"small", "next"}


def test_a_busy_model_is_not_unloaded_while_an_idle_one_can_be(pool: ModelPool[str]) -> None:
    busy = hold(pool, "a")  # least recently used, but in use
    use(pool, "b")
    use(pool, "c")
    assert pool.loaded().keys() == {"a", "c"}
    busy.leave()


def test_a_model_that_needs_a_busy_ones_memory_waits_for_it(pool: ModelPool[str]) -> None:
    first, second = hold(pool, "a", 6), hold(pool, "b")
    waiting = pool.claim("c", 6 * GB)
    second.leave()  # too little: b alone does not make room
    assert not waiting.granted.done()
    first.leave()
    assert waiting.granted.result(10).loading.result(10) == "model c"
    assert "a" not in pool.loaded()
    waiting.leave()


def test_newcomers_stand_behind_the_one_who_waits_for_their_model_to_go(
    pool: ModelPool[str], models: Models
) -> None:
    busy = hold(pool, "a", 6)
    other = hold(pool, "b", 2)
    large = pool.claim("c", 8 * GB)
    newcomer = pool.claim("a", 6 * GB)
    assert not newcomer.granted.done()
    other_again = pool.claim("b", 2 * GB)  # enough will be free without b, so its callers go on
    assert other_again.granted.done()
    busy.leave()
    assert large.granted.result(10).loading.result(10) == "model c"
    assert not newcomer.granted.done()
    for claim in (other, other_again, large):
        claim.leave()
    assert newcomer.granted.result(10).loading.result(10) == "model a"
    assert models.loads == ["a", "b", "c", "a"]
    newcomer.leave()


def test_leaving_the_line_lets_the_next_in(pool: ModelPool[str]) -> None:
    busy = hold(pool, "a", 8)
    large, small, newcomer = pool.claim("b", 8 * GB), pool.claim("c", 2 * GB), pool.claim("a", 8 * GB)
    assert not small.granted.done()
    assert not newcomer.granted.done()
    large.leave()
    assert small.granted.result(10).loading.result(10) == "model c"
    assert newcomer.granted.result(10).loading.result(10) == "model a"  # a was to go for b alone
    for claim in (small, newcomer, busy):
        claim.leave()


def test_a_second_leave_does_nothing(pool: ModelPool[str]) -> None:
    claim, other = hold(pool, "a", 8), hold(pool, "a", 8)
    claim.leave()
    claim.leave()
    waiting = pool.claim("b", 8 * GB)
    assert not waiting.granted.done()  # the other claim still holds
    other.leave()
    assert waiting.granted.result(10).loading.result(10) == "model b"
    waiting.leave()


def test_all_who_wait_for_a_load_share_it_and_its_failure(pool: ModelPool[str], models: Models) -> None:
    models.gates["a"] = threading.Event()
    models.broken.add("a")
    claims = [pool.claim("a", 4 * GB) for _ in range(3)]
    loadings = [claim.granted.result(10).loading for claim in claims]
    models.gates["a"].set()
    for loading in loadings:
        with pytest.raises(BackendError, match="`a` is broken"):
            loading.result(10)
    assert models.loads == ["a"]
    for claim in claims:
        claim.leave()
    models.broken.clear()
    assert soon(lambda: not pool.loaded())
    use(pool, "a")  # the failure is not kept
    assert models.loads == ["a", "a"]


def test_a_failed_load_gives_its_memory_back(pool: ModelPool[str], models: Models) -> None:
    models.broken.add("a")
    broken = pool.claim("a", 8 * GB)
    waiting = pool.claim("b", 8 * GB)
    assert waiting.granted.result(10).loading.result(10) == "model b"
    broken.leave()
    waiting.leave()


def test_a_load_goes_on_when_its_caller_has_left(pool: ModelPool[str], models: Models) -> None:
    models.gates["a"] = threading.Event()
    pool.claim("a", 4 * GB).leave()
    models.gates["a"].set()
    assert soon(lambda: pool.loaded().keys() == {"a"})
    use(pool, "a")
    assert models.loads == ["a"]


def test_a_model_that_never_fits_is_refused_at_once(pool: ModelPool[str]) -> None:
    with pytest.raises(BackendError) as caught:
        pool.claim("huge", 24 * GB)
    assert str(caught.value) == ("`huge` needs 24 GB of memory, and all MLX models together may use 10 GB")
    assert caught.value.error_class == "not_found"
    assert caught.value.help == "allow the backend more memory, or choose a smaller or a quantized model"


def test_without_a_bound_all_models_stay(models: Models) -> None:
    pool = ModelPool(models.load, memory_bytes=None, thread_ended=models.end)
    for tag in "abcdef":
        use(pool, tag, 100)
    assert pool.loaded().keys() == set("abcdef")
    pool.close()


def test_threads_are_used_again_and_say_when_they_end(pool: ModelPool[str], models: Models) -> None:
    for tag in "abcabcabc":  # two fit at a time
        use(pool, tag)
    assert models.loads == list("abcabcabc")
    assert len(models.threads) == 2
    pool.close()
    assert set(models.ended) == models.threads


def test_a_pool_that_nobody_holds_ends_its_threads(models: Models) -> None:
    pool = ModelPool(models.load, memory_bytes=None, thread_ended=models.end)
    use(pool, "a")
    del pool
    gc.collect()
    assert soon(lambda: set(models.ended) == models.threads)


def test_closing_refuses_those_in_the_line_and_later_ones(pool: ModelPool[str]) -> None:
    hold(pool, "a", 8)
    waiting = pool.claim("b", 8 * GB)
    pool.close()
    with pytest.raises(BackendError, match="was closed"):
        waiting.granted.result(10)
    with pytest.raises(BackendError, match="was closed"):
        pool.claim("a", GB)
    assert pool.loaded().keys() == set()


def test_under_load_memory_is_never_exceeded_and_everyone_is_served(models: Models) -> None:
    """Threads that claim, use and give up at random; sizes such that at most two or three models fit."""
    sizes = {"a": 2, "b": 3, "c": 5, "d": 8, "e": 1}
    pool = ModelPool(models.load, memory_bytes=10 * GB, thread_ended=models.end)
    served: list[str] = []
    over: list[int] = []

    def caller(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(40):
            tag = draw.choice("abcde")
            claim = pool.claim(tag, sizes[tag] * GB)
            if draw.random() < 0.2:
                claim.granted.cancel()
                claim.leave()
                continue
            claim.granted.result(20).loading.result(20)
            taken = sum(sizes[loaded] for loaded in pool.loaded())
            if taken > 10:
                over.append(taken)
            claim.leave()
            served.append(tag)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(caller, seed) for seed in range(8)]:
            done.result(60)
    pool.close()
    assert over == []
    assert len(served) > 200


# --- how long models are kept ------------------------------------------------------------------------------


def kept(pool: ModelPool[str], tag: str, kept_ms: int | None, gb: int = 4) -> None:
    claim = pool.claim(tag, gb * GB, kept_ms)
    assert claim.granted.result(10).loading.result(10) == f"model {tag}"
    claim.leave()


def test_a_model_that_nobody_calls_is_unloaded_when_its_time_is_over(models: Models) -> None:
    let_go = threading.Event()
    pool = ModelPool(models.load, memory_bytes=None, thread_ended=models.end, let_go=let_go.set)
    kept(pool, "a", 60)
    kept(pool, "b", None)
    assert pool.loaded().keys() == {"a", "b"}
    assert let_go.wait(10)
    assert pool.loaded().keys() == {"b"}
    pool.close()


def test_a_call_keeps_a_model_as_long_as_it_says_itself(pool: ModelPool[str]) -> None:
    kept(pool, "a", 1)
    assert soon(lambda: not pool.loaded())
    kept(pool, "a", 60_000)
    kept(pool, "b", 1)
    assert soon(lambda: pool.loaded().keys() == {"a"}), "the shorter one does not wait for the longer one"
    kept(pool, "b", 1)
    assert soon(lambda: pool.loaded().keys() == {"a"}), "and not the second time either"
    kept(pool, "a", 0)
    assert not pool.loaded()


def test_a_busy_model_is_kept_until_it_is_free(pool: ModelPool[str]) -> None:
    busy = hold(pool, "a")
    kept(pool, "a", 0)
    assert pool.loaded().keys() == {"a"}
    busy.leave()
    assert pool.loaded().keys() == {"a"}, "the last call said nothing of unloading it"


def test_a_model_whose_caller_left_while_it_was_loaded_is_kept_from_then_on(
    pool: ModelPool[str], models: Models
) -> None:
    models.gates["a"] = threading.Event()
    claim = pool.claim("a", 4 * GB, 1)
    claim.granted.result(10)
    claim.leave()
    models.gates["a"].set()
    assert soon(lambda: models.loads == ["a"] and not pool.loaded())
    assert soon(lambda: not pool._residents)


def test_models_are_listed_in_the_order_in_which_they_make_room(pool: ModelPool[str]) -> None:
    use(pool, "a", 3)
    busy = hold(pool, "b", 2)
    use(pool, "c", 1)
    assert list(pool.loaded().items()) == [("a", 3 * GB), ("c", GB), ("b", 2 * GB)]
    busy.leave()


def test_no_timer_outlives_its_pool(models: Models) -> None:
    pool = ModelPool(models.load, memory_bytes=None, thread_ended=models.end)
    kept(pool, "a", 3_600_000)
    timer = pool._timer
    assert timer is not None and timer.is_alive()
    pool.close()
    timer.join(10)
    assert not timer.is_alive()
