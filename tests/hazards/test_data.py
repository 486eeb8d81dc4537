"""Hazards 11 to 20: the data under the same name are not what they were."""

import csv
import gzip
import random
import shutil
from collections.abc import Callable
from typing import Final

from ctr_pipeline.reproduce.verdict import Verdict
from tests.hazards.laboratory import HEADER, LOG, N_ROWS, PARTS, Workbench
from tests.plugins.s3_fixtures import Bucket

_COLUMNS: Final = HEADER.split(",")
# The row up to which a tracker's own digest of a data set looks.
_DIGESTED_ROWS: Final = 10_000

type Rows = list[list[str]]


def _on_s3(bench: Workbench, bucket: Bucket) -> Workbench:
    """Put the log on S3 and run on it there."""
    for part in PARTS:
        bucket.put(f"log/{part}", (bench.project / LOG / part).read_bytes())
    bench.edit("configs/default.yaml", lambda text: text.replace("uri: log", f"uri: {bucket.uri}/log/"))
    return bench.of(bench.run(reuse=False))


def _rewrite(bench: Workbench, change: Callable[[Rows], Rows]) -> None:
    """Change the log's rows as they stand in its parts, in their order."""
    rows: Rows = []
    for part in PARTS:
        with (bench.project / LOG / part).open(encoding="utf-8", newline="") as file:
            rows += list(csv.reader(file))[1:]
    changed = change(rows)
    half = len(rows) // 2
    for part, some in zip(PARTS, (changed[:half], changed[half:]), strict=True):
        with (bench.project / LOG / part).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows([_COLUMNS, *some])


def _with_value(rows: Rows, row: int, column: str, change: Callable[[str], str]) -> Rows:
    place = _COLUMNS.index(column)
    changed = [list(values) for values in rows]
    changed[row][place] = change(changed[row][place])
    return changed


def _flipped(label: str) -> str:
    return str(1 - int(label))


def test_an_overwritten_object_is_read_in_the_version_that_the_run_read(
    bench: Workbench, versioned_bucket: Bucket
) -> None:
    made = _on_s3(bench, versioned_bucket)
    assert len(made.recipe.circumstances.s3_versions) == len(PARTS)
    _rewrite(bench, lambda rows: _with_value(rows, 5, "price", lambda price: f"{float(price) + 40}"))
    for part in PARTS:
        versioned_bucket.put(f"log/{part}", (bench.project / LOG / part).read_bytes())
    assert made.reproduce().verdict is Verdict.IDENTICAL
    current = made.reproduce(use_current_data=True)
    assert current.verdict is Verdict.DIVERGED
    assert [column.column for column in current.columns] == ["price"]
    assert str(current.cause).startswith("column price holds other values")


def test_a_version_that_expired_is_missed_by_name_before_anything_runs(
    own_bench: Workbench, versioned_bucket: Bucket
) -> None:
    # Rows that no store has from another run.
    _rewrite(own_bench, lambda rows: _with_value(rows, 0, "user", lambda _: "somebody"))
    made = _on_s3(own_bench, versioned_bucket)
    uri = f"{versioned_bucket.uri}/log/{PARTS[0]}"
    versioned_bucket.expire(f"log/{PARTS[0]}", made.recipe.circumstances.s3_versions[uri])
    shutil.rmtree(made.home.cache)
    found = made.reproduce()
    assert found.verdict is Verdict.CANNOT
    assert found.again is None
    data = next(item for item in found.ingredients if item.name == "data")
    assert f"1 of {len(PARTS)} files cannot be had" in data.found
    assert PARTS[0] in data.found
    assert "--store" in data.remedy


