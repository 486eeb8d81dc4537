"""What is said of sources that cannot be read: the file, the row where it is known, the rule and the remedy."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ctr_pipeline.data.formats import DataFormat
from ctr_pipeline.data.source import Source
from tracking.errors import InputError

CSV = b"a,b\n1,x\n2,\n"

type Write = Callable[[str, bytes], Path]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", r"file 'a.csv' is empty \(0 bytes\), must hold data"),
        ("a.csv", b"\n\n", "file 'a.csv' has no line, must hold at least its header"),
        (
            "a.csv",
            b"a,b\n1,2\n1,2,3\n",
            "file 'a.csv', line 3: 3 cells, must be 2 as in the first line: '1,2,3'; mend the row",
        ),
        ("a.csv", b"a,b\n1,2\n1\n", "file 'a.csv', line 3: 1 cells, must be 2"),
        ("a.csv", b"a,@row\n1,2\n", "file 'a.csv' has column '@row', must not start with '@', .*; rename it"),
        ("a.csv", b"a,b,a\n1,2,3\n", "file 'a.csv' has column 'a' twice, must be unique"),
        ("a.csv", b"a;b\n1;2\n", "must be split by it; set the format's delimiter, perhaps to ';'"),
        ("a.csv", b"a,b\n\xff,2\n", "file 'a.csv' is not UTF-8"),
        (
            "a.csv",
            b"a,b\n" + b"1,2\n" * 9_000 + b"\xff,2\n",
            r"file 'a.csv' after row 0: .*invalid UTF8.*; save it as UTF-8",
        ),
        (
            "a.csv",
            b"a,b\n" + b"x" * 20_000_000 + b",2\n",
            "a row longer than 4194304 bytes; look for a quote that never closes",
        ),
        ("a.csv", b"a" * 140_000 + b",b\n", "file 'a.csv', first line: field larger than field limit"),
        (
            "a.csv.gz",
            gzip.compress(CSV, mtime=0)[:-5],
            "file 'a.csv.gz' cannot be read: Truncated compressed stream; write or copy",
        ),
        ("a.csv.gz", CSV, "file 'a.csv.gz' cannot be read: .*incorrect header check"),
        ("a.csv.zst", pa.compress(CSV, "zstd", asbytes=True)[:-3], "file 'a.csv.zst' cannot be read: Truncated"),
        ("a.parquet", b"PAR1 and no more", "file 'a.parquet' cannot be read: .*; write or copy the file again"),
        ("a.json", b"{}", "file 'a.json' has extension '.json', must be .csv, .tsv"),
        ("a.parquet.gz", b"x", "file 'a.parquet.gz' is a Parquet file inside gzip, must be plain Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    write: Write, name: str, content: bytes, message: str
) -> None:
    path = write(name, content)
    with pytest.raises(InputError, match=message) as caught:
        list(Source.open(str(path)).batches())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("{}/nowhere.csv", "does not exist, must be a file, a folder or a glob that matches"),
        ("{}/*.csv", "holds no data file, must hold at least one"),
        ("{}", "holds no data file, must hold at least one"),
        ("gs://bucket/x", "has scheme 'gs', must be a local path"),
        ("sample:criteo", "sample == 'criteo', must be one of open_bandit, simulated_users"),
    ],
)
def test_a_source_that_is_not_there_is_named(tmp_path: Path, uri: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Source.open(uri.format(tmp_path))


def test_mixed_kinds_are_refused_by_example(write: Write, tmp_path: Path) -> None:
    write("a.csv", CSV)
    write("b.tsv", CSV)
    with pytest.raises(InputError, match=r"mixes kinds: 'a.csv' is csv, 'b.tsv' is tsv, must be of one kind"):
        Source.open(str(tmp_path))


def test_files_with_other_columns_are_named_with_the_difference(write: Write, tmp_path: Path) -> None:
    write("a.csv", CSV)
    write("b.csv", b"a,c\n1,2\n")
    with pytest.raises(
        InputError, match=r"file 'b.csv' has other columns than 'a.csv': missing \['b'\], unexpected \['c'\]"
    ):
        Source.open(str(tmp_path))


def test_a_nested_column_is_refused_by_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [[1]]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"file 'a.parquet', column 'a': column type == list"):
        Source.open(str(tmp_path / "a.parquet"))


def test_a_doubled_parquet_column_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"file 'a.parquet' has column 'a' twice"):
        Source.open(str(tmp_path / "a.parquet"))


def test_a_time_finer_than_microseconds_is_refused_by_file_and_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"t": pa.array([1], pa.timestamp("ns"))}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"file 'a.parquet', column 't': .* would lose data.*; round or clip it first"):
        list(Source.open(str(tmp_path / "a.parquet")).batches())


def test_a_corrupt_page_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"a": range(20_000)})
    pq.write_table(table, path, use_dictionary=False, row_group_size=10_000, write_page_checksum=True)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 + 1_000
    content[middle : middle + 64] = bytes(64)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"file 'a.parquet' cannot be read after row 10000: .*CRC.*; write or copy"):
        list(Source.open(str(path)).batches(batch_rows=10_000))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("csv"):
        path.write_bytes(CSV)
    else:
        pq.write_table(pa.table({"a": [1]}), path)
    reading = iter(next(Source.open(str(path)).readings()))
    next(reading)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match=rf"file '{name}' changed while it was read, must stay as it is"):
        list(reading)


def test_columns_that_change_after_opening_are_refused(write: Write) -> None:
    source = Source.open(str(write("a.csv", CSV)))
    write("a.csv", CSV.replace(b"a,b", b"a,c"))
    with pytest.raises(InputError, match=r"file 'a.csv' changed while it was read"):
        list(source.batches())


def test_a_file_that_vanishes_is_named(write: Write) -> None:
    path = write("a.csv", CSV)
    source = Source.open(str(path))
    path.unlink()
    with pytest.raises(InputError, match=r"file 'a.csv' cannot be read: .*No such file"):
        list(source.batches())


def test_a_dangling_link_is_named(write: Write, tmp_path: Path) -> None:
    write("a.csv", CSV)
    (tmp_path / "b.csv").symlink_to(tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"file 'b.csv' cannot be read: No such file or directory"):
        Source.open(str(tmp_path))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "orc"}, "format kind == 'orc', must be auto, csv, tsv or parquet"),
        ({"delimiter": "||"}, r"delimiter == '\|\|', must be one character"),
        ({"header": False}, r"column_names == \[\] with header == False, must name every column"),
        ({"column_names": ("a",)}, "must be empty where a header names the columns"),
    ],
)
def test_a_format_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        DataFormat(**settings)
