"""Parquet files, text columns kept as the dictionaries that they are stored as."""

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from ctr_pipeline.data.hashing import type_name
from ctr_pipeline.data.listing import SourceFile
from ctr_pipeline.data.reading import Digest, hash_file, reading_errors


def parquet_schema(file: SourceFile) -> pa.Schema:
    """Return a Parquet file's schema from its footer.

    Raises:
        InputError: the file is no Parquet file, or it is cut off.
    """
    with reading_errors(file), pa.OSFile(str(file.location)) as raw, pq.ParquetFile(raw) as parquet:
        return parquet.schema_arrow


def read_parquet(
    file: SourceFile, digest: Digest, *, columns: Sequence[str], batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file's rows, in memory bounded by its largest row group.

    Args:
        file: what is read.
        digest: gets the file's bytes, before the first batch.
        columns: those wanted.
        batch_rows: rows in a batch at most.

    Raises:
        InputError: the file is cut off or corrupt.
    """
    hash_file(file, digest)
    n_rows = 0
    text = [field.name for field in parquet_schema(file) if type_name(field.type) == "text"]
    with (
        reading_errors(file, lambda: n_rows),
        pa.OSFile(str(file.location)) as raw,
        pq.ParquetFile(raw, read_dictionary=text, pre_buffer=False, page_checksum_verification=True) as parquet,
    ):
        for batch in parquet.iter_batches(batch_rows, columns=list(columns)):
            n_rows += batch.num_rows
            yield batch
