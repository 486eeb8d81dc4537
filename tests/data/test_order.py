"""Any order of the rows and any blocks give one canonical order."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctr_pipeline.data.order import PERIOD, ROW_HASH, CanonicalOrder, distinct_words

_KEYS = st.tuples(st.integers(-3, 3), st.integers(0, 2**64 - 1) | st.integers(0, 3))


def _ordered(
    keys: Sequence[tuple[int, int]], order: Sequence[int], cuts: Sequence[int], block_rows: int, folder: Path
) -> tuple[pa.Table, list[int]]:
    """Add the rows in `order`, in batches that end at `cuts`; return all rows and the blocks' sizes."""
    canonical = CanonicalOrder(folder, block_rows)
    bounds = sorted({0, *cuts, len(order)})
    for start, end in itertools.pairwise(bounds):
        chosen = [keys[place] for place in order[start:end]]
        rows = pa.table(
            {
                "text": pa.array([f"{period}/{word}" for period, word in chosen]).dictionary_encode(),
                "number": pa.array([word % 7 for _, word in chosen], pa.int64()),
            }
        )
        periods = np.array([period for period, _ in chosen], np.int64)
        canonical.add(rows, periods, np.array([word for _, word in chosen], np.uint64))
    blocks = list(canonical.blocks())
    assert [block.to_pydict() for block in canonical.blocks()] == [block.to_pydict() for block in blocks]
    return pa.concat_tables(blocks).unify_dictionaries(), [block.num_rows for block in blocks]


@given(
    keys=st.lists(_KEYS, min_size=1, max_size=60),
    data=st.data(),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    block_rows=st.integers(1, 80),
)
def test_any_shuffle_and_any_blocks_give_one_order(
    keys: list[tuple[int, int]], data: st.DataObject, cuts: list[int], block_rows: int
) -> None:
    order = data.draw(st.permutations(range(len(keys))))
    with TemporaryDirectory() as folder:
        cuts = [cut for cut in cuts if cut <= len(keys)]
        found, _ = _ordered(keys, order, cuts, block_rows, Path(folder))
    assert list(zip(found[PERIOD].to_pylist(), found[ROW_HASH].to_pylist(), strict=True)) == sorted(keys)
    assert found["text"].to_pylist() == [f"{period}/{word}" for period, word in sorted(keys)]
    assert found["number"].to_pylist() == [word % 7 for _, word in sorted(keys)]


def test_many_rows_are_spilled_and_come_back_in_blocks_of_about_the_size_asked_for(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    keys = [
        (int(period), int(word))
        for period, word in zip(rng.integers(0, 9, 5_000), rng.integers(0, 2**63, 5_000), strict=True)
    ]
    found, sizes = _ordered(keys, rng.permutation(5_000).tolist(), range(0, 5_000, 100), 500, tmp_path)
    assert list(zip(found[PERIOD].to_pylist(), found[ROW_HASH].to_pylist(), strict=True)) == sorted(keys)
    assert len(list(tmp_path.glob("run-*.arrow"))) == 10
    assert max(sizes) < 2 * 500


def test_one_block_stays_in_memory(tmp_path: Path) -> None:
    _ordered([(0, 2), (0, 1)], [0, 1], [1], 3, tmp_path)
    assert not list(tmp_path.iterdir())


def test_equal_rows_are_never_parted_by_blocks(tmp_path: Path) -> None:
    keys = [(0, 5)] * 300 + [(0, 6)] * 3
    _, sizes = _ordered(keys, range(303), range(0, 303, 7), 2, tmp_path)
    assert sum(sizes) == 303
    assert sizes[0] >= 300


def test_rows_may_come_as_record_batches_and_empty(tmp_path: Path) -> None:
    canonical = CanonicalOrder(tmp_path, 10)
    assert list(canonical.blocks()) == []
    for numbers in ([2, 1], []):
        batch = pa.RecordBatch.from_pydict({"a": pa.array(numbers, pa.int64())})
        canonical.add(batch, np.zeros(len(numbers), np.int64), np.array(numbers, np.uint64))
    assert [block["a"].to_pylist() for block in canonical.blocks()] == [[1, 2]]


@given(st.lists(st.integers(0, 5), max_size=40))
def test_each_copy_of_a_row_has_a_word_of_its_own(words: list[int]) -> None:
    hashes = np.sort(np.array(words, np.uint64))
    found = distinct_words(hashes)
    assert len(np.unique(found)) == len(words)
    # A row's word depends on its own copies alone.
    for word in set(words):
        assert found[hashes == word].tolist() == distinct_words(hashes[hashes == word]).tolist()


def test_copies_of_a_row_are_divided_as_by_chance() -> None:
    words = distinct_words(np.full(10_000, 42, np.uint64))
    assert np.mean(words < 2**63) == pytest.approx(0.5, abs=0.02)


def test_rows_that_do_not_fill_a_block_are_among_the_others(tmp_path: Path) -> None:
    found, _ = _ordered([(0, 3), (0, 1), (0, 2)], [0, 1, 2], [2], 2, tmp_path)
    assert found[ROW_HASH].to_pylist() == [1, 2, 3]