def test_a_prefix_that_gained_and_lost_objects_is_read_as_it_was(bench: Workbench, versioned_bucket: Bucket) -> None:
    made = _on_s3(bench, versioned_bucket)
    first = (bench.project / LOG / PARTS[0]).read_text(encoding="utf-8").splitlines(keepends=True)
    versioned_bucket.client.delete_object(Bucket=versioned_bucket.name, Key=f"log/{PARTS[1]}")
    versioned_bucket.put("log/part-2.csv", "".join(first[:1001]).encode())
    assert made.reproduce().verdict is Verdict.IDENTICAL
    current = made.reproduce(use_current_data=True)
    assert current.verdict is Verdict.DIVERGED
    assert str(current.cause).startswith(f"{N_ROWS:,} -> {N_ROWS // 2 + 1000:,} rows")


def test_a_late_click_is_named_and_the_pinned_labels_are_the_old_ones(bench: Workbench) -> None:
    _rewrite(bench, lambda rows: _with_value(rows, 7, "click", _flipped))
    assert bench.reproduce().verdict is Verdict.IDENTICAL
    current = bench.reproduce(use_current_data=True)
    assert current.verdict is Verdict.DIVERGED
    assert [(column.column, column.change) for column in current.columns] == [("click", "values")]
    assert str(current.cause).startswith("column click holds other values")


def test_one_flipped_label_and_one_microsecond_past_row_ten_thousand_are_seen(bench: Workbench) -> None:
    def changed(rows: Rows) -> Rows:
        late = _with_value(rows, _DIGESTED_ROWS + 1, "click", _flipped)
        return _with_value(late, _DIGESTED_ROWS + 2, "shown_at", lambda time: time.replace("+00:00", ".000001+00:00"))

    _rewrite(bench, changed)
    current = bench.reproduce(use_current_data=True)
    assert current.verdict is Verdict.DIVERGED
    assert sorted(column.column for column in current.columns) == ["click", "shown_at"]
    assert "column click holds other values" in str(current.cause)
    assert "column shown_at holds other values" in str(current.cause)


def test_recompressed_files_with_equal_rows_are_identical_and_said_to_differ(bench: Workbench) -> None:
    for part in PARTS:
        path = bench.project / LOG / part
        path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()
    current = bench.reproduce(use_current_data=True)
    assert current.verdict is Verdict.IDENTICAL
    assert "the input's files differ, their rows are equal" in current.notes
    assert {"file_digests.part-0.csv", "file_digests.part-0.csv.gz"} <= {item.name for item in current.circumstances}


def test_the_order_of_parts_and_of_rows_changes_nothing(bench: Workbench) -> None:
    def turned(rows: Rows) -> Rows:
        half, draw = len(rows) // 2, random.Random(3)  # noqa: S311 - no secret
        return draw.sample(rows[half:], half) + draw.sample(rows[:half], half)

    _rewrite(bench, turned)
    current = bench.reproduce(use_current_data=True)
    assert current.verdict is Verdict.IDENTICAL
    assert "the input's files differ, their rows are equal" in current.notes


def test_the_order_of_columns_changes_nothing_in_the_files_and_is_named_in_the_settings(bench: Workbench) -> None:
    for part in PARTS:
        path = bench.project / LOG / part
        with path.open(encoding="utf-8", newline="") as file:
            turned = [list(reversed(row)) for row in csv.reader(file)]
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(turned)
    assert bench.reproduce(use_current_data=True).verdict is Verdict.IDENTICAL
    current = bench.reproduce(overrides=["data.columns.numeric=[margin, price]"])
    assert current.verdict is Verdict.DIVERGED
    assert str(current.cause).startswith('data.columns.numeric ["price", "margin"] -> ["margin", "price"]')


def test_a_category_that_was_never_seen_is_named_before_its_codes_move_anything(bench: Workbench) -> None:
    _rewrite(bench, lambda rows: _with_value(rows, 3, "device", lambda _: "bicycle"))
    current = bench.reproduce(use_current_data=True)
    assert current.verdict is Verdict.DIVERGED
    assert [column.column for column in current.columns] == ["device"]
    assert str(current.cause).startswith("column device holds other values")
