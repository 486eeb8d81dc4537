"""A Parquet file's rows in another order: a seeded permutation in bounded memory.

Each row draws a 64-bit key; sorting by the keys is a uniform permutation. Rows are first spilled into buckets by their
keys, then each bucket is sorted by itself, so no more than a bucket is in memory, whatever the file's size. The keys
are raw PCG64 output, which numpy promises never to change.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

# More would be too many open files; buckets then hold more rows than a batch.
_MOST_BUCKETS: Final = 256
_KEY: Final = "@key"
_KEY_BITS: Final = 64


def permute_rows(source: Path, target: Path, *, seed: int, batch_rows: int, check: Callable[[], None]) -> None:
    """Write the rows of a Parquet file in another order, decided by the seed alone.

    Args:
        source: the file.
        target: the file to be written, beside which rows are spilled.
        seed: of the permutation, >= 0.
        batch_rows: rows in memory at once, about.
        check: called between batches; raises to end it.
    """
    with pq.ParquetFile(source) as file, tempfile.TemporaryDirectory(dir=target.parent) as folder:
        spilled = _spill(file, Path(folder), np.random.PCG64(seed), batch_rows, check)
        # Statistics and dictionaries are for readers that choose; the only one reads all.
        with pq.ParquetWriter(target, file.schema_arrow, compression="zstd", use_dictionary=False) as writer:
            for path in spilled:
                check()
                writer.write_table(_sorted(path))


def _spill(
    file: pq.ParquetFile, folder: Path, keys: np.random.PCG64, batch_rows: int, check: Callable[[], None]
) -> tuple[Path, ...]:
    """Divide the rows among buckets of rising keys."""
    wanted = max(1, -(-file.metadata.num_rows // batch_rows))
    # A power of two, so that the keys' first bits tell the bucket.
    bits = (min(wanted, _MOST_BUCKETS) - 1).bit_length()
    paths = tuple(folder / f"{place}.arrow" for place in range(1 << bits))
    schema = file.schema_arrow.append(pa.field(_KEY, pa.uint64()))
    with ExitStack() as stack:
        writers = [stack.enter_context(pa.ipc.new_file(path, schema)) for path in paths]
        for batch in file.iter_batches(batch_rows):
            check()
            drawn = np.asarray(keys.random_raw(batch.num_rows), np.uint64)
            table = pa.Table.from_batches([batch]).append_column(_KEY, pa.array(drawn))
            for place, rows in _divided(drawn, bits):
                writers[place].write_table(table.take(pa.array(rows)))
    return paths


def _divided(keys: npt.NDArray[np.uint64], bits: int) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield the rows of each bucket that has any."""
    places = keys >> np.uint64(_KEY_BITS - bits) if bits else np.zeros(len(keys), np.uint64)
    for place in np.unique(places):
        yield int(place), np.flatnonzero(places == place)


def _sorted(path: Path) -> pa.Table:
    with pa.OSFile(str(path)) as raw, pa.ipc.open_file(raw) as file:
        table = file.read_all()
    order = np.argsort(table.column(_KEY).to_numpy(), kind="stable")
    return table.take(pa.array(order)).drop_columns([_KEY])
