"""Encoded splits as Parquet: float32 features and the label, digested while they are written and read in batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.data.log import SplitSummary
from ctr_pipeline.data.version import DigestState
from ctr_pipeline.features.encoder import Matrix
from ctr_pipeline.model import LabelledBatch

LABEL: Final = "@label"


class SplitWriter:
    """Writes one encoded split; a context manager that closes the file."""

    def __init__(self, path: Path, feature_names: tuple[str, ...]) -> None:
        """Open the file at `path` for rows with these features."""
        self._schema = pa.schema([*((name, pa.float32()) for name in feature_names), (LABEL, pa.uint8())])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd", use_dictionary=False)
        # The order of the rows decides the model, so it counts here.
        self._state = DigestState(self._schema, first_row=0)
        self.n_rows = 0
        self.n_clicks = 0

    def write(self, matrix: Matrix, labels: npt.NDArray[np.uint8]) -> None:
        """Append n rows: features of shape (n, number of features), labels of shape (n,)."""
        arrays = [pa.array(matrix[:, place]) for place in range(matrix.shape[1])]
        batch = pa.RecordBatch.from_arrays([*arrays, pa.array(labels)], schema=self._schema)
        self._writer.write_batch(batch)
        self._state.update(batch)
        self.n_rows += len(labels)
        self.n_clicks += int(labels.sum())

    def summary(self) -> SplitSummary:
        """Return how many rows came so far, and their digest."""
        return SplitSummary(self.n_rows, self.n_clicks, self._state.finish().data_version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


def read_split(path: Path, batch_rows: int) -> Iterator[LabelledBatch]:
    """Yield an encoded split's rows in their order, at most `batch_rows` at once."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_rows):
            features = [column.to_numpy() for column in batch.columns[:-1]]
            matrix = np.column_stack(features) if features else np.empty((batch.num_rows, 0), np.float32)
            yield LabelledBatch(matrix, batch.column(LABEL).to_numpy())
