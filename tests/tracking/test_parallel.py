"""The same done to many things at once."""

from threading import Barrier, Event

import pytest

from tracking.parallel import AbandonedError, in_parallel, stop_if_abandoned


def test_results_come_in_the_items_order_whoever_is_done_first() -> None:
    both = Barrier(2)

    def squared(number: int) -> int:
        both.wait(timeout=10)
        return number * number

    assert in_parallel(squared, [3, 1], n_threads=2) == [9, 1]


@pytest.mark.parametrize("items", [[], [1]])
def test_one_item_or_none_needs_no_thread(items: list[int]) -> None:
    assert in_parallel(str, items) == [str(item) for item in items]


def test_the_first_error_in_the_items_order_is_raised() -> None:
    def refuse(number: int) -> None:
        raise ValueError(f"number {number}")

    with pytest.raises(ValueError, match="number 1"):
        in_parallel(refuse, [1, 2, 3])


def test_work_beside_an_error_ends_at_its_next_block() -> None:
    both, ended = Barrier(2), Event()

    def work(number: int) -> None:
        both.wait(timeout=10)
        if number == 0:
            raise ValueError("no")
        try:
            while True:
                stop_if_abandoned()
        except AbandonedError:
            ended.set()
            raise

    with pytest.raises(ValueError, match="no"):
        in_parallel(work, [0, 1])
    assert ended.is_set()


def test_work_outside_is_never_abandoned() -> None:
    in_parallel(str, [1, 2])
    stop_if_abandoned()
