"""CSV and TSV files, read as text cells: every column is text, an empty cell is null.

What a cell means (a number, a time) is decided by its column's role, later: see
`docs/decisions/0002-text-files-are-digested-as-text.md`.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pyarrow as pa
import pyarrow.csv as pacsv

from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.listing import SourceFile
from ctr_pipeline.data.reading import Digest, HashingStream, reading_errors
from tracking.errors import InputError

# Larger than any sane row, small enough for the parser's memory; a row must fit one block.
_BLOCK_BYTES: Final = 4 << 20
_OTHER_DELIMITERS: Final = ";\t|"
_ROW_SHOWN: Final = 80

type _Refuse = Callable[[pacsv.InvalidRow], str]


def text_columns(file: SourceFile, fmt: DataFormat) -> tuple[str, ...]:
    """Return the names of a text file's columns in its own order.

    Raises:
        InputError: the first line cannot be read, or reads as one column although it holds another usual delimiter.
    """
    delimiter = delimiter_of(file)
    first = _first_cells(file, delimiter)
    if not fmt.header:
        return fmt.column_names
    if len(first) == 1 and (other := next((d for d in _OTHER_DELIMITERS if d in first[0]), None)):
        raise InputError(
            f"file {file.path!r} has one column {first[0][:_ROW_SHOWN]!r} with delimiter {delimiter!r}, must be "
            "split by it; "
            f"set the format's delimiter, perhaps to {other!r}"
        )
    return tuple(first)


def delimiter_of(file: SourceFile) -> str:
    """Return the delimiter, by the first line where the name does not tell."""
    if file.format.delimiter is not None:
        return file.format.delimiter
    with reading_errors(file), _peek(file) as lines:
        return "\t" if "\t" in lines.readline() else ","


def read_text(
    file: SourceFile, digest: Digest, *, names: tuple[str, ...], fmt: DataFormat, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield a text file's cells.

    Args:
        file: what is read.
        digest: gets the file's bytes.
        names: all columns of the file, in its order.
        fmt: whether it has a header.
        columns: those wanted, in the order wanted.

    Raises:
        InputError: the file is cut off or broken, has a row with more or fewer cells than columns, or is not UTF-8.
    """
    bad_rows: list[pacsv.InvalidRow] = []
    n_rows = 0

    def refuse(row: pacsv.InvalidRow) -> str:
        bad_rows.append(row)
        return "error"

    with reading_errors(file, lambda: n_rows), HashingStream(file, digest) as stream:
        try:
            for batch in _open(
                file, pa.PythonFile(stream, mode="r"), names=names, fmt=fmt, columns=columns, refuse=refuse
            ):
                n_rows += batch.num_rows
                yield batch
        except pa.ArrowInvalid as error:
            raise _broken(file, error, bad_rows, n_rows) from error
        stream.drain()


def _open(
    file: SourceFile,
    raw: pa.NativeFile,
    *,
    names: tuple[str, ...],
    fmt: DataFormat,
    columns: Sequence[str],
    refuse: _Refuse,
) -> pacsv.CSVStreamingReader:
    compression = file.format.compression
    return pacsv.open_csv(
        pa.CompressedInputStream(raw, compression) if compression else raw,
        read_options=pacsv.ReadOptions(
            block_size=_BLOCK_BYTES, use_threads=False, column_names=None if fmt.header else names
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter_of(file), newlines_in_values=True, invalid_row_handler=refuse
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=list(columns),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _broken(file: SourceFile, error: Exception, bad_rows: list[pacsv.InvalidRow], n_rows: int) -> InputError:
    if bad_rows:
        row = bad_rows[0]
        where = f"line {row.number}" if row.number is not None else f"a row after row {n_rows}"
        return InputError(
            f"file {file.path!r}, {where}: {row.actual_columns} cells, must be {row.expected_columns} as in the "
            f"first line: {row.text[:_ROW_SHOWN]!r}; mend the row, or quote the delimiter inside its cells"
        )
    reason = str(error).splitlines()[0]
    if "UTF8" in reason:
        return InputError(f"file {file.path!r} after row {n_rows}: {reason}; save it as UTF-8")
    if "straddl" in reason:
        return InputError(
            f"file {file.path!r} after row {n_rows}: a row longer than {_BLOCK_BYTES} bytes; look for a quote that "
            "never closes"
        )
    return InputError(f"file {file.path!r} after row {n_rows}: {reason}; write or copy the file again")


def _first_cells(file: SourceFile, delimiter: str) -> list[str]:
    with reading_errors(file), _peek(file) as lines:
        try:
            cells = next((row for row in csv.reader(lines, delimiter=delimiter) if row), None)
        except csv.Error as error:
            raise InputError(f"file {file.path!r}, first line: {error}; write the file again as text") from error
    if cells is None:
        raise InputError(
            f"file {file.path!r} has no line, must hold at least its header; write it again, or move it away"
        )
    return cells


def _peek(file: SourceFile) -> io.TextIOWrapper:
    compression = file.format.compression
    stream = pa.input_stream(str(file.location), compression=compression)
    return io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
