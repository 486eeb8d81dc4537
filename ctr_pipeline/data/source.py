"""Raw impressions as a stream of Arrow batches with one schema, whatever files they lie in.

Canonical column types: boolean; integers as stored where all files agree, else 64 bits; reals likewise; times as
microseconds UTC; text as a dictionary from Parquet and plain from text files; bytes; null.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pyarrow as pa

from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.hashing import type_name
from ctr_pipeline.data.listing import SourceFile, list_files, pinned_files
from ctr_pipeline.data.parquet_files import parquet_schema, read_parquet
from ctr_pipeline.data.reading import Digest, FileReading, changed_while_read
from ctr_pipeline.data.s3_fetched import FetchFolder
from ctr_pipeline.data.s3_source import list_s3_files
from ctr_pipeline.data.text_files import read_text, text_columns
from ctr_pipeline.data.version import BATCH_ROWS
from tracking.errors import InputError
from tracking.s3_client import SCHEME

__all__ = ["BATCH_ROWS", "TEXT", "TIME", "DataFormat", "Source"]

TIME: Final = pa.timestamp("us", tz="UTC")
RESERVED: Final = "@"
TEXT: Final = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class Source:
    """Files that hold the rows of one data set.

    Attributes:
        uri: what was asked for.
        files: sorted by relative path.
        format: how they are read.
        schema: canonical columns, in the first file's order; every batch has it.
        expected: sha256 by relative path, where the bytes are pinned; reading verifies them.
    """

    uri: str
    files: tuple[SourceFile, ...]
    format: DataFormat
    schema: pa.Schema
    expected: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        uri: str,
        fmt: DataFormat | None = None,
        *,
        expected: Mapping[str, str] | None = None,
        fetched: FetchFolder | None = None,
    ) -> Self:
        """Find a source's files and read their columns' names and types; no row is read yet.

        Args:
            uri: a file, a folder, a glob, a `file://` URI, `sample:NAME`, or an object, prefix or glob on `s3://`.
            fmt: how to read it; by the files' extensions where it is left out.
            expected: sha256 by relative path, for a folder of pinned files: these and no others are read.
            fetched: where objects on S3 are fetched into; needed for those alone.

        Raises:
            InputError: nothing is there, a file is empty or unreadable, kinds are mixed, columns are doubled, differ
                between files, start with `@` or have a type without a canonical form.
            StoreError: S3 cannot be read.
        """
        fmt = fmt or DataFormat()
        files = pinned_files(Path(uri), expected, fmt) if expected else _files(uri, fmt, fetched)
        schemas = [_schema_of(file, fmt) for file in files]
        return cls(uri, files, fmt, _unified(files, schemas), expected or {})

    def batches(
        self, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS
    ) -> Iterator[pa.RecordBatch]:
        """Yield all rows, file by file.

        Args:
            columns: those wanted, in the order wanted; all where left out.
            batch_rows: rows in a batch at most.

        Raises:
            InputError: as `readings`.
        """
        for reading in self.readings(columns, batch_rows=batch_rows):
            yield from reading

    def readings(self, columns: Sequence[str] | None = None, *, batch_rows: int = BATCH_ROWS) -> Iterator[FileReading]:
        """Yield one reading per file, each to be iterated over before its record is asked for.

        Args:
            columns: those wanted, in the order wanted; all where left out.
            batch_rows: rows in a batch at most.

        Raises:
            InputError: a column is none of the source's; while iterating: a file is broken, changed or not the
                pinned one.
        """
        schema = self._selected(columns)

        def read(file: SourceFile, digest: Digest) -> Iterator[pa.RecordBatch]:
            for batch in self._raw_batches(file, digest, schema.names, batch_rows):
                for start in range(0, batch.num_rows, batch_rows):
                    yield _canonical(file, batch.slice(start, batch_rows), schema)

        for file in self.files:
            yield FileReading(file, read, self.expected.get(file.path))

    def _selected(self, columns: Sequence[str] | None) -> pa.Schema:
        if columns is None:
            return self.schema
        unknown = [name for name in columns if name not in self.schema.names]
        if unknown:
            raise InputError(
                f"column {unknown[0]!r} is not in source {self.uri!r}, must be one of {', '.join(self.schema.names)}; "
                "mend the name"
            )
        return pa.schema([self.schema.field(name) for name in columns])

    def _raw_batches(
        self, file: SourceFile, digest: Digest, columns: Sequence[str], batch_rows: int
    ) -> Iterator[pa.RecordBatch]:
        if file.format.kind == "parquet":
            return read_parquet(file, digest, columns=columns, batch_rows=batch_rows)
        names = text_columns(file, self.format)
        if set(names) != set(self.schema.names):
            raise changed_while_read(file)
        return read_text(file, digest, names=names, fmt=self.format, columns=columns)


def _files(uri: str, fmt: DataFormat, fetched: FetchFolder | None) -> tuple[SourceFile, ...]:
    if not uri.startswith(SCHEME):
        return list_files(uri, fmt)
    if fetched is None:
        raise InputError(f"source {uri!r} lies on S3, must be a local path here; restore a pinned version of it first")
    return list_s3_files(uri, fmt, fetched)


def _schema_of(file: SourceFile, fmt: DataFormat) -> pa.Schema:
    if file.format.kind == "parquet":
        schema = parquet_schema(file)
    else:
        schema = pa.schema([(name, pa.string()) for name in text_columns(file, fmt)])
    seen: set[str] = set()
    for column in schema:
        if column.name.startswith(RESERVED):
            raise InputError(
                f"file {file.path!r} has column {column.name!r}, must not start with {RESERVED!r}, which marks the "
                "pipeline's own columns; rename it"
            )
        if column.name in seen:
            raise InputError(
                f"file {file.path!r} has column {column.name!r} twice, must be unique; rename one of the two"
            )
        seen.add(column.name)
    return pa.schema([(column.name, _canonical_type(file, column)) for column in schema])


def _canonical_type(file: SourceFile, column: pa.Field) -> pa.DataType:
    plain = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    try:
        kind = type_name(plain)
    except InputError as error:
        raise InputError(f"file {file.path!r}, column {column.name!r}: {error}") from error
    text = TEXT if file.format.kind == "parquet" else pa.string()
    return {"time": TIME, "text": text, "bytes": pa.binary()}.get(kind, plain)


def _unified(files: Sequence[SourceFile], schemas: Sequence[pa.Schema]) -> pa.Schema:
    types = {column.name: column.type for column in schemas[0]}
    for file, schema in zip(files[1:], schemas[1:], strict=True):
        missing = [name for name in types if name not in schema.names]
        extra = [name for name in schema.names if name not in types]
        if missing or extra:
            raise InputError(
                f"file {file.path!r} has other columns than {files[0].path!r}: missing {missing}, unexpected "
                f"{extra}, must be "
                "the same; write every file with the same columns"
            )
        for column in schema:
            types[column.name] = _common_type(file, column, types[column.name])
    return pa.schema(list(types.items()))


def _common_type(file: SourceFile, column: pa.Field, known: pa.DataType) -> pa.DataType:
    if column.type == known or pa.types.is_null(column.type):
        return known
    if pa.types.is_null(known):
        return column.type
    kinds = {type_name(column.type), type_name(known)}
    if kinds == {"real"}:
        return pa.float64()
    if kinds == {"integer"} and pa.uint64() not in {column.type, known}:
        return pa.int64()
    raise InputError(
        f"file {file.path!r}, column {column.name!r} has type {column.type}, must be {known} as in the files before; "
        "write the column with one type in every file"
    )


def _canonical(file: SourceFile, batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    columns = []
    for column in schema:
        try:
            columns.append(_cast(batch.column(column.name), column.type))
        except pa.ArrowInvalid as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"file {file.path!r}, column {column.name!r}: {reason}, must fit {column.type}; round or clip it first"
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _cast(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    if array.type == wanted:
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return _as_time(array) if wanted == TIME else array.cast(wanted)


def _as_time(array: pa.Array) -> pa.Array:
    if pa.types.is_date(array.type):
        array = array.cast(pa.timestamp("ms"))
    # A time without a zone is read as UTC, never as the machine's.
    return array.cast(pa.timestamp("us", tz=getattr(array.type, "tz", None))).cast(TIME)
