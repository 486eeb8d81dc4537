"""Sources: which files, which columns, which cells, and what is said of those that cannot be read."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.reading import FileReading
from ctr_pipeline.data.source import TEXT, TIME, Source
from ctr_pipeline.data.version import DigestState
from tracking.errors import InputError

CSV = b"a,b\n1,x\n2,\n"
ROWS = {"a": ["1", "2"], "b": ["x", None]}


def rows_of(source: Source, columns: list[str] | None = None) -> dict[str, list[Any]]:
    table = pa.Table.from_batches(list(source.batches(columns)), None if columns else source.schema)
    found: dict[str, list[Any]] = table.to_pydict()
    return found


def digest_of(source: Source) -> str:
    state = DigestState(source.schema)
    for batch in source.batches():
        state.update(batch)
    return state.finish().digest


type Write = Callable[[str, bytes], Path]


def test_a_csv_files_cells_are_text_and_an_empty_one_is_null(write: Write) -> None:
    source = Source.open(str(write("a.csv", b'a,b\n007,""\n1.0,\nNA, x\n')))
    assert rows_of(source) == {"a": ["007", "1.0", "NA"], "b": [None, None, " x"]}
    assert source.schema.types == [pa.string(), pa.string()]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV.replace(b"\n", b"\r\n")),
        ("a.csv", b"\xef\xbb\xbf" + CSV),
        ("a.csv", b"\n\n" + CSV + b"\n\n"),
        ("a.csv", CSV.rstrip()),
        ("a.csv", b'"a","b"\n"1","x"\n"2",""\n'),
        ("a.tsv", CSV.replace(b",", b"\t")),
        ("a.txt", CSV),
        ("a.txt", CSV.replace(b",", b"\t")),
        ("a.CSV.GZ", gzip.compress(CSV, mtime=0)),
        ("a.csv.gz", gzip.compress(CSV[:6], mtime=0) + gzip.compress(CSV[6:], mtime=0)),
        ("a.csv.zst", pa.compress(CSV, "zstd", asbytes=True)),
    ],
)
def test_how_the_same_cells_are_written_does_not_count(write: Write, name: str, content: bytes) -> None:
    source = Source.open(str(write(name, content)))
    assert rows_of(source) == ROWS
    assert digest_of(source) == digest_of(Source.open(str(write("plain.csv", CSV))))


def test_quoted_cells_may_hold_delimiters_and_line_ends(write: Write) -> None:
    assert rows_of(Source.open(str(write("a.csv", b'a,b\n"1,\n2","say ""x"""\n')))) == {
        "a": ["1,\n2"],
        "b": ['say "x"'],
    }


def test_a_delimiter_and_names_can_be_given(write: Write) -> None:
    fmt = DataFormat(kind="csv", delimiter=";", header=False, column_names=("a", "b"))
    assert rows_of(Source.open(str(write("part-0000", b"1;x\n2;\n")), fmt)) == ROWS


def test_columns_come_in_the_order_asked_for(write: Write) -> None:
    source = Source.open(str(write("a.csv", CSV)))
    assert list(rows_of(source, ["b", "a"])) == ["b", "a"]
    assert rows_of(source, ["b"]) == {"b": ["x", None]}


def test_an_unknown_column_is_named_with_the_known_ones(write: Write) -> None:
    source = Source.open(str(write("a.csv", CSV)))
    with pytest.raises(InputError, match=r"column 'c' is not in source .*, must be one of a, b; mend the name"):
        list(source.batches(["c"]))


def test_batches_are_bounded(write: Write, tmp_path: Path) -> None:
    source = Source.open(str(write("a.csv", b"a\n" + b"1\n" * 1_000)))
    assert [batch.num_rows for batch in source.batches(batch_rows=400)] == [400, 400, 200]
    pq.write_table(pa.table({"a": range(1_000)}), tmp_path / "a.parquet")
    parquet = Source.open(str(tmp_path / "a.parquet"))
    assert [batch.num_rows for batch in parquet.batches(batch_rows=400)] == [400, 400, 200]


def test_a_folder_is_read_to_its_depth_in_one_order_without_hidden_files(write: Write, tmp_path: Path) -> None:
    for name in ("b.csv", "a/z.csv", "a/b/c.csv.gz", "_SUCCESS", ".hidden.csv", "_temporary/x.csv", "a/.crc/y.csv"):
        write(name, gzip.compress(CSV) if name.endswith("gz") else CSV)
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    source = Source.open(str(tmp_path))
    assert [file.path for file in source.files] == ["a/b/c.csv.gz", "a/z.csv", "b.csv"]
    assert len(rows_of(source)["a"]) == 6


def test_a_glob_names_files_below_its_fixed_part(write: Write, tmp_path: Path) -> None:
    for name in ("x/a.csv", "x/y/b.csv", "x/y/b.parquet", "x/_y/c.csv", ".z/c.csv"):
        write(name, CSV)
    assert [file.path for file in Source.open(f"{tmp_path}/x/**/*.csv").files] == ["a.csv", "y/b.csv"]
    assert [file.path for file in Source.open(f"{tmp_path}/*/a.csv").files] == ["x/a.csv"]


def test_a_file_uri_is_a_path(write: Write) -> None:
    assert rows_of(Source.open(write("a b.csv", CSV).as_uri())) == ROWS


def test_files_may_order_their_columns_differently(write: Write, tmp_path: Path) -> None:
    write("1.csv", CSV)
    write("2.csv", b"b,a\ny,3\n")
    assert rows_of(Source.open(str(tmp_path))) == {"a": ["1", "2", "3"], "b": ["x", None, "y"]}


