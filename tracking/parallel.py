"""The same done to many things at once, by a few threads; for work that waits for a network or a disk."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Final

N_THREADS: Final = 8

_is_over: ContextVar[threading.Event | None] = ContextVar("_is_over", default=None)


class AbandonedError(Exception):
    """Nobody waits for this work any more: other work beside it failed, or the user gave up. Not to be caught."""


def in_parallel[T, R](function: Callable[[T], R], items: Iterable[T], *, n_threads: int = N_THREADS) -> list[R]:
    """Return the function's results in the items' order.

    The first error, in that order, is raised; what has not begun by then is left, what runs ends at its next
    `stop_if_abandoned`.

    Args:
        function: called from several threads at once.
        items: what it is called with.
        n_threads: how many calls run at once, at most.
    """
    every = list(items)
    if len(every) <= 1:
        return [function(item) for item in every]
    is_over = threading.Event()

    def call(item: T) -> R:
        _is_over.set(is_over)
        return function(item)

    pool = ThreadPoolExecutor(min(n_threads, len(every)))
    try:
        return list(pool.map(call, every))
    finally:
        is_over.set()
        pool.shutdown(cancel_futures=True)


def stop_if_abandoned() -> None:
    """End long work inside `in_parallel` that nobody waits for any more; to be called between two of its blocks.

    Raises:
        AbandonedError: nobody waits.
    """
    is_over = _is_over.get()
    if is_over is not None and is_over.is_set():
        raise AbandonedError
