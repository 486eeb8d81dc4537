from pathlib import Path

import numpy as np
import pytest

from ctr_pipeline.features.split_file import LABEL, SplitWriter, read_split

NAMES = ("a", "b")


def _write(path: Path, matrix: np.ndarray, labels: np.ndarray, *cuts: int) -> SplitWriter:
    with SplitWriter(path, NAMES) as writer:
        for part, clicks in zip(np.split(matrix, cuts), np.split(labels, cuts), strict=True):
            writer.write(part, clicks)
    return writer


@pytest.fixture
def features() -> tuple[np.ndarray, np.ndarray]:
    matrix = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    matrix[3, 1] = np.nan
    return matrix, (np.arange(50) % 3 == 0).astype(np.uint8)


def test_what_was_written_is_read_back_to_the_bit(tmp_path: Path, features: tuple[np.ndarray, np.ndarray]) -> None:
    _write(tmp_path / "s.parquet", *features, 10, 11)
    batches = list(read_split(tmp_path / "s.parquet", 7))
    assert max(len(batch.labels) for batch in batches) == 7
    assert np.concatenate([batch.matrix for batch in batches]).tobytes() == features[0].tobytes()
    assert np.concatenate([batch.labels for batch in batches]).tolist() == features[1].tolist()
    assert batches[0].matrix.dtype == np.float32


def test_the_digest_knows_the_order_of_the_rows_and_not_their_batches(
    tmp_path: Path, features: tuple[np.ndarray, np.ndarray]
) -> None:
    matrix, labels = features
    one = _write(tmp_path / "1.parquet", matrix, labels).summary()
    assert _write(tmp_path / "2.parquet", matrix, labels, 20).summary() == one
    assert (one.n_rows, one.n_clicks) == (50, int(labels.sum()))
    turned = _write(tmp_path / "3.parquet", matrix[::-1], labels[::-1]).summary()
    assert turned.digest != one.digest


def test_a_split_without_rows_has_a_digest_too(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "s.parquet", NAMES) as writer:
        pass
    assert (writer.summary().n_rows, len(writer.summary().digest)) == (0, 32)
    assert sum(len(batch.labels) for batch in read_split(tmp_path / "s.parquet", 7)) == 0


def test_rows_without_features_keep_their_labels(tmp_path: Path) -> None:
    with SplitWriter(tmp_path / "s.parquet", ()) as writer:
        writer.write(np.empty((2, 0), np.float32), np.array([1, 0], np.uint8))
    (batch,) = read_split(tmp_path / "s.parquet", 7)
    assert batch.matrix.shape == (2, 0)
    assert batch.labels.tolist() == [1, 0]
    assert LABEL == "@label"