def test_the_record_tells_the_bytes_that_were_read(write: Write, tmp_path: Path) -> None:
    # Bytes behind the last row (a second, empty gzip member) belong to the file too.
    write("a.csv.gz", gzip.compress(CSV) + gzip.compress(b""))
    write("b.csv", CSV)
    for reading in Source.open(str(tmp_path)).readings():
        with pytest.raises(ValueError, match=rf"reading of '{reading.file.path}' is not over"):
            _ = reading.record
        n_rows = sum(batch.num_rows for batch in reading)
        content = reading.file.location.read_bytes()
        assert reading.record.sha256 == hashlib.sha256(content).hexdigest()
        assert (reading.record.n_rows, reading.record.size) == (n_rows, len(content)) == (2, len(content))


def test_parquet_keeps_dictionaries_and_gets_canonical_types(tmp_path: Path) -> None:
    table = pa.table(
        {
            "text": pa.array(["x", None], pa.large_string()).dictionary_encode(),
            "plain": pa.array(["x", "y"], pa.string_view()),
            "number": pa.array([1, 2], pa.int8()).dictionary_encode(),
            "day": pa.array([0, 1], pa.date32()),
            "nanos": pa.array([1_000, None], pa.timestamp("ns")),
            "zoned": pa.array([1, 2], pa.timestamp("ms", "Asia/Tokyo")),
            "raw": pa.array([b"a", b""], pa.large_binary()).dictionary_encode(),
            "nothing": pa.nulls(2),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    source = Source.open(str(tmp_path / "a.parquet"))
    types = dict(zip(source.schema.names, source.schema.types, strict=True))
    assert types == {
        "text": TEXT, "plain": TEXT, "number": pa.int8(), "day": TIME, "nanos": TIME, "zoned": TIME,
        "raw": pa.binary(), "nothing": pa.null(),
    }  # fmt: skip
    (batch,) = source.batches()
    assert batch.schema == source.schema
    assert batch.column("text").to_pylist() == ["x", None]
    assert batch.column("nanos").cast(pa.int64()).to_pylist() == [1, None]
    assert batch.column("day").cast(pa.int64()).to_pylist() == [0, 86_400_000_000]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (pa.array([1], pa.int8()), pa.array([2], pa.int32()), pa.int64()),
        (pa.array([1.0], pa.float32()), pa.array([2.0]), pa.float64()),
        (pa.nulls(1), pa.array(["x"]), TEXT),
        (pa.array(["x"]), pa.nulls(1), TEXT),
        (pa.array([1], pa.timestamp("s")), pa.array([1], pa.timestamp("us", "UTC")), TIME),
    ],
)
def test_parquet_files_types_are_joined(
    tmp_path: Path, first: pa.Array, second: pa.Array, expected: pa.DataType
) -> None:
    pq.write_table(pa.table({"a": first}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": second}), tmp_path / "2.pq")
    source = Source.open(str(tmp_path))
    assert source.schema.field("a").type == expected
    assert [batch.schema.field("a").type for batch in source.batches()] == [expected, expected]


@pytest.mark.parametrize(
    ("first", "second"), [(pa.array([1]), pa.array(["x"])), (pa.array([1], pa.uint64()), pa.array([1]))]
)
def test_types_that_do_not_join_are_refused(tmp_path: Path, first: pa.Array, second: pa.Array) -> None:
    pq.write_table(pa.table({"a": first}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": second}), tmp_path / "2.parquet")
    with pytest.raises(
        InputError, match=r"file '2.parquet', column 'a' has type .*, must be .* as in the files before"
    ):
        Source.open(str(tmp_path))


def test_row_groups_files_and_compression_do_not_count(tmp_path: Path) -> None:
    table = pa.table({"t": [f"v{n % 9}" for n in range(500)], "n": range(500)})
    (tmp_path / "parts").mkdir()
    pq.write_table(table, tmp_path / "one.parquet", compression="zstd")
    pq.write_table(table.slice(0, 100), tmp_path / "parts" / "b.parquet", row_group_size=7, compression="none")
    pq.write_table(table.slice(100).select(["n", "t"]), tmp_path / "parts" / "a.parquet", use_dictionary=False)
    assert digest_of(Source.open(str(tmp_path / "one.parquet"))) == digest_of(Source.open(str(tmp_path / "parts")))


def test_a_text_file_with_only_a_header_has_columns_and_no_rows(write: Write) -> None:
    assert rows_of(Source.open(str(write("a.csv", b"a,b\n")))) == {"a": [], "b": []}


def test_pinned_files_are_verified_and_others_are_not_read(write: Write, tmp_path: Path) -> None:
    write("_a.csv", CSV)
    write("other.csv", b"x\n1\n")
    right = {"_a.csv": hashlib.sha256(CSV).hexdigest()}
    assert rows_of(Source.open(str(tmp_path), expected=right)) == ROWS
    source = Source.open(str(tmp_path), expected={"_a.csv": "0" * 64})
    with pytest.raises(InputError, match=rf"must be {'0' * 64} as pinned; delete this copy"):
        list(source.batches())


def test_a_reading_can_be_named_before_it_is_read(write: Write) -> None:
    (reading,) = Source.open(str(write("a.csv", CSV))).readings()
    assert isinstance(reading, FileReading)
    assert reading.file.path == "a.csv"
